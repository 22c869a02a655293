"""Everything that can be asked of a catalog, whichever state it is asked of: the latest committed
one, a snapshot, or the one inside a batch. Nothing here writes."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import Connection, Row, Select, and_, func, or_, select, text, union
from sqlalchemy.sql.elements import ColumnElement

from clipsearch.catalog import blobs
from clipsearch.catalog.database import in_words
from clipsearch.catalog.records import Counts, FolderRecord, ImageRecord, ModelRecord, VectorBatch
from clipsearch.catalog.tables import FolderRow, ImageRow, LibraryRow, ModelRow, VectorRow
from clipsearch.errors import CatalogError
from clipsearch.vectors import FloatArray, HalfArray, IdArray, widened

ROWS_AT_ONCE = 1000  # well below SQLite's limit of 32,766 parameters, 999 in old versions

ImageIds = Iterable[int] | IdArray

# In the order of ImageRecord's fields.
_IMAGE_COLUMNS = (
    ImageRow.image_id,
    ImageRow.folder_id,
    FolderRow.path,
    ImageRow.relative_path,
    ImageRow.size,
    ImageRow.mtime_ns,
    ImageRow.content_hash,
    ImageRow.width,
    ImageRow.height,
    ImageRow.taken_at,
    ImageRow.state,
    ImageRow.reason,
)

# Few, and found through the index on the state. "Not one of these" is far cheaper than a look at
# the state of every image.
_ABSENT = select(ImageRow.image_id).where(ImageRow.state.in_(("missing", "unreadable")))


def among(column: ColumnElement[int] | Any, image_ids: ImageIds) -> ColumnElement[bool]:
    """The condition that a column is one of these ids, however many there are."""
    ids = image_ids if isinstance(image_ids, np.ndarray) else np.fromiter(image_ids, np.int64)
    listed = func.json_each(json.dumps(ids.tolist())).table_valued("value")
    condition: ColumnElement[bool] = column.in_(select(listed.c.value))
    return condition


class CatalogReads(ABC):
    """The questions. Raises CatalogError where the file is damaged or cannot be read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @abstractmethod
    def _reading(self) -> AbstractContextManager[Connection]:
        """A connection inside a transaction."""

    @property
    def uuid(self) -> str:
        """Made up when the library was created; a derived file that carries another is not ours."""
        return self._fact("uuid") or ""

    @property
    def created(self) -> str:
        """When the library was created: ISO 8601, UTC."""
        return self._fact("created") or ""

    @property
    def index_recipe(self) -> str:
        """The kind of index that the user asked for, "auto" if he did not."""
        return self._fact("index_recipe") or "auto"

    def model(self) -> ModelRecord | None:
        """The model that the library's vectors come from, None before the first indexing."""
        model_id = self._fact("model_id")
        if model_id is None:
            return None
        with self._reading() as connection:
            row = connection.execute(_models().where(ModelRow.model_id == int(model_id))).one()
        return ModelRecord(*row)

    def models(self) -> list[ModelRecord]:
        """Every model that the library has or had vectors of, oldest first."""
        with self._reading() as connection:
            rows = connection.execute(_models().order_by(ModelRow.model_id)).all()
        return [ModelRecord(*row) for row in rows]

    def folder(self, path: bytes) -> FolderRecord | None:
        """The root with exactly this absolute path."""
        with self._reading() as connection:
            row = connection.execute(_folders().where(FolderRow.path == path)).one_or_none()
        return None if row is None else FolderRecord(*row)

    def folders(self) -> list[FolderRecord]:
        """All roots, by path."""
        with self._reading() as connection:
            rows = connection.execute(_folders().order_by(FolderRow.path)).all()
        return [FolderRecord(*row) for row in rows]

    def images(self, folder_id: int) -> Iterator[ImageRecord]:
        """Every image of a root in every state, by path; streamed from one committed state."""
        statement = (
            _images().where(ImageRow.folder_id == folder_id).order_by(ImageRow.relative_path)
        )
        with self._reading() as connection:
            for rows in connection.execute(statement).partitions(ROWS_AT_ONCE):
                for row in rows:
                    yield ImageRecord(*row)

    def images_with_hash(self, content_hashes: Iterable[bytes]) -> list[ImageRecord]:
        """The images with one of these contents, in every state, by id."""
        hashes = sorted(set(content_hashes))
        found: list[ImageRecord] = []
        with self._reading() as connection:
            for start in range(0, len(hashes), ROWS_AT_ONCE):
                some = hashes[start : start + ROWS_AT_ONCE]
                rows = connection.execute(_images().where(ImageRow.content_hash.in_(some)))
                found.extend(ImageRecord(*row) for row in rows)
        return sorted(found, key=lambda record: record.image_id)

    def records(self, image_ids: ImageIds) -> dict[int, ImageRecord]:
        """The images with these ids, in every state; unknown ids are left out."""
        with self._reading() as connection:
            rows = connection.execute(_images().where(among(ImageRow.image_id, image_ids))).all()
        return {row[0]: ImageRecord(*row) for row in rows}

    def paths_of(self, image_ids: ImageIds) -> dict[int, Path]:
        """Where the images with these ids are; unknown ids are left out."""
        return {image_id: record.path for image_id, record in self.records(image_ids).items()}

    def image_at(self, path: bytes) -> ImageRecord | None:
        """The image at this absolute path. Where roots overlap: a present one first, then the one
        of the innermost root."""
        places = [
            and_(ImageRow.folder_id == folder.folder_id, ImageRow.relative_path == relative)
            for folder in self.folders()
            if (relative := _relative(path, folder.path_bytes)) is not None
        ]
        if not places:
            return None
        with self._reading() as connection:
            found = [ImageRecord(*row) for row in connection.execute(_images().where(or_(*places)))]
        return max(
            found,
            key=lambda record: (record.state == "present", len(record.folder_path)),
            default=None,
        )

    def images_at(
        self, folder_id: int, relative_paths: Sequence[bytes]
    ) -> dict[bytes, ImageRecord]:
        """The images of a root with these paths, in every state; unknown ones are left out."""
        found: dict[bytes, ImageRecord] = {}
        with self._reading() as connection:
            for start in range(0, len(relative_paths), ROWS_AT_ONCE - 1):
                some = relative_paths[start : start + ROWS_AT_ONCE - 1]
                of_root = _images().where(ImageRow.folder_id == folder_id)
                rows = connection.execute(of_root.where(ImageRow.relative_path.in_(some)))
                found |= {row[3]: ImageRecord(*row) for row in rows}
        return found

    def unreadable(self) -> list[ImageRecord]:
        """The files that could not be read, with their reasons, by path."""
        statement = (
            _images()
            .where(ImageRow.state == "unreadable")
            .order_by(FolderRow.path, ImageRow.relative_path)
        )
        with self._reading() as connection:
            return [ImageRecord(*row) for row in connection.execute(statement)]

    def counts(self) -> Counts:
        """How many images are in each state, and how many vectors there are."""
        by_state = select(ImageRow.state, func.count()).group_by(ImageRow.state)
        with self._reading() as connection:
            n = {state: count for state, count in connection.execute(by_state)}
            n_vectors = connection.execute(select(func.count()).select_from(VectorRow)).scalar_one()
        return Counts(
            n.get("present", 0), n.get("missing", 0), n.get("unreadable", 0), vectors=n_vectors
        )

    def folder_counts(self) -> dict[int, int]:
        """How many images are present in each root, by folder id."""
        statement = (
            select(ImageRow.folder_id, func.count())
            .where(ImageRow.state == "present")
            .group_by(ImageRow.folder_id)
        )
        with self._reading() as connection:
            n = {folder_id: count for folder_id, count in connection.execute(statement)}
        return {folder.folder_id: n.get(folder.folder_id, 0) for folder in self.folders()}

    def vector_count(self, model_id: int) -> int:
        """How many present images have a vector of this model."""
        with self._reading() as connection:
            return _n_vectors(connection, model_id)

    def vectors_of(self, model_id: int, image_ids: ImageIds) -> tuple[IdArray, FloatArray]:
        """The stored vectors of these images, in every state: ids `[n]` in the order asked for,
        and float32 `[n, dim]` as float16 kept them. Images without a vector are left out.

        Raises CatalogError, naming the file, where a vector does not match its CRC-32.
        """
        wanted = list(dict.fromkeys(int(image_id) for image_id in image_ids))
        statement = select(VectorRow.image_id, VectorRow.vector, VectorRow.crc32).where(
            VectorRow.model_id == model_id, among(VectorRow.image_id, wanted)
        )
        with self._reading() as connection:
            dimension = dimension_of(connection, model_id)
            stored = {row[0]: row for row in connection.execute(statement)}
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
            found = connection.execute(statement, {"model_id": model_id}).scalars()
            return np.sort(np.fromiter(found, dtype=np.int64))

    def without_vector(self, model_id: int) -> frozenset[int]:
        """The readable images, missing ones too, that have no vector of this model."""
        readable = select(func.count()).where(ImageRow.reason.is_(None))
        stored = select(func.count()).where(VectorRow.model_id == model_id)
        has_vector = select(VectorRow.vector_id).where(
            VectorRow.image_id == ImageRow.image_id, VectorRow.model_id == model_id
        )
        bare = select(ImageRow.image_id).where(ImageRow.reason.is_(None), ~has_vector.exists())
        with self._reading() as connection:
            # Normally there is none, and two counts are quicker than a look at each.
            if connection.execute(readable).scalar_one() == connection.execute(stored).scalar_one():
                return frozenset()
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
            .where(VectorRow.image_id.not_in(_ABSENT))
            .order_by(VectorRow.vector_id)
        )
        with self._reading() as connection:
            dimension = dimension_of(connection, model_id)
            for rows in connection.execute(statement).partitions(batch_size):
                yield VectorBatch(
                    vector_ids=np.array([row[3] for row in rows], dtype=np.int64),
                    image_ids=np.array([row[0] for row in rows], dtype=np.int64),
                    vectors=_unpack(connection, rows, dimension),
                )

    def revision(self) -> int:
        """The highest vector_id that was ever given, even if its vector is gone: it only grows."""
        statement = text("SELECT seq FROM sqlite_sequence WHERE name = :table")
        with self._reading() as connection:
            found = connection.execute(statement, {"table": VectorRow.__tablename__})
            return found.scalar_one_or_none() or 0

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

    def absent_ids(self) -> IdArray:
        """The images that are missing or unreadable, in no order."""
        with self._reading() as connection:
            return np.fromiter(connection.execute(_ABSENT).scalars(), dtype=np.int64)

    def dead_ids(self, model_id: int, through_vector_id: int) -> IdArray:
        """The images that an index of the vectors up to a revision must not return: those that are
        not present or have no vector now, and those with a newer one. Ascending.

        So that index without these, and the vectors after the revision, make up the library.
        """
        newer = select(VectorRow.image_id).where(
            VectorRow.model_id == model_id, VectorRow.vector_id > through_vector_id
        )
        has_vector = select(VectorRow.vector_id).where(
            VectorRow.image_id == ImageRow.image_id, VectorRow.model_id == model_id
        )
        stripped = select(ImageRow.image_id).where(~has_vector.exists())
        is_present = select(func.count()).where(ImageRow.state == "present")
        with self._reading() as connection:
            parts = [_ABSENT, newer]
            # Looking at every image for one without a vector is slow, and mostly there is none.
            if connection.execute(is_present).scalar_one() != _n_vectors(connection, model_id):
                parts.append(stripped)
            found = connection.execute(union(*parts)).scalars()
            return np.unique(np.fromiter(found, dtype=np.int64))

    def _fact(self, key: str) -> str | None:
        with self._reading() as connection:
            statement = select(LibraryRow.value).where(LibraryRow.key == key)
            return connection.execute(statement).scalar_one_or_none()


