"""What a query asks of the catalog, in plain SQLite: a new process answers before it could have
loaded SQLAlchemy, and a warm one remembers what has not changed.

In: a catalog of exactly this version. Out: the same answers as `CatalogReads` gives, which a test
holds it to. It never writes, and leaves all that is unusual to the catalog proper.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self, TypeVar

import numpy as np

from clipsearch.catalog import blobs
from clipsearch.catalog.records import ModelRecord, VectorBatch
from clipsearch.errors import CatalogError
from clipsearch.vectors import FloatArray, IdArray, widened

APPLICATION_ID = 0x636C6970  # "clip", in the header of every catalog: what makes a file ours
SCHEMA = "0001"  # the head of the migrations: another one is for the catalog proper
BUSY_SECONDS = 10.0
# Vectors that are in no index file are kept in memory, up to 100 MB of them at 512 dimensions.
MAX_KEPT = 50_000
_MAX_IDLE = 4  # connections, each with what it remembers

Kept = TypeVar("Kept")

_ABSENT = "SELECT image_id FROM images WHERE state IN ('missing', 'unreadable')"
_NEWER = "SELECT image_id FROM vectors WHERE model_id = :model AND vector_id > :after"
_BARE = """SELECT image_id FROM images WHERE NOT EXISTS
    (SELECT 1 FROM vectors WHERE vectors.image_id = images.image_id AND model_id = :model)"""
_ALL_HAVE_ONE = f"""SELECT
    (SELECT count(*) FROM images WHERE state = 'present') =
    (SELECT count(*) FROM vectors WHERE model_id = :model)
    - (SELECT count(*) FROM vectors WHERE model_id = :model AND image_id IN ({_ABSENT}))"""
_MODEL = """SELECT name, sha256, dimension, preprocessing, activation, dtype, model_id, bundle_path
    FROM models WHERE model_id = (SELECT CAST(value AS INTEGER) FROM library WHERE key = 'model_id')
    """
_BATCHES = f"""SELECT image_id, vector, crc32, vector_id FROM vectors
    WHERE model_id = :model AND vector_id > :after AND image_id NOT IN ({_ABSENT})
    ORDER BY vector_id"""
_VECTORS = """SELECT image_id, vector, crc32 FROM vectors
    WHERE model_id = :model AND image_id IN (SELECT value FROM json_each(:ids))"""
_PATHS = """SELECT image_id, path, relative_path FROM images JOIN folders USING (folder_id)
    WHERE image_id IN (SELECT value FROM json_each(:ids))"""


class QuickCatalog:
    """A catalog file that is only asked. Threads may share one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._idle: list[_Remembering] = []
        self._lock = threading.Lock()

    @classmethod
    def open(cls, path: Path) -> Self | None:
        """None for whatever is not a sound, writable file of this version's schema."""
        # Where nothing can be made beside the file, SQLite must be told how to read it.
        if not path.is_file() or not os.access(path.parent, os.W_OK):
            return None
        quick = cls(path)
        with suppress(sqlite3.Error, CatalogError), quick.snapshot() as state:
            if state.is_of_this_version():
                return quick
        quick.close()
        return None

    def close(self) -> None:
        """Let go of the file. A second time does nothing."""
        with self._lock:
            for each in self._idle:
                each.connection.close()
            self._idle.clear()

    @contextmanager
    def snapshot(self) -> Iterator[QuickSnapshot]:
        """Several questions to one and the same committed state. Raises CatalogError."""
        with self._lock:
            remembering = self._idle.pop() if self._idle else None
        try:
            remembering = remembering or _Remembering(self.path)
            yield QuickSnapshot(self.path, remembering.begin(), remembering)
        except sqlite3.Error as error:
            if remembering is not None:
                remembering.connection.close()
                remembering = None
            from clipsearch.catalog.database import meaning

            raise meaning(self.path, error) from error
        finally:
            if remembering is not None:
                self._give_back(remembering)

    def _give_back(self, remembering: _Remembering) -> None:
        with suppress(sqlite3.Error):
            remembering.connection.execute("ROLLBACK")
        with self._lock:
            if len(self._idle) < _MAX_IDLE:
                self._idle.append(remembering)
                return
        remembering.connection.close()


class _Remembering:
    """A connection, and what it has found out about the state that it last saw."""

    def __init__(self, path: Path) -> None:
        self.connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode=rw",  # so that a file that has gone is not made anew
            uri=True,
            timeout=BUSY_SECONDS,
            isolation_level=None,
            check_same_thread=False,  # one thread at a time, which is all that SQLite asks for
        )
        self.version: object = None
        self.facts: dict[object, Any] = {}

    def begin(self) -> sqlite3.Connection:
        self.connection.execute("BEGIN")
        # Changes when anybody else has committed anything, and this connection never writes.
        version = self.connection.execute("PRAGMA data_version").fetchone()
        if version != self.version:
            self.version, self.facts = version, {}
        return self.connection


