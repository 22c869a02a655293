"""Compare a folder with the catalog: what has to be read, what is unchanged, gone or back.

In: a folder and what the catalog knows of it. Out: a FolderScan. Reads the disk, writes nothing.
"""

from __future__ import annotations

import heapq
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from clipsearch.errors import FolderError
from clipsearch.images import (
    DECODER,
    DETAILS_VERSION,
    MAX_PIXELS,
    ImageFile,
    Signature,
    Skipped,
    discover,
    shown,
)
from clipsearch.indexer.report import Tally

if TYPE_CHECKING:
    from clipsearch.catalog import Catalog, FileTimes, FolderRecord, ImageRecord

# A folder of a million files should show signs of life before the scan is over.
FILES_PER_MESSAGE = 1000
_END: tuple[bytes, None] = (b"", None)


@dataclass(frozen=True)
class Rules:
    """What decides over files beside their state.

    Larger pictures than `max_pixels` are refused. With `allow_missing` a folder may have lost most
    of its files, or have none. With `verify` every file is read again, however it looks. What
    another `decoder` could not read is tried again.
    """

    max_pixels: int = MAX_PIXELS
    allow_missing: bool = False
    verify: bool = False
    decoder: str = DECODER


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
    """The outcome for one folder; every file of it is in exactly one of these, or was unreadable
    before and is in the tally."""

    place: Place
    n_files: int = 0
    n_known: int = 0  # images that were not missing before, and whose files had been seen
    n_unchanged: int = 0
    candidates: list[Candidate] = field(default_factory=list)
    doubtful: list[Candidate] = field(default_factory=list)  # known, perhaps with another content
    back: list[Candidate] = field(default_factory=list)  # was missing, and looks the same
    gone: list[ImageRecord] = field(default_factory=list)  # known, and certainly not there now
    problems: dict[bytes, str] = field(default_factory=dict)  # by path, relative to the root
    times: dict[int, FileTimes] = field(default_factory=dict)  # to be filled in, by image id
    undescribed: list[int] = field(default_factory=list)  # ids, whose details an older one read

    def known_contents(self) -> Iterator[bytes]:
        """Contents that need no decoding if they turn up: those of moved files."""
        for record in self.gone:
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
    cannot be read, and if neither it nor the catalog has pictures there, unless the rules allow it.
    """
    found = FolderScan(place)
    absent: list[ImageRecord] = []
    hiding: set[bytes] = set()

    def on_problem(problem: Skipped) -> None:
        tally.skip(problem.path, problem.reason)
        path = os.fsencode(problem.path)
        found.problems[path[len(_with_slash(place.root)) :]] = problem.reason
        if problem.may_hide:
            hiding.add(path)

    for file, record in side_by_side(_files(place, on_problem), known(place, catalog)):
        found.n_known += record is not None and _can_be_missed(file, record)
        if file is not None:
            if record is not None and lacks_details(record):
                found.undescribed.append(record.image_id)
            is_stripped = record is not None and record.image_id in without_vector
            _sort_in(found, Candidate(file, place, record, is_stripped), tally, rules)
            if found.n_files % FILES_PER_MESSAGE == 0:
                tally.tell_scanned(found.n_files)
        elif record is not None:
            absent.append(record)
    if not (found.n_files or found.n_known or absent or rules.allow_missing):
        raise _no_pictures(place.folder)
    # Gone only where the file's folder was seen whole.
    found.gone = [
        record
        for record in absent
        if _can_be_missed(None, record) and hiding.isdisjoint(_ancestry(record.path_bytes))
    ]
    return found


def require_pictures(folders: Iterable[str | Path], allow_missing: bool) -> None:
    """Raise FolderError if one of the folders cannot be read or has no pictures in it."""
    for folder in outermost(folders):
        if next(discover(folder, lambda _: None), None) is None and not allow_missing:
            raise _no_pictures(folder)


def side_by_side(
    files: Iterator[ImageFile], records: Iterator[tuple[bytes, ImageRecord]]
) -> Iterator[tuple[ImageFile | None, ImageRecord | None]]:
    """Pair files with the records at their relative paths. Both come sorted by these, so that
    neither is in memory as a whole."""
    file, (path, record) = next(files, None), next(records, _END)
    while file is not None or record is not None:
        if record is None or (file is not None and file.relative_path < path):
            yield file, None
            file = next(files, None)
        elif file is None or path < file.relative_path:
            yield None, record
            path, record = next(records, _END)
        else:
            yield file, record
            file, (path, record) = next(files, None), next(records, _END)


def known(place: Place, catalog: Catalog) -> Iterator[tuple[bytes, ImageRecord]]:
    """The records below a place by their path relative to its root, sorted by it."""
    if place.record is not None:
        for record in catalog.images(place.record.folder_id, place.subtree):
            yield record.relative_path, record
        return
    inner = (_known_inside(root, place.root, catalog) for root in place.inner)
    yield from heapq.merge(*inner, key=lambda each: each[0])


def lacks_details(record: ImageRecord) -> bool:
    """Whether its picture was looked into by a version that read fewer details of it."""
    # A damaged row may hold no number.
    is_described = isinstance(record.details, int) and record.details >= DETAILS_VERSION
    return not (record.is_unseen or record.reason is not None or is_described)


def without_vector(place: Place, catalog: Catalog, model_id: int) -> frozenset[int]:
    """The ids of the records below a place that should have a vector of a model and have none."""
    if place.record is not None:
        return catalog.without_vector(model_id, place.record.folder_id, place.subtree)
    inner = (catalog.without_vector(model_id, root.folder_id) for root in place.inner)
    return frozenset().union(*inner)


def _resolved(folder: Path) -> Path:
    try:
        return folder.expanduser().resolve(strict=True)
    except (OSError, RuntimeError, ValueError):
        raise FolderError(
            f"there is no folder {shown(folder)}: check the spelling, and that its drive is mounted"
        ) from None


def _with_slash(path: bytes) -> bytes:
    return path if path.endswith(b"/") else path + b"/"


def _is_inside(path: bytes, root: bytes) -> bool:
    return path == root or path.startswith(_with_slash(root))


def _ancestry(path: bytes) -> Iterator[bytes]:
    """An absolute path and all folders that it lies in."""
    while path:
        yield path
        path = path.rpartition(b"/")[0]


def _known_inside(
    root: FolderRecord, outer: bytes, catalog: Catalog
) -> Iterator[tuple[bytes, ImageRecord]]:
    prefix = _with_slash(root.path_bytes)[len(_with_slash(outer)) :]
    for record in catalog.images(root.folder_id):
        yield prefix + record.relative_path, record


def _files(place: Place, on_problem: Callable[[Skipped], None]) -> Iterator[ImageFile]:
    """The files of a place with their paths relative to its root."""
    for file in discover(place.folder, on_problem):
        if place.subtree:
            file = replace(file, relative_path=place.subtree + b"/" + file.relative_path)
        yield file


def _can_be_missed(file: ImageFile | None, record: ImageRecord) -> bool:
    """Whether a record counts as one of the folder's files. One whose vector was imported does so
    only where there is a file: nobody has ever seen it."""
    return record.state != "missing" and (file is not None or not record.is_unseen)


def _sort_in(found: FolderScan, candidate: Candidate, tally: Tally, rules: Rules) -> None:
    found.n_files += 1
    record = candidate.record
    if record is None or _must_be_read(record, candidate, rules):
        found.candidates.append(candidate)
    elif rules.verify or not _looks_same(record, candidate.file.signature):
        found.doubtful.append(candidate)
    else:
        _keep(found, candidate, record, tally)


def _must_be_read(record: ImageRecord, candidate: Candidate, rules: Rules) -> bool:
    # Without a hash the file could not even be read, and a cure for that leaves no trace here.
    if not record.content_hash or record.size != candidate.file.signature.size:
        return True
    if record.reason is None:
        return candidate.needs_vector
    return _deserves_a_try(record, rules)


def _keep(found: FolderScan, candidate: Candidate, record: ImageRecord, tally: Tally) -> None:
    """Count a file that is as it was."""
    signature = candidate.file.signature
    if record.ctime_ns is None:
        found.times[record.image_id] = {
            "mtime_ns": signature.mtime_ns,
            "ctime_ns": signature.ctime_ns,
            "unsure_since_ns": None,
        }
    if record.state == "unreadable":
        tally.skip(candidate.file.path, record.reason or "unreadable")
    elif record.state == "missing":
        found.back.append(candidate)
    else:
        found.n_unchanged += 1


def _looks_same(record: ImageRecord, signature: Signature) -> bool:
    """Whether nothing speaks for another content; versions that did not keep ctime are believed."""
    is_sure = record.unsure_since_ns is None
    same_ctime = record.ctime_ns in (None, signature.ctime_ns)
    return is_sure and same_ctime and record.mtime_ns == signature.mtime_ns


def _deserves_a_try(record: ImageRecord, rules: Rules) -> bool:
    """Whether a file that could not be used might be by now, though it is still the same."""
    if record.decoder != rules.decoder:
        return True
    # Refused for its size, and the limit has been raised since.
    is_sized = record.width is not None and record.height is not None
    return is_sized and (record.width or 0) * (record.height or 0) <= rules.max_pixels


def _no_pictures(folder: Path) -> FolderError:
    return FolderError(
        f"the folder {shown(folder)} has no pictures in it: name a folder that has some"
    )
