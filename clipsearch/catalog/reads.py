"""Everything that can be asked of a catalog, whichever state it is asked of: the latest committed
one, a snapshot, or the one inside a batch. Nothing here writes."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import (
    Connection,
    CursorResult,
    Select,
    func,
    select,
    text,
    union,
)

from clipsearch.catalog import blobs
from clipsearch.catalog.conditions import ABSENT, ImageIds, among, below
from clipsearch.catalog.database import in_words
from clipsearch.catalog.image_reads import ImageReads, count, images
from clipsearch.catalog.matching import lacks_details, matching_ids
from clipsearch.catalog.records import (
    ImageRecord,
    VectorBatch,
    VectorSample,
)
from clipsearch.catalog.sampling import vector_sample
from clipsearch.catalog.tables import (
    ForgottenRow,
    ImageRow,
    ModelRow,
    VectorRow,
)
from clipsearch.errors import CatalogDamaged, CatalogError
from clipsearch.filters import Filter
from clipsearch.vectors import FloatArray, HalfArray, IdArray, widened


class CatalogReads(ImageReads):
    """All questions, those about vectors too."""

    def vector_count(self, model_id: int) -> int:
        """How many present images have a vector of this model."""
        with self._reading() as connection:
            return _n_vectors(connection, model_id)

    def vectors_of(self, model_id: int, image_ids: ImageIds) -> tuple[IdArray, FloatArray]:
        """The stored vectors of these images, in every state: ids `[n]` in the order asked for,
        and float32 `[n, dim]` as float16 kept them. Images without a vector are left out.

        Raises CatalogError where a vector does not match its CRC-32, naming the file, and where it
        is that of another image.
        """
        wanted = list(dict.fromkeys(int(image_id) for image_id in image_ids))
        found = select(VectorRow.vector_id).where(
            VectorRow.model_id == model_id, among(VectorRow.image_id, wanted)
        )
        # By row id, so that whose vector it is comes from the row itself. SQLite would take that
        # from its index, and one flipped bit there gives a sound vector to another image.
        statement = select(VectorRow.image_id, VectorRow.vector, VectorRow.crc32).where(
            VectorRow.vector_id.in_(found)
        )
        with self._reading() as connection:
            dimension = dimension_of(connection, model_id)
            stored = {row[0]: row for row in connection.execute(statement)}
            if not stored.keys() <= set(wanted):
                raise CatalogDamaged(blobs.misled(self.path))
            rows = [stored[image_id] for image_id in wanted if image_id in stored]
            half = _unpack(connection, rows, dimension)
        return np.array([row[0] for row in rows], dtype=np.int64), widened(half)

    def with_vector(self, model_id: int, image_ids: ImageIds) -> set[int]:
        """Those of these images that have a vector, in every state; no vector is read."""
        statement = select(VectorRow.image_id).where(
            VectorRow.model_id == model_id, among(VectorRow.image_id, image_ids)
        )
        with self._reading() as connection:
            return set(connection.execute(statement).scalars())

    def ids_with_vector(self, model_id: int) -> IdArray:
        """Every image that has a vector, in every state, ascending; no vector is read."""
        statement = text("SELECT image_id FROM vectors WHERE model_id = :model_id")
        with self._reading() as connection:
            found = connection.execute(statement, {"model_id": model_id})
            every = np.fromiter((n for rows in _plainly(found, 65_536) for (n,) in rows), np.int64)
            return np.sort(every)

    def without_vector(self, model_id: int, folder_id: int, place: bytes = b"") -> frozenset[int]:
        """The readable images of a root, missing ones too, that have no vector of this model; or
        those at or below a relative path. Takes time for these only."""
        has_vector = select(VectorRow.vector_id).where(
            VectorRow.image_id == ImageRow.image_id, VectorRow.model_id == model_id
        )
        bare = (
            select(ImageRow.image_id)
            .where(ImageRow.folder_id == folder_id, below(ImageRow.relative_path, place))
            .where(ImageRow.reason.is_(None), ~has_vector.exists())
        )
        with self._reading() as connection:
            return frozenset(connection.execute(bare).scalars())

    def vector_batches(
        self, model_id: int, after_vector_id: int = 0, batch_size: int = 4096
    ) -> Generator[VectorBatch]:
        """The vectors of present images that are newer than a revision, oldest first; streamed
        from one committed state, in batches of at most `batch_size`.

        Raises CatalogError, naming the file, where a vector does not match its CRC-32.
        """
        statement = (
            select(VectorRow.image_id, VectorRow.vector, VectorRow.crc32, VectorRow.vector_id)
            .where(VectorRow.model_id == model_id, VectorRow.vector_id > after_vector_id)
            .where(VectorRow.image_id.not_in(ABSENT))
            .order_by(VectorRow.vector_id)
        )
        with self._reading() as connection:
            dimension = dimension_of(connection, model_id)
            for rows in _plainly(connection.execute(statement), batch_size):
                yield VectorBatch(
                    vector_ids=np.array([row[3] for row in rows], dtype=np.int64),
                    image_ids=np.array([row[0] for row in rows], dtype=np.int64),
                    vectors=_unpack(connection, rows, dimension),
                )

    def vector_sample(self, model_id: int, size: int) -> VectorSample:
        """Sound vectors of up to `size` present images from all over the library, the same ones
        for as long as it stays as it is; all of them where there are no more."""
        with self._reading() as connection:
            dimension = dimension_of(connection, model_id)
            return vector_sample(
                lambda statement, given: connection.execute(text(statement), given),
                model_id,
                dimension,
                size,
            )

    def revision(self) -> int:
        """The highest vector_id that was ever given, even if its vector is gone: it only grows."""
        statement = text("SELECT seq FROM sqlite_sequence WHERE name = :table")
        newest = select(func.max(VectorRow.vector_id))
        with self._reading() as connection:
            found = connection.execute(statement, {"table": VectorRow.__tablename__})
            ever = found.scalar_one_or_none() or 0
            return max(ever, connection.execute(newest).scalar_one() or 0)

    def last_vector_id(self, model_id: int) -> int:
        """The newest revision of this model's vectors, 0 if there are none."""
        statement = (
            select(VectorRow.vector_id)
            .where(VectorRow.model_id == model_id)
            .order_by(VectorRow.vector_id.desc())
            .limit(1)
        )
        with self._reading() as connection:
            return connection.execute(statement).scalar_one_or_none() or 0

    def matching_ids(self, wanted: Filter) -> IdArray:
        """The present images that fulfil all that a filter asks, ascending."""
        with self._reading() as connection:
            return matching_ids(wanted, lambda *asked: connection.exec_driver_sql(*asked).all())

    def lacks_details(self) -> bool:
        """Whether there are present pictures of which no camera, lens, place or kind was read."""
        with self._reading() as connection:
            return lacks_details(lambda *asked: connection.exec_driver_sql(*asked).all())

    def absent_ids(self) -> IdArray:
        """The images that are missing or unreadable, in no order."""
        with self._reading() as connection:
            return np.fromiter(connection.execute(ABSENT).scalars(), dtype=np.int64)

    def masked_ids(self, model_id: int, through_vector_id: int) -> IdArray:
        """The `dead_ids` without those that have only lost their vector, which to find takes a look
        at every image. Ascending."""
        with self._reading() as connection:
            found = connection.execute(union(*_masked(model_id, through_vector_id))).scalars()
            return np.unique(np.fromiter(found, dtype=np.int64))

    def dead_ids(self, model_id: int, through_vector_id: int) -> IdArray:
        """The images that an index of the vectors up to a revision must not return: those that are
        not present, forgotten or without a vector now, and those with a newer one. Ascending.

        So that index without these, and the vectors after the revision, make up the library.
        """
        has_vector = select(VectorRow.vector_id).where(
            VectorRow.image_id == ImageRow.image_id, VectorRow.model_id == model_id
        )
        stripped = select(ImageRow.image_id).where(~has_vector.exists())
        is_present = select(func.count()).where(ImageRow.state == "present")
        with self._reading() as connection:
            parts = _masked(model_id, through_vector_id)
            # Looking at every image for one without a vector is slow, and mostly there is none.
            if connection.execute(is_present).scalar_one() != _n_vectors(connection, model_id):
                parts.append(stripped)
            found = connection.execute(union(*parts)).scalars()
            return np.unique(np.fromiter(found, dtype=np.int64))

    def changes_at_most(self, model_id: int, through_vector_id: int, limit: int) -> int:
        """No fewer than an index of the vectors up to a revision lacks and has too many; from
        `limit` on it counts no further, so that the answer never takes long.

        It is more than that where an image was never in the index, or has a newer vector only. An
        image that has lost its vector, as in a repair, does not count.
        """
        newer = select(VectorRow.vector_id).where(
            VectorRow.model_id == model_id, VectorRow.vector_id > through_vector_id
        )
        with self._reading() as connection:
            n_newer, *others = (
                connection.execute(select(func.count()).select_from(some.limit(limit).subquery()))
                for some in (newer, ABSENT, select(ForgottenRow.image_id))
            )
            # Each of the newer ones may have an older one in the index.
            n_changes = 2 * n_newer.scalar_one() + sum(each.scalar_one() for each in others)
        return min(n_changes, limit)

    def forgotten_count(self) -> int:
        """How many forgotten images the index file may still hold."""
        with self._reading() as connection:
            return count(connection, ForgottenRow)

    def forgotten_ids(self) -> IdArray:
        """The forgotten images that an index file may still hold, ascending."""
        with self._reading() as connection:
            found = connection.execute(select(ForgottenRow.image_id)).scalars()
            return np.sort(np.fromiter(found, dtype=np.int64))