class QuickSnapshot:
    """One state of a catalog, that of an open transaction. See CatalogReads for the questions."""

    def __init__(self, path: Path, connection: sqlite3.Connection, memory: _Remembering) -> None:
        self.path = path
        self._connection = connection
        self._facts = memory.facts

    def is_of_this_version(self) -> bool:
        if self._connection.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
            return False
        found = self._connection.execute("SELECT max(version_num) FROM alembic_version").fetchone()
        return bool(found[0] == SCHEMA)

    @property
    def uuid(self) -> str:
        return self._once("uuid", lambda: self._fact("uuid") or "")

    def model(self) -> ModelRecord | None:
        return self._once("model", self._model)

    def revision(self) -> int:
        return self._once("revision", self._revision)

    def absent_ids(self) -> IdArray:
        return self._once("absent", lambda: self._ids(_ABSENT))

    def dead_ids(self, model_id: int, through_vector_id: int) -> IdArray:
        return self._once(
            ("dead", model_id, through_vector_id), lambda: self._dead(model_id, through_vector_id)
        )

    def vectors_of(self, model_id: int, image_ids: Iterable[int]) -> tuple[IdArray, FloatArray]:
        wanted = np.fromiter(image_ids, dtype=np.int64).tolist()
        given = {"model": model_id, "ids": json.dumps(wanted)}
        rows = self._connection.execute(_VECTORS, given).fetchall()
        place = {row[0]: n for n, row in enumerate(rows)}
        if list(place) != wanted:  # ascending ids come in their order already
            chosen = dict.fromkeys(image_id for image_id in wanted if image_id in place)
            rows = [rows[place[image_id]] for image_id in chosen]
        ids = np.array([row[0] for row in rows], dtype=np.int64)
        return ids, self._unpacked(rows, model_id)

    def vector_batches(
        self, model_id: int, after_vector_id: int = 0, batch_size: int = 4096
    ) -> Iterator[VectorBatch]:
        """As float32. Where there are not many they are read once for all queries."""
        key = ("tail", model_id, after_vector_id, batch_size)
        if key in self._facts:
            yield from self._facts[key]
            return
        kept: list[VectorBatch] = []
        n_seen = 0
        rows = self._connection.execute(_BATCHES, {"model": model_id, "after": after_vector_id})
        while some := rows.fetchmany(batch_size):
            batch = VectorBatch(
                vector_ids=np.array([row[3] for row in some], dtype=np.int64),
                image_ids=np.array([row[0] for row in some], dtype=np.int64),
                vectors=self._unpacked(some, model_id),
            )
            n_seen += len(batch)
            if n_seen <= MAX_KEPT:
                kept.append(batch)
            yield batch
        if n_seen <= MAX_KEPT:
            self._facts[key] = kept

    def paths_of(self, image_ids: Iterable[int]) -> dict[int, Path]:
        given = {"ids": json.dumps([int(image_id) for image_id in image_ids])}
        return {
            image_id: Path(os.fsdecode(os.path.join(folder, relative)))
            for image_id, folder, relative in self._connection.execute(_PATHS, given)
        }

    def _once(self, key: object, ask: Callable[[], Kept]) -> Kept:
        if key not in self._facts:
            self._facts[key] = ask()
        found: Kept = self._facts[key]
        return found

    def _fact(self, key: str) -> str | None:
        statement = "SELECT value FROM library WHERE key = ?"
        found = self._connection.execute(statement, (key,)).fetchone()
        return None if found is None else str(found[0])

    def _model(self) -> ModelRecord | None:
        row = self._connection.execute(_MODEL).fetchone()
        if row is None:
            return None
        name, sha256, dimension, preprocessing, *others = row
        return ModelRecord(name, sha256, dimension, json.loads(preprocessing), *others)

    def _revision(self) -> int:
        statement = "SELECT seq FROM sqlite_sequence WHERE name = 'vectors'"
        found = self._connection.execute(statement).fetchone()
        return 0 if found is None else int(found[0])

    def _dead(self, model_id: int, through: int) -> IdArray:
        given = {"model": model_id, "after": through}
        parts = [self.absent_ids(), self._ids(_NEWER, given)]
        # Looking at every image for one without a vector is slow, and mostly there is none.
        if not self._connection.execute(_ALL_HAVE_ONE, given).fetchone()[0]:
            parts.append(self._ids(_BARE, given))
        return np.unique(np.concatenate(parts))

    def _ids(self, statement: str, given: dict[str, int] | None = None) -> IdArray:
        rows = self._connection.execute(statement, given or {})
        return np.fromiter((row[0] for row in rows), dtype=np.int64)

    def _unpacked(self, rows: list[tuple[Any, ...]], model_id: int) -> FloatArray:
        """Rows that begin with (image_id, vector, crc32) → float32 `[n, dim]`."""
        dimension = self._once(("dimension", model_id), lambda: self._dimension(model_id))
        stored = [row[1] for row in rows]
        damaged = blobs.first_damaged(stored, [row[2] for row in rows], dimension)
        if damaged is not None:
            image_id = rows[damaged][0]
            raise CatalogError(blobs.damage(image_id, self.paths_of([image_id])[image_id]))
        return widened(blobs.unpack(stored, dimension))

    def _dimension(self, model_id: int) -> int:
        statement = "SELECT dimension FROM models WHERE model_id = ?"
        found = self._connection.execute(statement, (model_id,)).fetchone()
        if found is None:
            raise CatalogError(f"the library has no model with the id {model_id}")
        return int(found[0])
