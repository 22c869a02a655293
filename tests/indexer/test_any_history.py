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

from clipsearch.errors import FolderError
from clipsearch.library import Library
from clipsearch.vectors import FloatArray
from tests.fakes import ColourEncoder

NAMES = st.sampled_from(["a.png", "b.png", "sub/a.png", "sub/c.png"])
SHADES = st.integers(0, 3)
BROKEN = b"no picture"


class AnyHistory(RuleBasedStateMachine):
    """Files come, change, move, break, go and are forgotten; the model is the folder itself."""

    def __init__(self) -> None:
        super().__init__()
        self.home = Path(tempfile.mkdtemp())
        self.root = self.home / "photos"
        (self.root / "sub").mkdir(parents=True)
        Image.new("RGB", (4, 4), "white").save(self.root / "anchor.png")
        self.library = Library(self.home / "library", encoder=ColourEncoder())
        self.is_current = False
        self.known: set[Path] = set()  # files that the library takes for present or broken
        self.n_writes = 0

    def teardown(self) -> None:
        self.library.close()
        shutil.rmtree(self.home)

    def written(self, path: Path, is_secret: bool = False) -> None:
        """A file has changed; with its date, or only with what no program can set."""
        self.n_writes += not is_secret
        os.utime(path, ns=(0, self.n_writes * 10**9))
        self.is_current = False

    def free(self, name: str) -> Path:
        path = self.root / name
        path.unlink(missing_ok=True)
        return path

    @rule(name=NAMES, shade=SHADES, is_secret=st.booleans())
    def paint(self, name: str, shade: int, is_secret: bool) -> None:
        path = self.free(name)
        # Uncompressed, so that only the content differs.
        Image.new("RGB", (4, 4), (80 * shade, 0, 255)).save(path, format="BMP")
        self.written(path, is_secret)

    @rule(name=NAMES)
    def break_file(self, name: str) -> None:
        path = self.free(name)
        path.write_bytes(BROKEN)
        self.written(path)

    @rule(name=NAMES)
    def put_a_link_that_leads_nowhere(self, name: str) -> None:
        self.free(name).symlink_to("nowhere")
        self.is_current = False

    @rule(name=NAMES)
    def put_a_pipe(self, name: str) -> None:
        os.mkfifo(self.free(name))
        self.is_current = False

    @rule(source=NAMES, goal=NAMES)
    def move(self, source: str, goal: str) -> None:
        if os.path.lexists(self.root / source):
            (self.root / source).rename(self.root / goal)
            self.is_current = False

    @rule(source=NAMES, goal=NAMES)
    def copy(self, source: str, goal: str) -> None:
        if (self.root / source).is_file() and source != goal:
            shutil.copy(self.root / source, self.free(goal))
            self.written(self.root / goal)

    @rule(name=NAMES)
    def touch(self, name: str) -> None:
        if (self.root / name).is_file():
            self.written(self.root / name)

    @rule(name=NAMES)
    def delete(self, name: str) -> None:
        self.free(name)
        self.is_current = False

    @rule()
    def lose_everything(self) -> None:
        for path in self.root.rglob("*.png"):
            path.unlink()
        self.index(verify=False)

    @rule(verify=st.booleans())
    def index(self, verify: bool) -> None:
        before = self.answers()
        try:
            self.library.index(self.root, verify=verify)
            assert any(self.root.rglob("*.png")) or not self.known, "all is gone, and no question"
        except FolderError:
            # Only a folder with less than half of what was known may stop it, and as if nothing
            # had been tried.
            assert 2 * len(self.known & self.files()) < len(self.known) or not self.files()
            assert self.answers() == before
            if not (self.files() or self.known):
                return
            self.library.index(self.root, verify=verify, allow_missing=True)
        self.is_current, self.known = True, self.files()

    @rule(name=st.one_of(NAMES, st.sampled_from(["sub", "", "sub/none.png"])))
    def forget(self, name: str) -> None:
        if not self.known:
            return
        path = self.root / name
        self.library.forget(path)
        self.known -= {known for known in self.known if known == path or path in known.parents}
        assert not {each for each in self.answers() if each == path or path in each.parents}
        self.is_current = False

    @rule()
    def forget_the_missing(self) -> None:
        if self.known:
            before = self.answers()
            self.library.forget(only_missing=True)
            assert self.answers() == before and self.library.status().n_missing == 0

    def files(self) -> set[Path]:
        """The pictures and broken files that are there."""
        return {path for path in self.root.rglob("*.png") if path.is_file()}

    def answers(self) -> dict[Path, float]:
        if not self.known:
            return {}
        return {hit.path: hit.score for hit in self.library.query("blue", k=100)}

    @invariant()
    @precondition(lambda self: self.is_current)
    def the_library_knows_what_is_there(self) -> None:
        files = self.files()
        broken = {path for path in files if path.read_bytes() == BROKEN}
        strange = {path for path in self.root.rglob("*.png") if not path.is_file()}
        good = {path: mean_colour(path) for path in files - broken}
        hits = self.answers()
        assert hits.keys() - strange == good.keys()
        assert {error.path for error in self.library.errors()} == broken | strange
        for path, mean in good.items():
            vector = ColourEncoder().encode_texts(["blue"])[0]
            assert abs(hits[path] - float(mean @ vector)) < 2e-3


def mean_colour(path: Path) -> FloatArray:
    with Image.open(path) as image:
        return ColourEncoder().encode_images([image])[0]


TestAnyHistory = AnyHistory.TestCase
TestAnyHistory.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)
