"""Put right what is wrong in single rows: take rows out and hand them over, mend states.

In: an open batch. Out: what was taken out, as plain values, for whoever keeps them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import delete, func, insert, select, text, update

from clipsearch.catalog.batch import Batch
from clipsearch.catalog.database import let_go, open_engine, writing
from clipsearch.catalog.image_reads import ROWS_AT_ONCE
from clipsearch.catalog.tables import FolderRow, ImageRow, LibraryRow, ModelRow, VectorRow

TakenOut = dict[str, Any]


class Amendments(Batch):
    """A batch that may change what no run of the indexer would. Comes from `amending`."""

    def take_out_vectors(self, vector_ids: Iterable[int]) -> Iterator[TakenOut]:
        """Delete these vectors, and give each as it was, with the path of its image."""
        ids = sorted(vector_ids)
        for start in range(0, len(ids), ROWS_AT_ONCE):
            some = ids[start : start + ROWS_AT_ONCE]
            statement = (
                select(VectorRow.__table__, FolderRow.path, ImageRow.relative_path)
                .join(ImageRow, ImageRow.image_id == VectorRow.image_id, isouter=True)
                .join(FolderRow, FolderRow.folder_id == ImageRow.folder_id, isouter=True)
                .where(VectorRow.vector_id.in_(some))
            )
            for row in self._connection.execute(statement):
                yield {"table": "vectors", **row._mapping}
            self._connection.execute(delete(VectorRow).where(VectorRow.vector_id.in_(some)))

    def vectors_without_owner(self) -> list[int]:
        """Vectors of a model or an image that does not exist, or whose folder does not."""
        owned = (
            select(ImageRow.image_id)
            .join(FolderRow, FolderRow.folder_id == ImageRow.folder_id)
            .where(ImageRow.image_id == VectorRow.image_id)
        )
        made = select(ModelRow.model_id).where(ModelRow.model_id == VectorRow.model_id)
        statement = select(VectorRow.vector_id).where(~owned.exists() | ~made.exists())
        return list(self._connection.execute(statement).scalars())

    def take_out_homeless_images(self) -> Iterator[TakenOut]:
        """Delete images of a folder that does not exist, and give each as it was. Their vectors
        must be out already."""
        folders = select(FolderRow.folder_id)
        homeless = ImageRow.folder_id.not_in(folders)
        for row in self._connection.execute(select(ImageRow.__table__).where(homeless)).all():
            yield {"table": "images", **row._mapping}
        self._connection.execute(delete(ImageRow).where(homeless))

    def mend_states(self) -> int:
        """Make every image's state one that can be. Returns how many changed.

        What is in doubt becomes missing, which heals by itself: the next indexing finds the file.
        """
        found = select(VectorRow.vector_id).where(VectorRow.image_id == ImageRow.image_id).exists()
        readable = (ImageRow.state == "present") & found
        changed = 0
        for condition, values in (
            (readable & ImageRow.reason.is_not(None), {"reason": None}),
            ((ImageRow.state == "present") & ImageRow.reason.is_not(None), {"state": "unreadable"}),
            ((ImageRow.state == "unreadable") & ImageRow.reason.is_(None), {"state": "missing"}),
            ((ImageRow.state == "present") & ~found, {"state": "missing"}),
            (
                ImageRow.state.not_in(("present", "missing", "unreadable")),
                {"state": "missing"},
            ),
        ):
            statement = update(ImageRow).where(condition).values(values)
            changed += self._connection.execute(statement).rowcount
        return changed

    def mend_model(self) -> bool:
        """Forget a model that the library names and does not have; one with vectors takes over."""
        known = select(ModelRow.model_id)
        named = text(
            "key = 'model_id' AND CAST(value AS INTEGER) NOT IN (SELECT model_id FROM models)"
        )
        if not self._connection.execute(delete(LibraryRow).where(named)).rowcount:
            return False
        most = (
            select(VectorRow.model_id)
            .where(VectorRow.model_id.in_(known))
            .group_by(VectorRow.model_id)
            .order_by(func.count().desc())
            .limit(1)
        )
        model_id = self._connection.execute(most).scalar_one_or_none()
        if model_id is not None:
            fact = {"key": "model_id", "value": str(model_id)}
            self._connection.execute(insert(LibraryRow).values(fact))
        return True


@contextmanager
def amending(path: Path) -> Iterator[Amendments]:
    """One write transaction on a file whose pages are sound."""
    engine = open_engine(path)
    try:
        with writing(engine, path) as connection:
            yield Amendments(connection, path)
    finally:
        let_go(engine)
