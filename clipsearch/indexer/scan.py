"""Compare a folder with the catalog: what has to be read, what is unchanged, gone or back.

In: a folder and what the catalog knows of it. Out: a FolderScan. Reads the disk, writes nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from clipsearch.errors import FolderError
from clipsearch.images import MAX_PIXELS, ImageFile, Skipped, discover
from clipsearch.indexer.report import Tally

if TYPE_CHECKING:
    from clipsearch.catalog import Catalog, FolderRecord, ImageRecord

# A folder of a million files should show signs of life before the scan is over.
FILES_PER_MESSAGE = 1000


@dataclass(frozen=True)
class Rules:
    """What decides over files beside their state.

    Larger pictures than `max_pixels` are refused. Without `allow_empty`, so is a folder without
    pictures.
    """

    max_pixels: int = MAX_PIXELS
    allow_empty: bool = False


@dataclass(frozen=True)
class Place:
    """Where a folder lies in the library: below a root it already has, or a root of its own.

    `subtree` is the way from the root down to the folder, b"" for the root itself. `inner` are
    known roots that lie inside a new one, which will take them over.
    """

    folder: Path
    root: bytes
    subtree: bytes = b""
    record: FolderRecord | None = None
    inner: tuple[FolderRecord, ...] = ()


@dataclass(frozen=True)
class Candidate:
    """A file that must be read, and the record at its path, if there is one."""

    file: ImageFile  # its relative path counts from the root of the place
    place: Place
    record: ImageRecord | None = None
    needs_vector: bool = False  # whatever the file's state


@dataclass
class FolderScan:
    """The outcome for one folder; every file of it is in exactly one of these."""

    place: Place
    n_files: int = 0
    n_unchanged: int = 0
    candidates: list[Candidate] = field(default_factory=list)
    back: list[Candidate] = field(default_factory=list)  # was missing, and looks the same
    gone: list[ImageRecord] = field(default_factory=list)  # known, and certainly not there now

    def known_contents(self) -> Iterator[bytes]:
        """Contents that need no decoding if they turn up: those of touched and of moved files."""
        touched = [c.record for c in self.candidates if c.record and not c.needs_vector]
        for record in [*touched, *self.gone]:
            if record.content_hash is not None and record.reason is None:
                yield record.content_hash


def outermost(folders: Iterable[str | Path]) -> list[Path]:
    """The folders without links and repetitions, and without those inside others, in order.

    Raises FolderError if one does not exist.
    """
    resolved = [_resolved(Path(folder)) for folder in folders]
    return [
        folder
        for n, folder in enumerate(resolved)
        if folder not in resolved[:n] and not any(p in resolved for p in folder.parents)
    ]


def place(folder: Path, roots: Iterable[FolderRecord]) -> Place:
    """Find the known root that holds the resolved `folder`, else make the folder a root."""
    path = os.fsencode(folder)
    roots = list(roots)
    # A root that was taken over stays behind empty, so the outermost is the one in use.
    for root in sorted(roots, key=lambda root: len(root.path_bytes)):
        if _is_inside(path, root.path_bytes):
            return Place(folder, root.path_bytes, path[len(_with_slash(root.path_bytes)) :], root)
    inner = tuple(root for root in roots if _is_inside(root.path_bytes, path))
    return Place(folder, path, inner=inner)


def scan(
    place: Place,
    catalog: Catalog,
    tally: Tally,
    rules: Rules,
    without_vector: frozenset[int] = frozenset(),
) -> FolderScan:
    """Compare the files of a place with their records; unusable ones go to the tally.

    Images `without_vector` are read though they did not change. Raises FolderError if the folder
    cannot be read, and if it has no pictures, unless the rules allow it.
    """
    found = FolderScan(place)
    known = dict(_known(place, catalog))
    n_present = sum(record.state == "present" for record in known.values())
    problems: set[bytes] = set()

    def on_problem(problem: Skipped) -> None:
        tally.skip(problem.path, problem.reason)
        problems.add(os.fsencode(problem.path))

    for file in discover(place.folder, on_problem):
        if place.subtree:
            file = replace(file, relative_path=place.subtree + b"/" + file.relative_path)
        record = known.pop(file.relative_path, None)
        is_stripped = record is not None and record.image_id in without_vector
        _sort_in(found, Candidate(file, place, record, is_stripped), tally, rules.max_pixels)
        if found.n_files % FILES_PER_MESSAGE == 0:
            tally.tell_scanned(found.n_files)
    if not found.n_files and not rules.allow_empty:
        _refuse_empty(place.folder, n_present)
    for path, record in known.items():
        # Only where the file's folder was seen whole.
        was_seen = problems.isdisjoint(_ancestry(_with_slash(place.root) + path))
        if was_seen and record.state != "missing" and not record.is_unseen:
            found.gone.append(record)
    return found


def require_pictures(folders: Iterable[str | Path], allow_empty: bool) -> None:
    """Raise FolderError if one of the folders cannot be read or has no pictures in it."""
    for folder in outermost(folders):
        if next(discover(folder, lambda _: None), None) is None and not allow_empty:
            _refuse_empty(folder, 0)


def _resolved(folder: Path) -> Path:
    try:
        return folder.expanduser().resolve(strict=True)
    except (OSError, RuntimeError, ValueError):
        raise FolderError(f"there is no folder {folder}: check the spelling") from None


def _with_slash(path: bytes) -> bytes:
    return path if path.endswith(b"/") else path + b"/"


def _is_inside(path: bytes, root: bytes) -> bool:
    return path == root or path.startswith(_with_slash(root))


def _ancestry(path: bytes) -> Iterator[bytes]:
    """An absolute path and all folders that it lies in."""
    while path:
        yield path
        path = path.rpartition(b"/")[0]


def _known(place: Place, catalog: Catalog) -> Iterator[tuple[bytes, ImageRecord]]:
    """The records below a place by their path relative to its root."""
    if place.record is not None:
        for record in catalog.images(place.record.folder_id):
            if not place.subtree or _is_inside(record.relative_path, place.subtree):
                yield record.relative_path, record
    for root in place.inner:
        prefix = _with_slash(root.path_bytes)[len(_with_slash(place.root)) :]
        for record in catalog.images(root.folder_id):
            yield prefix + record.relative_path, record


def _sort_in(found: FolderScan, candidate: Candidate, tally: Tally, max_pixels: int) -> None:
    found.n_files += 1
    file, record = candidate.file, candidate.record
    looks_same = (
        record is not None
        and (record.size, record.mtime_ns) == (file.size, file.mtime_ns)
        # Without a hash the file could not even be read, and a cure for that leaves no trace here.
        and bool(record.content_hash)
    )
    if record is None or not looks_same or _fits_by_now(record, max_pixels):
        found.candidates.append(candidate)
    elif record.state == "unreadable":
        tally.skip(file.path, record.reason or "unreadable")
    elif candidate.needs_vector and record.reason is None:
        found.candidates.append(candidate)
    elif record.state == "missing":
        found.back.append(candidate)
    else:
        found.n_unchanged += 1


def _fits_by_now(record: ImageRecord, max_pixels: int) -> bool:
    """Whether a picture was refused for its size and the limit has been raised since."""
    if record.reason is None or record.width is None or record.height is None:
        return False
    return record.width * record.height <= max_pixels


def _refuse_empty(folder: Path, n_present: int) -> None:
    if n_present:
        raise FolderError(
            f"the folder {folder} has no pictures now, but the library knows {n_present:,} in it: "
            "mount the drive, or confirm that they are gone with --yes (allow_empty=True)"
        )
    raise FolderError(f"the folder {folder} has no pictures in it: name a folder that has some")
