"""Read pictures again and compare them with what they were: bits rot on disks without a word.

In: the catalog. Out: findings. A file that was changed by somebody is none: the indexer's business.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np

from clipsearch.care.report import INDEX, Findings, Kind
from clipsearch.errors import ImageError
from clipsearch.images import content_hash

if TYPE_CHECKING:
    from clipsearch.catalog import Catalog, ImageRecord

RECORDS_AT_ONCE = 256  # asked for anew each time: no state of the catalog is held for hours


def check_pictures(catalog: Catalog, share: float, findings: Findings) -> None:
    """Read this share (0 to 1) of the pictures, at least one, spread evenly from a random start."""
    from clipsearch.catalog.inspection import inspecting

    with inspecting(catalog.path) as state:
        ids = state.present_ids()
    n_wanted = min(len(ids), max(1, round(share * len(ids))))
    if not n_wanted:
        return
    start = np.random.default_rng().integers(len(ids))
    places = (start + np.arange(n_wanted) * len(ids) // n_wanted) % len(ids)
    chosen = np.sort(ids[places])
    for first in range(0, n_wanted, RECORDS_AT_ONCE):
        for record in catalog.records(chosen[first : first + RECORDS_AT_ONCE]).values():
            _check_picture(record, findings)
        findings.tell("pictures", min(first + RECORDS_AT_ONCE, n_wanted), n_wanted)


def _check_picture(record: ImageRecord, findings: Findings) -> None:
    if record.state != "present" or record.content_hash is None or not _is_unchanged(record):
        return
    try:
        digest = content_hash(record.path)
    except ImageError as error:
        if _is_unchanged(record):
            remedy = f"check the drive, then {INDEX}"
            findings.add(Kind.PICTURE_UNREADABLE, str(error), record.path, remedy)
        return
    findings.seen["n_pictures_read"] += 1
    if digest != record.content_hash and _is_unchanged(record):
        what = "its bytes changed, though its size and time did not"
        remedy = f"restore it from a copy, or touch it and {INDEX}"
        findings.add(Kind.PICTURE, what, record.path, remedy)


def _is_unchanged(record: ImageRecord) -> bool:
    """Whether the file is there and looks as it did when it was indexed."""
    try:
        found = os.stat(record.path_bytes)
    except (OSError, ValueError):
        return False
    return (found.st_size, found.st_mtime_ns) == (record.size, record.mtime_ns)
