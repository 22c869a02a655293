"""Fill in what an older version did not read of pictures that the library already has.

In: places of the catalog. Out: rows, one transaction for some files. Reads headers only, in the
processes that decode, because a header can be hostile too; a vector is never touched.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

import numpy as np

from clipsearch.images import DETAILS_VERSION
from clipsearch.indexer.commit import Committer, stored_details
from clipsearch.indexer.frames import Found, Want
from clipsearch.indexer.pipeline import FILES_PER_BATCH, Pace
from clipsearch.indexer.workers import Workers

if TYPE_CHECKING:
    from clipsearch.catalog import ImageRecord
    from clipsearch.vectors import IdArray


def fill_in(
    places: Sequence[tuple[int, bytes]], committer: Committer, pace: Pace, workers: Workers | None
) -> None:
    """Read the details of all images at or below these relative paths of roots that lack them.

    Without `workers` some are started, if there is anything to do. An interruption loses the files
    under way, and the next run does the rest. What cannot be read now is left to it, too.
    """
    catalog, tally = committer.catalog, committer.tally
    lacking = [catalog.without_details(DETAILS_VERSION, *place) for place in places]
    ids: IdArray = np.concatenate([*lacking, np.empty(0, dtype=np.int64)])
    if not ids.size:
        return
    with ExitStack() as stack:
        if workers is None:
            n_workers = min(pace.decode_workers, len(ids))
            workers = stack.enter_context(Workers(n_workers, pace.limits))
            workers.begin(pace.setup(None))
        for start in range(0, len(ids), FILES_PER_BATCH):
            tally.tell_details(start, len(ids))
            some = catalog.records(ids[start : start + FILES_PER_BATCH]).values()
            asked = [(record, workers.read(record.path, Want.DETAILS)) for record in some]
            read = [(record, future.result()) for record, future in asked]
            with catalog.begin() as write:
                write.set_details(
                    {
                        record.image_id: stored_details(found.details)
                        for record, found in read
                        if _is_of(record, found)
                    }
                )


def _is_of(record: ImageRecord, found: Found) -> bool:
    """Whether details were read, and of the content that the record is of."""
    if found.details is None or found.reason is not None:
        return False
    same_ctime = record.ctime_ns in (None, found.ctime_ns)
    return same_ctime and (record.size, record.mtime_ns) == (found.size, found.mtime_ns)
