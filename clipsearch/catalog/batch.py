"""One write transaction of the catalog. What it reads is what it has written so far; nobody else
sees that before the end."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypedDict, Unpack

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import (
    LargeBinary,
    and_,
    bindparam,
    case,
    cast,
    delete,
    insert,
    literal,
    select,
    text,
    update,
)

from clipsearch.catalog import blobs
from clipsearch.catalog.conditions import ImageIds, among, below
from clipsearch.catalog.reads import Snapshot, dimension_of
from clipsearch.catalog.records import FolderRecord, ImageState, ModelRecord
from clipsearch.catalog.tables import (
    FolderRow,
    ForgottenRow,
    ImageRow,
    LibraryRow,
    ModelRow,
    ProblemRow,
    SavedQueryRow,
    VectorRow,
)
from clipsearch.errors import CatalogError, ModelMismatch


class FileTimes(TypedDict):
    """What may differ of a file whose content did not change. See ImageRecord."""

    mtime_ns: int
    ctime_ns: int | None
    unsure_since_ns: int | None


class ImageDetails(TypedDict, total=False):
    """What may be said of an image when it is added. The state is `present` unless it is given."""

    width: int | None
    height: int | None
    taken_at: str | None
    zone: str | None
    format: str | None
    camera: str | None
    lens: str | None
    latitude: float | None
    longitude: float | None
    orientation: int | None
    details: int | None
    state: ImageState
    reason: str | None
    ctime_ns: int | None
    unsure_since_ns: int | None
    decoder: str | None


# What may be said of an image that nobody has looked into.
GIVEN_DETAILS = (
    "width",
    "height",
    "taken_at",
    "zone",
    "format",
    "camera",
    "lens",
    "latitude",
    "longitude",
    "orientation",
)


_ADDED = insert(ImageRow)  # made once: for each of many images that would cost as much as the row


class ImageChanges(ImageDetails, total=False):
    """What may be changed of an image. Another folder or relative path means that it moved."""

    folder_id: int
    relative_path: bytes
    size: int
    mtime_ns: int
    content_hash: bytes | None


class Batch(Snapshot):
    """Comes from `Catalog.begin()`. Raises CatalogError where a change contradicts the catalog, and
    then the whole batch is rolled back."""

    def set_model(self, model: ModelRecord, *, replace: bool = False) -> ModelRecord:
        """Make this the library's model and return it with its id.

        Raises ModelMismatch if the library has another one and `replace` is not given.
        """
        current = self.model()
        if current is not None and current.fingerprint == model.fingerprint:
            return current
        if current is not None and not replace:
            raise ModelMismatch(
                f"the library holds vectors of the model {current.name!r}, not of {model.name!r}: "
                "use that model, or another library"
            )
        stored = self.add_model(model)
        self._set_fact("model_id", str(stored.model_id))
        return stored

    def set_index_recipe(self, recipe: str) -> None:
        """Remember which kind of index the user asked for."""
        self._set_fact("index_recipe", recipe)

    def add_model(self, model: ModelRecord) -> ModelRecord:
        """Record a model that is not the library's own yet, and return it with its id."""
        same = (known for known in self.models() if known.fingerprint == model.fingerprint)
        return next(same, None) or self._insert_model(model)

    def add_folder(self, path: bytes) -> FolderRecord:
        """The root with this absolute path, recorded now if it is new."""
        known = self.folder(path)
        if known is not None:
            return known
        added = self._connection.execute(insert(FolderRow).values(path=path))
        return FolderRecord(_new_id(added.inserted_primary_key), path)

    def take_over(self, inner: FolderRecord, outer: FolderRecord) -> None:
        """Hand the images of a root over to a root around it; their files stay where they are."""
        # SQLite joins bytes as text, without looking at them, so they only have to be named bytes.
        prefix = os.path.relpath(inner.path_bytes, outer.path_bytes) + b"/"
        path = cast(literal(prefix, LargeBinary).concat(ImageRow.relative_path), LargeBinary)
        statement = update(ImageRow).where(ImageRow.folder_id == inner.folder_id)
        self._connection.execute(statement.values(folder_id=outer.folder_id, relative_path=path))
        self.set_problems(inner.folder_id, b"", {})  # whoever scans the outer root meets them again

    def remove_folder(self, folder_id: int) -> None:
        """Forget a root that has no images any more. Raises CatalogError if it has."""
        self.set_problems(folder_id, b"", {})
        self._connection.execute(delete(FolderRow).where(FolderRow.folder_id == folder_id))

    def add_image(
        self,
        folder_id: int,
        relative_path: bytes,
        size: int,
        mtime_ns: int,
        content_hash: bytes | None,
        **details: Unpack[ImageDetails],
    ) -> int:
        """Record a file and return its image id, which no other file ever gets.

        Raises CatalogError if the path is recorded already, in whatever state.
        """
        values = {
            "folder_id": folder_id,
            "relative_path": relative_path,
            "size": size,
            "mtime_ns": mtime_ns,
            "content_hash": content_hash,
            "state": "present",
            **_storable(details),
        }
        added = self._connection.execute(_ADDED, values)
        return _new_id(added.inserted_primary_key)

    def add_unseen(
        self,
        folder_id: int,
        relative_paths: Sequence[bytes],
        details: Sequence[Mapping[str, Any]],
    ) -> range:
        """Record files that nobody has looked into, with what is said of each; returns their ids.

        Raises CatalogError if a path is recorded already.
        """
        given = text("SELECT seq FROM sqlite_sequence WHERE name = :table")
        named = {"table": ImageRow.__tablename__}
        first = (self._connection.execute(given, named).scalar_one_or_none() or 0) + 1
        unknown = {"size": 0, "mtime_ns": 0, "state": "present", "folder_id": folder_id}
        about = dict.fromkeys(GIVEN_DETAILS)
        rows = [
            {**unknown, **about, **_storable(detail), "image_id": first + n, "relative_path": path}
            for n, (path, detail) in enumerate(zip(relative_paths, details, strict=True))
        ]
        if rows:  # all at once, which is why the ids are chosen here
            self._connection.execute(insert(ImageRow), rows)
        return range(first, first + len(rows))

    def update_image(self, image_id: int, **changes: Unpack[ImageChanges]) -> None:
        """Change some columns of an image. Becoming present forgets reason and decoder; another
        content forgets the vectors, those of every model."""
        if not changes:
            return
        values = _storable(changes)
        if "content_hash" in values:
            self._forget_unless(image_id, values["content_hash"])
        if values.get("state") == "present":
            values |= {"reason": None, "decoder": None}
            self._renew_vectors([image_id])
        statement = update(ImageRow).where(ImageRow.image_id == image_id).values(values)
        if self._connection.execute(statement).rowcount == 0:
            raise CatalogError(f"the library has no image with the id {image_id}")

    def mark_missing(self, image_ids: ImageIds) -> None:
        """Their files have gone. Vectors and reasons stay, for when they come back."""
        statement = update(ImageRow).where(among(ImageRow.image_id, image_ids))
        self._connection.execute(statement.values(state="missing"))

    def mark_present(self, image_ids: ImageIds) -> None:
        """Their files are back as they were: an image with a reason is unreadable again."""
        ids = np.fromiter(image_ids, np.int64)
        self._renew_vectors(ids)
        state = case((ImageRow.reason.is_(None), "present"), else_="unreadable")
        statement = update(ImageRow).where(among(ImageRow.image_id, ids)).values(state=state)
        self._connection.execute(statement)

    def set_times(self, times: Mapping[int, FileTimes]) -> None:
        """Change the dates of files, by image id, whose content is the one that is known."""
        rows = [{"changed_id": image_id, **dict(each)} for image_id, each in times.items()]
        dates = ("mtime_ns", "ctime_ns", "unsure_since_ns")
        mine = update(ImageRow).where(ImageRow.image_id == bindparam("changed_id"))
        if rows:
            self._connection.execute(mine.values({d: bindparam(d) for d in dates}), rows)

    def set_details(self, details: Mapping[int, ImageDetails]) -> None:
        """Change what is known of pictures beside their content, by image id; the same columns of
        each."""
        rows = [{"changed_id": image_id, **_storable(each)} for image_id, each in details.items()]
        mine = update(ImageRow).where(ImageRow.image_id == bindparam("changed_id"))
        if rows:
            names = [name for name in rows[0] if name != "changed_id"]
            self._connection.execute(mine.values({n: bindparam(n) for n in names}), rows)

    def forget(self, image_ids: ImageIds) -> None:
        """Remove images and their vectors for good. Index files may still hold them, so their ids
        stay among the dead until `clear_forgotten`."""
        ids = np.fromiter(image_ids, np.int64)
        # Also without a vector now: an index file can be older than the loss of it.
        known = select(ImageRow.image_id).where(among(ImageRow.image_id, ids))
        buried = insert(ForgottenRow).from_select(["image_id"], known)
        self._connection.execute(buried)
        self.remove_vectors(ids)
        self._connection.execute(delete(ImageRow).where(among(ImageRow.image_id, ids)))

    def clear_forgotten(self, image_ids: ImageIds) -> None:
        """No index file holds any of these forgotten images now."""
        mine = among(ForgottenRow.image_id, image_ids)
        self._connection.execute(delete(ForgottenRow).where(mine))

    def set_problems(self, folder_id: int, place: bytes, problems: Mapping[bytes, str]) -> int:
        """Make these, reasons by relative path, all the problems of a root at or below a place.

        Returns how many there were.
        """
        mine = and_(ProblemRow.folder_id == folder_id, below(ProblemRow.relative_path, place))
        n_before = self._connection.execute(delete(ProblemRow).where(mine)).rowcount
        self.add_problems(folder_id, problems)
        return n_before

    def add_problems(self, folder_id: int, problems: Mapping[bytes, str]) -> None:
        """Record problems of a root, reasons by relative path, beside those that it has."""
        rows = [
            {"folder_id": folder_id, "relative_path": path, "reason": _storable_text(reason)}
            for path, reason in problems.items()
        ]
        if rows:
            self._connection.execute(insert(ProblemRow).prefix_with("OR REPLACE"), rows)

    def save_query(self, name: str, text: str) -> None:
        """Give a query a name, in place of the one that had it."""
        created = datetime.now(UTC).isoformat(timespec="seconds")
        saved = {"name": name, "text": text, "created": created}
        self._connection.execute(insert(SavedQueryRow).prefix_with("OR REPLACE").values(saved))

    def remove_saved_query(self, name: str) -> bool:
        """Forget the query with this name. Returns whether there was one."""
        mine = delete(SavedQueryRow).where(SavedQueryRow.name == name)
        return self._connection.execute(mine).rowcount > 0

    def put_vectors(self, model_id: int, image_ids: ImageIds, vectors: NDArray[Any]) -> None:
        """Store one vector for each image, `[n, dim]` of any float type, in place of older ones.

        They are kept as float16, just as long as they are. Raises CatalogError for a wrong shape,
        for NaN and infinity, for an image that is unknown or named twice.
        """
        ids = [int(image_id) for image_id in image_ids]
        packed = blobs.pack(np.asarray(vectors), dimension_of(self._connection, model_id))
        if len(ids) != len(packed) or len(set(ids)) != len(ids):
            raise CatalogError(
                f"{len(packed)} vectors need as many different images, not {len(set(ids))} "
                f"in {len(ids)} ids"
            )
        rows = [
            {"model_id": model_id, "image_id": image_id, "vector": blob, "crc32": checksum}
            for image_id, (blob, checksum) in zip(ids, packed, strict=True)
        ]
        if rows:
            # REPLACE deletes the older row, so the new one gets a new, higher vector_id.
            self._connection.execute(insert(VectorRow).prefix_with("OR REPLACE"), rows)

    def remove_vectors(self, image_ids: ImageIds) -> None:
        """Forget the vectors of these images, of every model."""
        self._connection.execute(delete(VectorRow).where(among(VectorRow.image_id, image_ids)))

    def keep_only_vectors_of(self, model_id: int) -> None:
        """Forget the vectors of all other models."""
        self._connection.execute(delete(VectorRow).where(VectorRow.model_id != model_id))

    def _forget_unless(self, image_id: int, content_hash: bytes | None) -> None:
        # The writer puts a vector of its own model only. One of another, left by a change of models
        # that was interrupted, would pass for one of the new content.
        other = select(ImageRow.image_id).where(
            ImageRow.image_id == image_id, ImageRow.content_hash.is_distinct_from(content_hash)
        )
        self._connection.execute(delete(VectorRow).where(VectorRow.image_id.in_(other)))

    def _renew_vectors(self, image_ids: ImageIds) -> None:
        # An index that was built while an image was absent does not hold it, and would not find it
        # among the vectors newer than itself either. So coming back makes its vector a new one.
        columns = (VectorRow.image_id, VectorRow.model_id, VectorRow.vector, VectorRow.crc32)
        returning = (
            select(*columns)
            .join(ImageRow, ImageRow.image_id == VectorRow.image_id)
            .where(among(VectorRow.image_id, image_ids), ImageRow.state != "present")
            .order_by(VectorRow.vector_id)
        )
        names = [column.key for column in columns]
        renewed = insert(VectorRow).prefix_with("OR REPLACE").from_select(names, returning)
        self._connection.execute(renewed)

    def _set_fact(self, key: str, value: str) -> None:
        fact = {"key": key, "value": value}
        self._connection.execute(insert(LibraryRow).prefix_with("OR REPLACE").values(fact))

    def _insert_model(self, model: ModelRecord) -> ModelRecord:
        values = {
            "name": _storable_text(model.name),
            "sha256": model.sha256,
            "dimension": model.dimension,
            "preprocessing": dict(model.preprocessing),
            "activation": model.activation,
            "dtype": model.dtype,
            "bundle_path": model.bundle_path,
        }
        added = self._connection.execute(insert(ModelRow).values(values))
        model_id = _new_id(added.inserted_primary_key)
        return next(known for known in self.models() if known.model_id == model_id)


def _new_id(primary_key: Any) -> int:
    return int(primary_key[0])


def _storable(columns: Mapping[str, object]) -> dict[str, Any]:
    return {
        name: _storable_text(value) if isinstance(value, str) else value
        for name, value in columns.items()
    }


def _storable_text(text: str) -> str:
    # A reason may quote a file name that is not UTF-8, and SQLite refuses such text.
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
