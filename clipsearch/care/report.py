"""What a check finds, and how it is told: plain values. Knows nothing of terminals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from enum import StrEnum

# Of one kind more are counted and not listed, so that a ruined library of a million pictures does
# not make a report of a million lines.
MAX_LISTED = 100

REPAIR = "run clipsearch repair"
INDEX = "run clipsearch index with the folder"


class Kind(StrEnum):
    """What is wrong. The words are stable: programs may look for them."""

    CATALOG = "catalog"  # the file cannot be read, or not all of it
    FOREIGN_LOG = "foreign-log"  # a write-ahead log of another file
    SCHEMA = "schema"  # tables are missing or different
    REFERENCE = "reference"  # a row refers to one that does not exist
    CONTRADICTION = "contradiction"  # a row that cannot be
    VECTOR = "vector"  # wrong checksum, length or numbers
    INDEX_FILE = "index-file"  # truncated, flipped, not an index file
    INDEX_FOREIGN = "index-foreign"  # of another library or model
    INDEX_STALE = "index-stale"  # of a catalog that was ahead of this one
    INDEX_CONTENT = "index-content"  # other ids or vectors than the catalog's
    INDEX_ANSWER = "index-answer"  # finds something else than an exact search
    PICTURE = "picture"  # its bytes changed, and its size and time did not
    PICTURE_UNREADABLE = "picture-unreadable"  # there, and cannot be read any more


@dataclass(frozen=True)
class Finding:
    """Something that is not as it should be: where, and what to do about it."""

    kind: Kind
    what: str
    where: str
    remedy: str


@dataclass(frozen=True)
class CheckReport:
    """What a check looked at, and what it found. Of each kind at most MAX_LISTED are listed;
    `n_found` counts all."""

    findings: tuple[Finding, ...] = ()
    n_found: int = 0
    n_images: int = 0
    n_vectors: int = 0
    n_index_files: int = 0
    n_pictures_read: int = 0
    seconds: float = 0.0

    @property
    def is_clean(self) -> bool:
        return not self.findings

    def to_dict(self) -> dict[str, object]:
        """The report as JSON-able values."""
        return asdict(self) | {"is_clean": self.is_clean}


@dataclass(frozen=True)
class CheckProgress:
    """How far a check is: `n_done` of `n_total` of what it looks at now."""

    stage: str
    n_done: int
    n_total: int


OnCheckProgress = Callable[[CheckProgress], None]


@dataclass
class Findings:
    """Collects findings and counts while a check goes on, and tells how far it is."""

    on_progress: OnCheckProgress | None = None
    listed: list[Finding] = field(default_factory=list)
    counts: Counter[Kind] = field(default_factory=Counter)
    seen: Counter[str] = field(default_factory=Counter)  # by the name of the report's field

    def add(self, kind: Kind, what: str, where: object, remedy: str = REPAIR) -> None:
        self.counts[kind] += 1
        if self.counts[kind] <= MAX_LISTED:
            self.listed.append(Finding(kind, what, str(where), remedy))

    def tell(self, stage: str, n_done: int, n_total: int) -> None:
        if self.on_progress is not None:
            self.on_progress(CheckProgress(stage, n_done, n_total))

    def report(self, seconds: float) -> CheckReport:
        n_found = sum(self.counts.values())
        return CheckReport(tuple(self.listed), n_found, **self.seen, seconds=seconds)
