"""Whatever happens to the files, in whatever order, the library ends up knowing what is there."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from PIL import Image

from clipsearch.library import Library
from tests.fakes import ColourEncoder

NAMES = st.sampled_from(["a.png", "b.png", "sub/a.png", "sub/c.png"])
SHADES = st.integers(0, 3)
BROKEN = b"no picture"


class AnyHistory(RuleBasedStateMachine):
    """Files come, change, move, break and go; the model is the folder itself."""

    def __init__(self) -> None:
        super().__init__()
        self.home = Path(tempfile.mkdtemp())
        self.root = self.home / "photos"
        (self.root / "sub").mkdir(parents=True)
        Image.new("RGB", (4, 4), "white").save(self.root / "anchor.png")
        self.library = Library(self.home / "library", encoder=ColourEncoder())
        self.is_current = False
        self.n_writes = 0

    def teardown(self) -> None:
        self.library.close()
        shutil.rmtree(self.home)

    def written(self, path: Path) -> None:
        # A second in the past each, so that no change hides in the clock's resolution.
        self.n_writes += 1
        os.utime(path, ns=(0, self.n_writes * 10**9))
        self.is_current = False

    @rule(name=NAMES, shade=SHADES)
    def paint(self, name: str, shade: int) -> None:
        Image.new("RGB", (4, 4), (80 * shade, 0, 255)).save(self.root / name)
        self.written(self.root / name)

    @rule(name=NAMES)
    def break_file(self, name: str) -> None:
        (self.root / name).write_bytes(BROKEN)
        self.written(self.root / name)

    @rule(source=NAMES, goal=NAMES)
    def move(self, source: str, goal: str) -> None:
        if (self.root / source).exists():
            (self.root / source).rename(self.root / goal)
            self.is_current = False

    @rule(source=NAMES, goal=NAMES)
    def copy(self, source: str, goal: str) -> None:
        if (self.root / source).exists() and source != goal:
            shutil.copy(self.root / source, self.root / goal)
            self.written(self.root / goal)

    @rule(name=NAMES)
    def delete(self, name: str) -> None:
        (self.root / name).unlink(missing_ok=True)
        self.is_current = False

    @rule()
    def index(self) -> None:
        self.library.index(self.root)
        self.is_current = True

    @invariant()
    @precondition(lambda self: self.is_current)
    def the_library_knows_what_is_there(self) -> None:
        files = [path for path in self.root.rglob("*.png")]
        broken = {path for path in files if path.read_bytes() == BROKEN}
        good = {path: mean_colour(path) for path in files if path not in broken}
        hits = self.library.query("blue", k=100)
        assert {hit.path for hit in hits} == set(good) and len(hits) == len(good)
        assert {error.path for error in self.library.errors()} == broken
        for hit in hits:
            vector = ColourEncoder().encode_texts(["blue"])[0]
            assert abs(hit.score - float(good[hit.path] @ vector)) < 2e-3


def mean_colour(path: Path) -> object:
    with Image.open(path) as image:
        return ColourEncoder().encode_images([image])[0]


TestAnyHistory = AnyHistory.TestCase
TestAnyHistory.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)
