"""Stop before many files are taken for deleted: a drive may be missing, not the pictures.

In: complete scans. Out: nothing, or a FolderError that asks. Reads neither disk nor catalog.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from clipsearch.errors import FolderError
from clipsearch.images import shown
from clipsearch.indexer.scan import Candidate, FolderScan

if TYPE_CHECKING:
    from clipsearch.catalog import ImageRecord


def refuse_losses(scans: Sequence[FolderScan]) -> None:
    """Raise FolderError if more than half of a folder's known files are gone.

    One that turns up elsewhere in these scans, of the same size and date, has only moved.
    """
    if not any(_is_most(len(scan.gone), scan) for scan in scans):
        return
    newcomers = Counter(
        (candidate.file.signature.size, candidate.file.signature.mtime_ns)
        for scan in scans
        for candidate in (*scan.candidates, *scan.doubtful)
        if _is_new_here(candidate)
    )
    for scan in scans:
        n_lost = sum(not _has_moved(record, newcomers) for record in scan.gone)
        if _is_most(n_lost, scan):
            raise FolderError(
                f"of the {scan.n_known:,} files that the library knows in "
                f"{shown(scan.place.folder)}, {n_lost:,} are not there now: mount the drive, or "
                "confirm that they are gone with --yes (in Python allow_missing=True)"
            )


def _is_most(n_lost: int, scan: FolderScan) -> bool:
    return 2 * n_lost > scan.n_known


def _is_new_here(candidate: Candidate) -> bool:
    """Whether another file was at its path before, or none."""
    record, signature = candidate.record, candidate.file.signature
    return record is None or (record.size, record.mtime_ns) != (
        signature.size,
        signature.mtime_ns,
    )


def _has_moved(record: ImageRecord, newcomers: Counter[tuple[int, int]]) -> bool:
    """Whether a newcomer can be this file; each newcomer only once."""
    key = (record.size, record.mtime_ns)
    if not newcomers[key]:
        return False
    newcomers[key] -= 1
    return True