class Snapshot(CatalogReads):
    """One state of a catalog, that of an open transaction, whatever is committed meanwhile."""

    def __init__(self, connection: Connection, path: Path) -> None:
        super().__init__(path)
        self._connection = connection

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        with in_words(self.path):
            yield self._connection


def _models() -> Select[str, str, int, Mapping[str, Any], str, str, int, bytes | None]:
    return select(
        ModelRow.name,
        ModelRow.sha256,
        ModelRow.dimension,
        ModelRow.preprocessing,
        ModelRow.activation,
        ModelRow.dtype,
        ModelRow.model_id,
        ModelRow.bundle_path,
    )


def _folders() -> Select[int, bytes]:
    return select(FolderRow.folder_id, FolderRow.path)


def _images() -> Select[*tuple[Any, ...]]:
    return select(*_IMAGE_COLUMNS).join(FolderRow, FolderRow.folder_id == ImageRow.folder_id)


def _relative(path: bytes, folder: bytes) -> bytes | None:
    beginning = folder.rstrip(b"/") + b"/"  # the root "/" ends in one already
    return path[len(beginning) :] if path.startswith(beginning) else None


def dimension_of(connection: Connection, model_id: int) -> int:
    statement = select(ModelRow.dimension).where(ModelRow.model_id == model_id)
    dimension = connection.execute(statement).scalar_one_or_none()
    if dimension is None:
        raise CatalogError(f"the library has no model with the id {model_id}")
    return dimension


def _n_vectors(connection: Connection, model_id: int) -> int:
    # All minus the few of absent images: both numbers come from an index alone.
    mine = select(func.count()).select_from(VectorRow).where(VectorRow.model_id == model_id)
    absent = mine.where(VectorRow.image_id.in_(_ABSENT))
    return connection.execute(mine).scalar_one() - connection.execute(absent).scalar_one()


def _unpack(
    connection: Connection, rows: Sequence[Row[*tuple[Any, ...]]], dimension: int
) -> HalfArray:
    """Rows that begin with (image_id, vector, crc32) → float16 `[n, dim]`."""
    vectors = [row[1] for row in rows]
    damaged = blobs.first_damaged(vectors, [row[2] for row in rows], dimension)
    if damaged is None:
        return blobs.unpack(vectors, dimension)
    image_id = rows[damaged][0]
    record = ImageRecord(*connection.execute(_images().where(ImageRow.image_id == image_id)).one())
    raise CatalogError(blobs.damage(image_id, record.path))
