"""Read known files again whose dates leave it open whether they have changed.

In: candidates with a record. Out: which are still the same, with their dates. Needs no model and
writes nothing.
"""

from __future__ import annotations

import os
import time
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from clipsearch.errors import ImageError
from clipsearch.images import Signature, content_hash, signature

if TYPE_CHECKING:
    from clipsearch.catalog import FileTimes, ImageRecord
    from clipsearch.indexer.scan import Candidate

FILES_AT_ONCE = 512


@dataclass(frozen=True)
class Confirmed:
    """A file with the content that its record says."""

    record: ImageRecord
    times: FileTimes


def confirm(
    doubtful: Sequence[Candidate], n_threads: int
) -> Generator[tuple[list[Confirmed], list[Candidate]]]:
    """Read all of them; gives some at a time: those that are the same, and those to read as new.

    Closing the generator stops its threads.
    """
    with ThreadPoolExecutor(n_threads, thread_name_prefix="confirm") as pool:
        for start in range(0, len(doubtful), FILES_AT_ONCE):
            some = doubtful[start : start + FILES_AT_ONCE]
            looks = list(pool.map(_confirmed, some))
            changed = [each for each, look in zip(some, looks, strict=True) if look is None]
            yield [look for look in looks if look is not None], changed


def _confirmed(candidate: Candidate) -> Confirmed | None:
    record, path = candidate.record, candidate.file.path
    if record is None:
        return None
    read_ns = time.time_ns()
    try:
        before = signature(os.stat(path))
        digest = content_hash(path)
        is_settled = signature(os.stat(path)) == before
    except (ImageError, OSError):
        return None  # the next to read it says why not
    if digest != record.content_hash or not is_settled:
        return None
    return Confirmed(
        record,
        {
            "mtime_ns": before.mtime_ns,
            "ctime_ns": before.ctime_ns,
            "unsure_since_ns": _unsure_since(record, before, read_ns),
        },
    )


def _unsure_since(record: ImageRecord, now: Signature, read_ns: int) -> int | None:
    is_new = (record.mtime_ns, record.ctime_ns) != (now.mtime_ns, now.ctime_ns)
    if is_new:
        return now.unsure_since(read_ns)
    if record.unsure_since_ns is None:
        return None
    return now.unsure_since(read_ns, record.unsure_since_ns)