class Snapshot(CatalogReads):
    """One state of a catalog, that of an open transaction, whatever is committed meanwhile."""

    def __init__(self, connection: Connection, path: Path) -> None:
        super().__init__(path)
        self._connection = connection

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        with in_words(self.path):
            yield self._connection


def _masked(model_id: int, through_vector_id: int) -> list[Select[int]]:
    newer = select(VectorRow.image_id).where(
        VectorRow.model_id == model_id, VectorRow.vector_id > through_vector_id
    )
    return [ABSENT, newer, select(ForgottenRow.image_id)]


def dimension_of(connection: Connection, model_id: int) -> int:
    statement = select(ModelRow.dimension).where(ModelRow.model_id == model_id)
    dimension = connection.execute(statement).scalar_one_or_none()
    if dimension is None:
        raise CatalogError(f"the library has no model with the id {model_id}")
    return dimension


def _plainly(result: CursorResult[Any], n_at_once: int) -> Iterator[Sequence[Any]]:
    """Rows as SQLite gives them, tuples. As SQLAlchemy's own, a million take two seconds more."""
    assert result.cursor is not None
    try:
        while rows := result.cursor.fetchmany(n_at_once):
            yield rows
    finally:
        result.close()


def _n_vectors(connection: Connection, model_id: int) -> int:
    # All minus the few of absent images: both numbers come from an index alone.
    mine = select(func.count()).select_from(VectorRow).where(VectorRow.model_id == model_id)
    absent = mine.where(VectorRow.image_id.in_(ABSENT))
    return connection.execute(mine).scalar_one() - connection.execute(absent).scalar_one()


def _unpack(connection: Connection, rows: Sequence[Sequence[Any]], dimension: int) -> HalfArray:
    """Rows that begin with (image_id, vector, crc32) → float16 `[n, dim]`."""
    vectors = [row[1] for row in rows]
    damaged = blobs.first_damaged(vectors, [row[2] for row in rows], dimension)
    if damaged is None:
        return blobs.unpack(vectors, dimension)
    image_id = rows[damaged][0]
    record = ImageRecord(*connection.execute(images().where(ImageRow.image_id == image_id)).one())
    raise CatalogDamaged(blobs.damage(image_id, record.path))
