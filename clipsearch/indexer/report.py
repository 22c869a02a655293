"""What a run of the indexer says while it works and when it is done.

Plain values; knows nothing of terminals.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class SkippedFile:
    """A file or folder that could not be used, and why."""

    path: Path
    reason: str


@dataclass(frozen=True)
class Progress:
    """How far a run is: `n_done` of `n_total` files. While it scans, the total is unknown and 0.

    While it merges, they are vectors that the new index file has.
    """

    stage: Literal["scan", "encode", "details", "merge", "import"]
    n_done: int
    n_total: int
    n_skipped: int
    seconds: float
    images_per_second: float
    seconds_left: float | None


OnProgress = Callable[[Progress], None]


@dataclass(frozen=True)
class IndexReport:
    """What a run did. Each file counts once; `n_encoded` are those that went through the model."""

    added: int = 0
    updated: int = 0
    moved: int = 0
    missing: int = 0
    returned: int = 0
    unchanged: int = 0
    skipped: tuple[SkippedFile, ...] = ()
    n_encoded: int = 0
    seconds: float = 0.0  # of the whole run
    images_per_second: float = 0.0  # encoded, while reading and encoding lasted
    notes: tuple[str, ...] = ()  # what went wrong beside the pictures, and what to do about it

    def to_dict(self) -> dict[str, object]:
        """The report as JSON-able values; a path that is not UTF-8 keeps its surrogates."""
        values = asdict(self)
        values["skipped"] = [{"path": str(s.path), "reason": s.reason} for s in self.skipped]
        return values


@dataclass
class Tally:
    """The counts of a run while it goes on, and the one who is told of them."""

    on_progress: OnProgress | None = None
    counts: dict[str, int] = field(default_factory=dict)
    skipped: list[SkippedFile] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    n_encoded: int = 0
    n_done: int = 0
    started: float = field(default_factory=time.monotonic)
    encoding_started: float = 0.0
    encoding_seconds: float = 0.0

    def count(self, what: str, n: int = 1) -> None:
        self.counts[what] = self.counts.get(what, 0) + n

    def skip(self, path: Path, reason: str) -> None:
        self.skipped.append(SkippedFile(path, reason))

    def tell_scanned(self, n_found: int) -> None:
        if self.on_progress is not None:
            seconds = time.monotonic() - self.started
            told = Progress("scan", n_found, 0, len(self.skipped), seconds, 0.0, None)
            self.on_progress(told)

    def tell_encoded(self, n_total: int) -> None:
        """Rate and time left are of reading and encoding alone, without scan and loading."""
        now = time.monotonic()
        self.encoding_started = self.encoding_started or now
        self.encoding_seconds = now - self.encoding_started
        if self.on_progress is None:
            return
        rate = self._rate(self.n_done)
        left = (n_total - self.n_done) / rate if rate else None
        seconds, n_skipped = now - self.started, len(self.skipped)
        told = Progress("encode", self.n_done, n_total, n_skipped, seconds, rate, left)
        self.on_progress(told)

    def tell_details(self, n_done: int, n_total: int) -> None:
        if self.on_progress is not None:
            seconds = time.monotonic() - self.started
            told = Progress("details", n_done, n_total, len(self.skipped), seconds, 0.0, None)
            self.on_progress(told)

    def tell_taken_in(self, n_done: int) -> None:
        if self.on_progress is not None:
            seconds = time.monotonic() - self.started
            rate = n_done / seconds if seconds else 0.0
            self.on_progress(Progress("import", n_done, 0, 0, seconds, rate, None))

    def tell_merged(self, n_done: int, n_total: int) -> None:
        if self.on_progress is not None:
            seconds = time.monotonic() - self.started
            told = Progress("merge", n_done, n_total, len(self.skipped), seconds, 0.0, None)
            self.on_progress(told)

    def report(self) -> IndexReport:
        return IndexReport(
            **self.counts,
            skipped=tuple(self.skipped),
            n_encoded=self.n_encoded,
            seconds=time.monotonic() - self.started,
            images_per_second=self._rate(self.n_encoded),
            notes=tuple(self.notes),
        )

    def _rate(self, n: int) -> float:
        return n / self.encoding_seconds if self.encoding_seconds else 0.0
