"""A folder of pictures that changes by chance, and everything that was ever true of it.

Files are added, changed, copied, moved, broken, taken away and brought back, each by a seeded
choice, while nobody indexes. What a library may say of a path is what the garden remembers of it.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.encoder import content_hash_of, png_of, stored_vector

BROKEN = -1  # stands for the seed of a file that is no picture
FOLDERS = ("", "a/", "b/", "b/c/")


@dataclass
class Garden:
    """The files now (by relative path, with their seeds), and the contents of every path ever."""

    root: Path
    chance: random.Random
    files: dict[str, int] = field(default_factory=dict)
    ever: dict[str, set[str]] = field(default_factory=dict)  # path → content hashes
    seeds: dict[str, int] = field(default_factory=dict)  # content hash → seed
    away: dict[str, tuple[int, Path]] = field(default_factory=dict)  # taken away, to come back
    n_made: int = 0

    def plant(self, n: int) -> None:
        """Add n new pictures."""
        for _ in range(n):
            self.add()

    def change(self, n: int) -> None:
        """Do n things by chance. It neither dies out nor grows without end."""
        doing: list[Callable[[], None]] = [
            *(self.add,) * 4,
            *(self.alter,) * 3,
            *(self.move,) * 3,
            self.copy,
            self.spoil,
            *(self.mend,) * 2,
            *(self.take_away,) * 2,
            *(self.bring_back,) * 2,
            self.touch,
        ]
        for _ in range(n):
            self.chance.choice(doing)()
        while len(self.files) > 160:
            self.remove()

    def add(self) -> None:
        self._write(self._new_name(), self._new_seed())

    def alter(self) -> None:
        self._write(self._some(), self._new_seed())

    def copy(self) -> None:
        good = [path for path, seed in self.files.items() if seed != BROKEN]
        self._write(self._new_name(), self.files[self.chance.choice(sorted(good))])

    def spoil(self) -> None:
        if sum(seed == BROKEN for seed in self.files.values()) < 8:
            self._write(self._some(), BROKEN)

    def mend(self) -> None:
        broken = sorted(path for path, seed in self.files.items() if seed == BROKEN)
        if broken:
            self._write(self.chance.choice(broken), self._new_seed())

    def move(self) -> None:
        source, goal = self._some(), self._new_name()
        (self.root / source).rename(self._place(goal))
        self._now(goal, self.files.pop(source))

    def take_away(self) -> None:
        """Out of the folder, as it is, so that it can come back looking the same."""
        if len(self.away) < 8:
            path = self._some()
            hidden = self.root.parent / "away" / f"{self.n_made}-{Path(path).name}"
            hidden.parent.mkdir(exist_ok=True)
            self.n_made += 1
            (self.root / path).rename(hidden)
            self.away[path] = self.files.pop(path), hidden

    def bring_back(self) -> None:
        free = sorted(path for path in self.away if path not in self.files)
        if free:
            path = self.chance.choice(free)
            seed, hidden = self.away.pop(path)
            hidden.rename(self._place(path))
            self._now(path, seed)

    def touch(self) -> None:
        os.utime(self.root / self._some())

    def remove(self) -> None:
        path = self._some()
        (self.root / path).unlink()
        del self.files[path]

    def vectors(self) -> dict[str, bytes]:
        """By content hash, the vector that a catalog must hold for it."""
        return {h: stored_vector(seed) for h, seed in self.seeds.items() if seed != BROKEN}

    def hashes(self) -> dict[str, str]:
        """By path, the content hash of each file that is there now."""
        return {path: content_hash_of(self._content(path, s)) for path, s in self.files.items()}

    def _write(self, path: str, seed: int) -> None:
        place = self._place(path)
        place.write_bytes(self._content(path, seed))
        self._now(path, seed)

    def _now(self, path: str, seed: int) -> None:
        self.files[path] = seed
        content = content_hash_of(self._content(path, seed))
        self.ever.setdefault(path, set()).add(content)
        self.seeds[content] = seed

    def _content(self, path: str, seed: int) -> bytes:
        return b"no picture" if seed == BROKEN else png_of(seed)

    def _place(self, path: str) -> Path:
        place = self.root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        return place

    def _some(self) -> str:
        return self.chance.choice(sorted(self.files))

    def _new_name(self) -> str:
        self.n_made += 1
        return f"{self.chance.choice(FOLDERS)}{self.n_made:05}.png"

    def _new_seed(self) -> int:
        self.n_made += 1
        return self.n_made
