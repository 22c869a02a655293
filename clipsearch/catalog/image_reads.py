"""What can be asked of a catalog's library, models, folders and images. Nothing here writes."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    and_,
    func,
    or_,
    select,
    true,
)

from clipsearch.catalog import blobs
from clipsearch.catalog.conditions import ImageIds, among, below
from clipsearch.catalog.records import (
    Counts,
    Failure,
    FolderRecord,
    ImageRecord,
    ModelRecord,
    SavedQuery,
)
from clipsearch.catalog.tables import (
    Base,
    FolderRow,
    ImageRow,
    LibraryRow,
    ModelRow,
    ProblemRow,
    SavedQueryRow,
    VectorRow,
)
from clipsearch.errors import CatalogDamaged

ROWS_AT_ONCE = 1000  # well below SQLite's limit of 32,766 parameters, 999 in old versions

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
    ImageRow.ctime_ns,
    ImageRow.unsure_since_ns,
    ImageRow.decoder,
    ImageRow.format,
    ImageRow.camera,
    ImageRow.lens,
    ImageRow.latitude,
    ImageRow.longitude,
    ImageRow.orientation,
    ImageRow.zone,
    ImageRow.details,
)


class ImageReads(ABC):
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
            mine = _models().where(ModelRow.model_id == int(model_id))
            row = connection.execute(mine).one_or_none()
        if row is None:
            raise CatalogDamaged(blobs.lost_model(self.path))
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

    def images(self, folder_id: int, place: bytes = b"") -> Iterator[ImageRecord]:
        """Every image of a root in every state, or those at or below a relative path, by path;
        streamed from one committed state."""
        mine = and_(ImageRow.folder_id == folder_id, below(ImageRow.relative_path, place))
        statement = images().where(mine).order_by(ImageRow.relative_path)
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
                ids = select(ImageRow.image_id).where(ImageRow.content_hash.in_(some))
                # As in vectors_of: what a row says itself counts, not what an index says of it.
                rows = connection.execute(images().where(ImageRow.image_id.in_(ids)))
                found.extend(ImageRecord(*row) for row in rows)
        return sorted(found, key=lambda record: record.image_id)

    def records(self, image_ids: ImageIds) -> dict[int, ImageRecord]:
        """The images with these ids, in every state; unknown ids are left out."""
        with self._reading() as connection:
            rows = connection.execute(images().where(among(ImageRow.image_id, image_ids))).all()
        return {row[0]: ImageRecord(*row) for row in rows}

    def paths_of(self, image_ids: ImageIds) -> dict[int, Path]:
        """Where the images with these ids are; unknown ids are left out."""
        return {image_id: record.path for image_id, record in self.records(image_ids).items()}

    def dates_of(self, image_ids: ImageIds) -> dict[int, str]:
        """When the images with these ids were taken, by the camera's clock; those without a date
        are left out."""
        dated = select(ImageRow.image_id, ImageRow.taken_at).where(
            among(ImageRow.image_id, image_ids), ImageRow.taken_at.is_not(None)
        )
        with self._reading() as connection:
            return {row[0]: str(row[1]) for row in connection.execute(dated)}

    def images_at(
        self, folder_id: int, relative_paths: Sequence[bytes]
    ) -> dict[bytes, ImageRecord]:
        """The images of a root with these paths, in every state; unknown ones are left out."""
        found: dict[bytes, ImageRecord] = {}
        with self._reading() as connection:
            for start in range(0, len(relative_paths), ROWS_AT_ONCE - 1):
                some = relative_paths[start : start + ROWS_AT_ONCE - 1]
                of_root = images().where(ImageRow.folder_id == folder_id)
                rows = connection.execute(of_root.where(ImageRow.relative_path.in_(some)))
                found |= {row[3]: ImageRecord(*row) for row in rows}
        return found

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
            found = [ImageRecord(*row) for row in connection.execute(images().where(or_(*places)))]
        return max(
            found,
            key=lambda record: (record.state == "present", len(record.folder_path)),
            default=None,
        )

    def failures(self) -> list[Failure]:
        """What could not be used, image or not, with the reasons, by path."""
        with self._reading() as connection:
            images = _reasons(connection, ImageRow, ImageRow.state == "unreadable")
            # A problem is newer than what was said of an image that was at its path before.
            found = images | _reasons(connection, ProblemRow, true())
        return sorted(found.values(), key=lambda failure: os.fsencode(failure.path))

    def counts(self) -> Counts:
        """How many images are in each state, and how many vectors there are."""
        by_state = select(ImageRow.state, func.count()).group_by(ImageRow.state)
        with self._reading() as connection:
            n = {state: count for state, count in connection.execute(by_state)}
            n_vectors, n_problems = (count(connection, row) for row in (VectorRow, ProblemRow))
        return Counts(
            n.get("present", 0),
            n.get("missing", 0),
            n.get("unreadable", 0),
            vectors=n_vectors,
            problems=n_problems,
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

    def saved_query(self, name: str) -> str | None:
        """The text of the query with this name."""
        statement = select(SavedQueryRow.text).where(SavedQueryRow.name == name)
        with self._reading() as connection:
            return connection.execute(statement).scalar_one_or_none()

    def saved_queries(self) -> list[SavedQuery]:
        """All queries that have a name, by name."""
        columns = (SavedQueryRow.name, SavedQueryRow.text, SavedQueryRow.created)
        with self._reading() as connection:
            rows = connection.execute(select(*columns).order_by(SavedQueryRow.name)).all()
        return [SavedQuery(*row) for row in rows]

    def _fact(self, key: str) -> str | None:
        with self._reading() as connection:
            statement = select(LibraryRow.value).where(LibraryRow.key == key)
            return connection.execute(statement).scalar_one_or_none()


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


def images() -> Select[*tuple[Any, ...]]:
    return select(*_IMAGE_COLUMNS).join(FolderRow, FolderRow.folder_id == ImageRow.folder_id)


def _relative(path: bytes, folder: bytes) -> bytes | None:
    beginning = folder.rstrip(b"/") + b"/"  # the root "/" ends in one already
    return path[len(beginning) :] if path.startswith(beginning) else None


def _reasons(
    connection: Connection, row: type[ImageRow] | type[ProblemRow], wanted: ColumnElement[bool]
) -> dict[tuple[bytes, bytes], Failure]:
    """Failures by root and relative path."""
    statement = select(FolderRow.path, row.relative_path, row.reason).join(
        FolderRow, FolderRow.folder_id == row.folder_id
    )
    rows = connection.execute(statement.where(wanted))
    return {(root, path): Failure(root, path, reason or "") for root, path, reason in rows}


def count(connection: Connection, row: type[Base]) -> int:
    return connection.execute(select(func.count()).select_from(row)).scalar_one()
