"""What can be wrong inside a catalog file, asked of one committed state.

In: the path of a file of this version's schema. Out: problems as plain values; nothing is written.
Knows nothing of index files and pictures.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sqlalchemy import Connection, create_engine, select, text
from sqlalchemy.pool import StaticPool

from clipsearch.catalog.database import let_go, open_engine, reading
from clipsearch.catalog.reads import Snapshot
from clipsearch.catalog.tables import Base, FolderRow, ImageRow, ModelRow, VectorRow
from clipsearch.errors import CatalogDamaged
from clipsearch.vectors import IdArray

N_PROBLEMS = 100  # of SQLite's own checks; whoever has more of them does not want to read them all

# What the tables cannot forbid, or what was written past their constraints: name and condition.
CONTRADICTIONS = {
    "is in no known state": "state NOT IN ('present', 'missing', 'unreadable')",
    "is present, and has a reason why it could not be read": (
        "state = 'present' AND reason IS NOT NULL"
    ),
    "is unreadable, and no reason is given": "state = 'unreadable' AND reason IS NULL",
    "is present, and has no vector, so that no query finds it": (
        "state = 'present' AND reason IS NULL AND NOT EXISTS "
        "(SELECT 1 FROM vectors WHERE vectors.image_id = images.image_id)"
    ),
}


@dataclass(frozen=True, slots=True)
class StoredVector:
    """A row of the vectors as it lies there, sound or not."""

    vector_id: int
    image_id: int
    model_id: int
    vector: bytes
    crc32: int

    @property
    def is_whole(self) -> bool:
        numbers = (self.vector_id, self.image_id, self.model_id, self.crc32)
        return isinstance(self.vector, bytes) and all(isinstance(n, int) for n in numbers)


class Inspection(Snapshot):
    """One state of a catalog, looked at with distrust. Raises CatalogDamaged where SQLite does."""

    def integrity_problems(self) -> list[str]:
        """What SQLite finds wrong with pages, indexes and constraints."""
        with self._reading() as connection:
            found = connection.exec_driver_sql(f"PRAGMA integrity_check({N_PROBLEMS})").scalars()
            return [problem for problem in found if problem != "ok"]

    def schema_problems(self) -> list[str]:
        """In what the tables and indexes differ from those of this version."""
        engine = create_engine("sqlite://", poolclass=StaticPool)
        try:
            Base.metadata.create_all(engine)
            with engine.connect() as made, self._reading() as connection:
                tables = list(Base.metadata.tables)
                wanted = {table: _shape(made, table) for table in tables}
                found = {table: _shape(connection, table) for table in tables}
        finally:
            engine.dispose()
        return [
            f"the table {table} " + ("is missing" if not found[table] else "has another shape")
            for table in tables
            if found[table] != wanted[table]
        ]

    def broken_references(self) -> list[tuple[str, int, str]]:
        """Rows that refer to rows which do not exist: table, row id, the table referred to."""
        with self._reading() as connection:
            rows = connection.exec_driver_sql("PRAGMA foreign_key_check").fetchmany(N_PROBLEMS)
            return [(str(row[0]), int(row[1]), str(row[2])) for row in rows]

    def contradictions(self) -> Iterator[tuple[int, str, Path]]:
        """Images in states that cannot be: id, what is wrong, path."""
        for what, condition in CONTRADICTIONS.items():
            statement = (
                select(ImageRow.image_id, FolderRow.path, ImageRow.relative_path)
                .join(FolderRow, FolderRow.folder_id == ImageRow.folder_id)
                .where(text(condition))
            )
            with self._reading() as connection:
                for image_id, folder, relative in connection.execute(statement):
                    yield image_id, what, Path(os.fsdecode(os.path.join(folder, relative)))

    def has_lost_its_model(self) -> bool:
        """Whether the model that the library names is not among its models."""
        model_id = self._fact("model_id")
        if model_id is None:
            return False
        return not (model_id.isdigit() and int(model_id) in self.dimensions())

    def present_ids(self) -> IdArray:
        """The ids of the images that are there, ascending."""
        statement = select(ImageRow.image_id).where(ImageRow.state == "present")
        with self._reading() as connection:
            found = connection.execute(statement).scalars()
            return np.sort(np.fromiter(found, dtype=np.int64))

    def dimensions(self) -> dict[int, int]:
        """The length of a vector of every model, by its id."""
        with self._reading() as connection:
            rows = connection.execute(select(ModelRow.model_id, ModelRow.dimension))
            found = {model_id: dimension for model_id, dimension in rows}
        if not all(isinstance(dimension, int) for dimension in found.values()):
            raise CatalogDamaged(f"{self.path} has a model whose vectors have no length")
        return found

    def stored_vectors(self, batch_size: int = 4096) -> Iterator[list[StoredVector]]:
        """Every vector of every model, oldest first, streamed."""
        columns = (
            VectorRow.vector_id,
            VectorRow.image_id,
            VectorRow.model_id,
            VectorRow.vector,
            VectorRow.crc32,
        )
        statement = select(*columns).order_by(VectorRow.vector_id)
        with self._reading() as connection:
            for rows in connection.execute(statement).partitions(batch_size):
                yield [StoredVector(*row) for row in rows]


@contextmanager
def inspecting(path: Path) -> Iterator[Inspection]:
    """Look at one committed state of a file that need not be sound."""
    engine = open_engine(path)
    try:
        with reading(engine, path) as connection:
            yield Inspection(connection, path)
    finally:
        let_go(engine)


def uuid_without_log(path: Path) -> str | None:
    """The library's uuid as the file alone has it, None where the file alone does not say.

    A log that changes it belongs to another library.
    """
    if not path.is_file():  # opening a FIFO for reading waits for ever
        return None
    address = f"{path.absolute().as_uri()}?mode=ro&immutable=1"
    try:
        with closing(sqlite3.connect(address, uri=True)) as connection:
            row = connection.execute("SELECT value FROM library WHERE key = 'uuid'").fetchone()
    except (sqlite3.Error, UnicodeDecodeError):
        return None
    return None if row is None else str(row[0])


def _shape(connection: Connection, table: str) -> set[tuple[object, ...]]:
    """What makes up a table: columns with type, NULL and key; its indexes; what it refers to."""
    parts: set[tuple[object, ...]] = set()
    for row in connection.exec_driver_sql(f"PRAGMA table_info({table})"):
        parts.add(("column", row[1], row[2], row[3], row[5]))
    for row in connection.exec_driver_sql(f"PRAGMA index_list({table})"):
        columns = connection.exec_driver_sql(f"PRAGMA index_info({row[1]})").all()
        parts.add(("index", row[2], *(column[2] for column in columns)))
    for row in connection.exec_driver_sql(f"PRAGMA foreign_key_list({table})"):
        parts.add(("reference", row[2], row[3], row[4], row[6]))
    return parts
