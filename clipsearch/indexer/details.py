"""Fill in what an older version did not read of pictures that the library already has.

In: ids of images. Out: rows, one transaction for some files. Reads headers only, in the
processes that decode, because a header can be hostile too; a vector is never touched.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

from clipsearch.indexer.commit import Committer, stored_details
from clipsearch.indexer.frames import Found, Want
from clipsearch.indexer.pipeline import FILES_PER_BATCH, Pace
from clipsearch.indexer.scan import lacks_details
from clipsearch.indexer.workers import Workers

if TYPE_CHECKING:
    from clipsearch.catalog import ImageRecord


def fill_in(
    image_ids: Sequence[int], committer: Committer, pace: Pace, workers: Workers | None
) -> None:
    """Read the details of these images, where they are still there and still lack them.

    Without `workers` some are started, if there is anything to do. An interruption loses the files
    under way, and the next run does the rest. What cannot be read now is left to it, too.
    """
    catalog, tally = committer.catalog, committer.tally
    if not image_ids:
        return
    with ExitStack() as stack:
        if workers is None:
            n_workers = min(pace.decode_workers, len(image_ids))
            workers = stack.enter_context(Workers(n_workers, pace.limits))
            workers.begin(pace.setup(None))
        for start in range(0, len(image_ids), FILES_PER_BATCH):
            tally.tell_details(start, len(image_ids))
            some = catalog.records(image_ids[start : start + FILES_PER_BATCH]).values()
            asked = [
                (record, workers.read(record.path, Want.DETAILS))
                for record in some
                if record.state == "present" and lacks_details(record)
            ]
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
