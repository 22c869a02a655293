"""Write what was read and encoded into the catalog, one transaction a batch.

In: scans and EncodedBatches. Out: rows, and counts in the tally. Only this file writes images.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from itertools import chain
from typing import TYPE_CHECKING, Literal, cast

import numpy as np

from clipsearch.images import DECODER, DETAILS_VERSION, Details
from clipsearch.indexer.confirm import Confirmed
from clipsearch.indexer.pipeline import EncodedBatch, Reading
from clipsearch.indexer.report import Tally
from clipsearch.indexer.scan import FolderScan, Place
from clipsearch.vectors import FloatArray

if TYPE_CHECKING:
    from clipsearch.catalog import (
        Batch,
        Catalog,
        FileTimes,
        ImageChanges,
        ImageDetails,
        ImageRecord,
    )

# Of a thousand equal files each new one would otherwise ask after all the others.
MAX_TWINS_TRIED = 16
ROWS_PER_BATCH = 10_000  # of nothing but dates

_DETAILS = (*(field.name for field in fields(Details)), "details")

Outcome = Literal["added", "updated", "moved", "returned", "unchanged"]


@dataclass
class Committer:
    """The writer of one run. A CatalogError leaves the batch undone and those before it done."""

    catalog: Catalog
    model_id: int
    tally: Tally
    decoder: str = DECODER  # what is to be remembered of failures
    folder_ids: dict[bytes, int] = field(default_factory=dict)  # by root
    gone: set[int] = field(default_factory=set)  # found gone, and not found elsewhere yet

    def begin(self, scans: Iterable[FolderScan]) -> None:
        """Record new roots, let them take over roots inside them, and welcome files back."""
        scans = list(scans)
        back = [c.record for scan in scans for c in scan.back if c.record is not None]
        with self.catalog.begin() as write:
            for scan in scans:
                folder_id = self.folder_ids[scan.place.root] = settle(write, scan.place)
                write.set_problems(folder_id, scan.place.subtree, scan.problems)
            write.mark_present([record.image_id for record in back])
        self.gone = {record.image_id for scan in scans for record in scan.gone}
        self.tally.count("unchanged", sum(scan.n_unchanged for scan in scans))
        for record in back:
            self._count_known(record)
        self._set_times([each for scan in scans for each in scan.times.items()])

    def confirm(self, files: Sequence[Confirmed]) -> None:
        """Commit the dates of files whose content is the same, and welcome back the missing."""
        missing = [file.record.image_id for file in files if file.record.state == "missing"]
        with self.catalog.begin() as write:
            write.set_times({file.record.image_id: file.times for file in files})
            write.mark_present(missing)
        for file in files:
            self._count_known(file.record)

    def known_vectors(self, hashes: Iterable[bytes]) -> Mapping[bytes, FloatArray]:
        """The vectors that the catalog has for these contents, whatever became of the files."""
        twins = self._twins(hashes)
        first = {records[0].image_id: content for content, records in twins.items()}
        ids, vectors = self.catalog.vectors_of(self.model_id, list(first))
        return {first[n]: vector for n, vector in zip(ids.tolist(), vectors, strict=True)}

    def write(self, batch: EncodedBatch) -> None:
        """Commit one batch. Its files count when that has succeeded."""
        twins = self._twins({r.content_hash for r in batch.readings if r.reason is None})
        with self.catalog.begin() as write:
            written = _Written(write, self, twins)
            for reading in batch.readings:
                written.file(reading, batch.vectors.get(reading.content_hash))
            if written.vectors:
                vectors = np.stack(list(written.vectors.values()))
                write.put_vectors(self.model_id, list(written.vectors), vectors)
        self.gone -= written.found
        self.tally.n_encoded += batch.n_encoded
        self.tally.n_done += len(batch.readings)
        for outcome in written.outcomes:
            self.tally.count(outcome)
        for reading in batch.readings:
            if reading.reason is not None:
                self.tally.skip(reading.candidate.file.path, reading.reason)

    def finish(self) -> None:
        """Mark as missing what is gone and was not found elsewhere."""
        with self.catalog.begin() as write:
            write.mark_missing(sorted(self.gone))
        self.tally.count("missing", len(self.gone))

    def _count_known(self, record: ImageRecord) -> None:
        """Count a file that is as it was before, whatever it was."""
        if record.reason is not None:
            self.tally.skip(record.path, record.reason)
        else:
            self.tally.count("returned" if record.state == "missing" else "unchanged")

    def _set_times(self, times: Sequence[tuple[int, FileTimes]]) -> None:
        for start in range(0, len(times), ROWS_PER_BATCH):
            with self.catalog.begin() as write:
                write.set_times(dict(times[start : start + ROWS_PER_BATCH]))

    def _twins(self, hashes: Iterable[bytes]) -> dict[bytes, list[ImageRecord]]:
        """By content, the records that have it and its vector, lowest id first."""
        records = self.catalog.images_with_hash(hashes)
        has_vector = self.catalog.with_vector(self.model_id, [r.image_id for r in records])
        twins: dict[bytes, list[ImageRecord]] = {}
        for record in records:
            if record.image_id in has_vector and record.content_hash is not None:
                twins.setdefault(record.content_hash, []).append(record)
        return twins


class _Written:
    """One open transaction, and what it has done so far."""

    def __init__(
        self,
        write: Batch,
        committer: Committer,
        twins: Mapping[bytes, list[ImageRecord]],
    ) -> None:
        self.write, self.twins = write, twins
        self.folder_ids, self.gone = committer.folder_ids, committer.gone
        self.decoder = committer.decoder
        self.found: set[int] = set()  # ids of moved images
        self.untried: dict[bytes, Iterator[ImageRecord]] = {}  # by content, who may have moved
        self.vectors: dict[int, FloatArray] = {}  # to be stored, by image id
        self.outcomes: list[Outcome] = []

    def file(self, reading: Reading, vector: FloatArray | None) -> None:
        """Write one file. Without a vector it could not be used."""
        record = reading.candidate.record
        if reading.vanished:  # the next run finds it gone, or back
            folder_id, relative_path = self._place(reading)
            self.write.add_problems(folder_id, {relative_path: reading.reason or "vanished"})
            return
        if reading.reason is not None or vector is None:
            self._unreadable(reading, record)
            return
        twins = self.twins.get(reading.content_hash, [])
        if record is not None:
            image_id, outcome = self._known(reading, record, twins)
            is_stored = record in twins
        elif moved := self._left_behind(reading.content_hash, twins):
            image_id, outcome = self._moved(reading, moved), "moved"
            is_stored = True
        else:
            image_id, outcome = self._added(reading, _facts(reading, twins)), "added"
            is_stored = False
        self.outcomes.append(outcome)
        if not is_stored:
            self.vectors[image_id] = vector

    def _unreadable(self, reading: Reading, record: ImageRecord | None) -> None:
        failure: ImageDetails = {
            "state": "unreadable",
            "reason": reading.reason,
            "width": reading.width,
            "height": reading.height,
            # Without a hash it did not come to decoding.
            "decoder": self.decoder if reading.content_hash else None,
        }
        if record is None:
            self._added(reading, failure)
            return
        changes: ImageChanges = {**_stat(reading), **failure}
        self.write.update_image(record.image_id, **changes)
        self.write.remove_vectors([record.image_id])

    def _known(
        self, reading: Reading, record: ImageRecord, twins: list[ImageRecord]
    ) -> tuple[int, Outcome]:
        facts = _facts(reading, [record] if record in twins else twins)
        changes: ImageChanges = {**_stat(reading), **facts}
        self.write.update_image(record.image_id, **changes)
        if record not in twins:
            return record.image_id, "updated"
        return record.image_id, "returned" if record.state == "missing" else "unchanged"

    def _moved(self, reading: Reading, record: ImageRecord) -> int:
        folder_id, relative_path = self._place(reading)
        changes: ImageChanges = {
            "folder_id": folder_id,
            "relative_path": relative_path,
            **_stat(reading),
            "state": "present",
        }
        self.write.update_image(record.image_id, **changes)
        return record.image_id

    def _added(self, reading: Reading, details: ImageDetails) -> int:
        signature, content_hash = reading.signature, reading.content_hash or None
        dated: ImageDetails = {
            **details,
            "ctime_ns": signature.ctime_ns,
            "unsure_since_ns": signature.unsure_since(reading.read_ns),
        }
        place = self._place(reading)
        return self.write.add_image(
            *place, signature.size, signature.mtime_ns, content_hash, **dated
        )

    def _place(self, reading: Reading) -> tuple[int, bytes]:
        candidate = reading.candidate
        return self.folder_ids[candidate.place.root], candidate.file.relative_path

    def _left_behind(self, content: bytes, twins: list[ImageRecord]) -> ImageRecord | None:
        """A record whose file is gone, for a file of its content to take over; each only once."""
        if content not in self.untried:
            gone = [twin for twin in twins if twin.image_id in self.gone]
            others = [twin for twin in twins if twin.image_id not in self.gone]
            self.untried[content] = chain(gone, filter(_is_gone, others[:MAX_TWINS_TRIED]))
        moved = next(self.untried[content], None)
        if moved is not None:
            self.found.add(moved.image_id)
        return moved


def _stat(reading: Reading) -> ImageChanges:
    signature = reading.signature
    return {
        "size": signature.size,
        "mtime_ns": signature.mtime_ns,
        "ctime_ns": signature.ctime_ns,
        "unsure_since_ns": signature.unsure_since(reading.read_ns),
        "content_hash": reading.content_hash or None,
    }


def _facts(reading: Reading, twins: list[ImageRecord]) -> ImageDetails:
    """What is known of the picture, from itself or, if it was not decoded, from an equal one."""
    readable: ImageDetails = {"state": "present", "reason": None}
    if reading.pixels is None and twins:
        # Of equal ones the one that was read last knows most.
        twin = max(twins, key=lambda each: each.details or 0)
        return {**readable, "width": twin.width, "height": twin.height, **_details_of(twin)}
    return {
        **readable,
        "width": reading.width,
        "height": reading.height,
        **stored_details(reading.details),
    }


def stored_details(found: Details | None) -> ImageDetails:
    """Details as the catalog keeps them, with the version that has read them."""
    if found is None:
        return {}
    return cast("ImageDetails", {**vars(found), "details": DETAILS_VERSION})


def _details_of(record: ImageRecord) -> ImageDetails:
    return cast("ImageDetails", {name: getattr(record, name) for name in _DETAILS})


def settle(write: Batch, place: Place) -> int:
    """The id of a place's root; a new one takes over the images of the roots inside it."""
    if place.record is not None:
        return place.record.folder_id
    root = write.add_folder(place.root)
    for inner in place.inner:
        write.take_over(inner, root)
    return root.folder_id


def _is_gone(record: ImageRecord) -> bool:
    """Whether there is no file at a record's path, and not because its drive is elsewhere."""
    try:
        os.lstat(record.path_bytes)
    except (FileNotFoundError, NotADirectoryError):
        try:
            # An empty mount point looks like a folder whose files were all deleted.
            with os.scandir(record.folder_path) as entries:
                return any(True for _ in entries)
        except OSError:
            return record.state == "missing"
    except OSError:
        return False  # an unreadable folder hides its files, it does not delete them
    return False
