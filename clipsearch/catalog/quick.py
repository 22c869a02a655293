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
from typing import TYPE_CHECKING, Any, Self, TypeVar

import numpy as np

from clipsearch.catalog import blobs
from clipsearch.catalog.connecting import (
    connect,
    identity_of,
    inherited,
    is_read_only,
    meaning,
    not_text,
)
from clipsearch.catalog.records import ModelRecord, VectorBatch, VectorSample
from clipsearch.catalog.sampling import vector_sample
from clipsearch.errors import CatalogDamaged, CatalogError
from clipsearch.vectors import FloatArray, IdArray, distinct, widened

if TYPE_CHECKING:
    from clipsearch.filters import Filter

APPLICATION_ID = 0x636C6970  # "clip", in the header of every catalog: what makes a file ours
SCHEMA = "0003"  # the head of the migrations: another one is for the catalog proper
# Vectors that are in no index file are kept in memory, up to 100 MB of them at 512 dimensions.
MAX_KEPT = 50_000
_MAX_IDLE = 4  # connections, each with what it remembers
_MAX_FILTERS = 4  # of which the ids are remembered, 8 MB each in a library of a million

Kept = TypeVar("Kept")

_ABSENT = "SELECT image_id FROM images WHERE state IN ('missing', 'unreadable')"
_NEWER = "SELECT image_id FROM vectors WHERE model_id = :model AND vector_id > :after"
_FORGOTTEN = "SELECT image_id FROM forgotten"
_BARE = """SELECT image_id FROM images WHERE NOT EXISTS
    (SELECT 1 FROM vectors WHERE vectors.image_id = images.image_id AND model_id = :model)"""
_MODEL = """SELECT name, sha256, dimension, preprocessing, activation, dtype, model_id, bundle_path
    FROM models WHERE model_id = CAST(:model AS INTEGER)"""
_BATCHES = f"""SELECT image_id, vector, crc32, vector_id FROM vectors
    WHERE model_id = :model AND vector_id > :after AND image_id NOT IN ({_ABSENT})
    ORDER BY vector_id"""
# By row id: whose vector it is must come from the row itself, not from an index that leads there.
_VECTORS = """SELECT image_id, vector, crc32 FROM vectors WHERE vector_id IN (
    SELECT vector_id FROM vectors
    WHERE model_id = :model AND image_id IN (SELECT value FROM json_each(:ids)))"""
_DATES = """SELECT image_id, taken_at FROM images
    WHERE taken_at IS NOT NULL AND image_id IN (SELECT value FROM json_each(:ids))"""
_PATHS = """SELECT image_id, path, relative_path FROM images CROSS JOIN folders USING (folder_id)
    WHERE image_id IN (SELECT value FROM json_each(:ids))"""


class QuickCatalog:
    """A catalog file that is only asked. Threads may share one; a forked child may not use it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._idle: list[_Remembering] = []
        self._lock = threading.Lock()
        self._pid = os.getpid()

    @classmethod
    def open(cls, path: Path) -> Self | None:
        """None for whatever is not a sound, writable file of this version's schema."""
        # Where nothing can be made beside the file, SQLite must be told how to read it.
        if not path.is_file() or is_read_only(path):
            return None
        quick = cls(path)
        with suppress(CatalogError), quick.snapshot():
            return quick
        return None

    def close(self) -> None:
        """Let go of the file. A second time does nothing."""
        with self._lock:
            if self._pid != os.getpid():
                _inherited_connections.extend(self._idle)
            else:
                for each in self._idle:
                    each.connection.close()
            self._idle.clear()

    @contextmanager
    def snapshot(self) -> Iterator[QuickSnapshot]:
        """Several questions to one and the same committed state. Raises CatalogError."""
        if self._pid != os.getpid():
            raise inherited(self.path)
        remembering = self._borrowed()
        is_sound = False
        try:
            remembering = remembering or _Remembering(self.path)
            yield QuickSnapshot(self.path, remembering.begin(), remembering)
            is_sound = True
        except sqlite3.Error as error:
            raise meaning(self.path, error) from error
        except UnicodeDecodeError as error:
            raise not_text(self.path) from error
        finally:
            if remembering is not None:
                self._give_back(remembering, is_sound)

    def _borrowed(self) -> _Remembering | None:
        """An idle connection, if there is one on the file that is there now."""
        with self._lock:
            while self._idle:
                found = self._idle.pop()
                # A repair or a restored copy puts another file in the place of this one.
                if found.connection.file == identity_of(self.path):
                    return found
                found.connection.close()
        return None

    def _give_back(self, remembering: _Remembering, is_sound: bool) -> None:
        connection = remembering.connection
        with suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
            with self._lock:
                # That a file is taken for frozen, on a full disk, may not last.
                is_kept = is_sound and not connection.is_frozen and len(self._idle) < _MAX_IDLE
                if is_kept:
                    self._idle.append(remembering)
                    return
        connection.close()


class _Remembering:
    """A connection, and what it has found out about the state that it last saw."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.connection = connect(path, foreign_keys=True)
        self.version: object = None
        self.facts: dict[object, Any] = {}

    def begin(self) -> sqlite3.Connection:
        """Begin a transaction. Raises CatalogError if another version has changed the file."""
        self.connection.execute("BEGIN")
        # Changes when anybody else has committed anything, and this connection never writes.
        version = self.connection.execute("PRAGMA data_version").fetchone()
        if version != self.version:
            self._check_version()
            self.version, self.facts = version, {}
        return self.connection

    def _check_version(self) -> None:
        if self._answer("PRAGMA application_id") == APPLICATION_ID:
            is_ours = self._answer("SELECT max(version_num) FROM alembic_version") == SCHEMA
            # Another mode, as of a backup in its place, is for the catalog proper to change.
            if is_ours and (
                self.connection.is_frozen or self._answer("PRAGMA journal_mode") == "wal"
            ):
                return
        raise CatalogError(
            f"{self.path} has been replaced by another version's: open the library again"
        )

    def _answer(self, statement: str) -> object:
        return self.connection.execute(statement).fetchone()[0]


# Closing the parent's connections in a forked child would harm the parent, and so would losing
# them, which closes them too.
_inherited_connections: list[_Remembering] = []


class QuickSnapshot:
    """One state of a catalog, that of an open transaction. See CatalogReads for the questions."""

    def __init__(self, path: Path, connection: sqlite3.Connection, memory: _Remembering) -> None:
        self.path = path
        self._connection = connection
        self._facts = memory.facts

    @property
    def uuid(self) -> str:
        return self._once("uuid", lambda: self._fact("uuid") or "")

    def model(self) -> ModelRecord | None:
        return self._once("model", self._model)

    def revision(self) -> int:
        return self._once("revision", self._revision)

    def absent_ids(self) -> IdArray:
        return self._once("absent", lambda: self._ids(_ABSENT))

    def masked_ids(self, model_id: int, through_vector_id: int) -> IdArray:
        return self._once(
            ("masked", model_id, through_vector_id),
            lambda: self._masked(model_id, through_vector_id),
        )

    def dead_ids(self, model_id: int, through_vector_id: int) -> IdArray:
        return self._once(
            ("dead", model_id, through_vector_id), lambda: self._dead(model_id, through_vector_id)
        )

    def matching_ids(self, wanted: Filter) -> IdArray:
        from clipsearch.catalog.matching import matching_ids

        kept: dict[Filter, IdArray] = self._once("matching", dict)
        if wanted not in kept:
            if len(kept) == _MAX_FILTERS:
                kept.clear()
            kept[wanted] = matching_ids(wanted, lambda *a: self._connection.execute(*a).fetchall())
        return kept[wanted]

    def lacks_details(self) -> bool:
        from clipsearch.catalog.matching import lacks_details

        ask = self._connection.execute
        return self._once("lacking", lambda: lacks_details(lambda *a: ask(*a).fetchall()))

    def saved_query(self, name: str) -> str | None:
        statement = "SELECT text FROM saved_queries WHERE name = ?"
        found = self._connection.execute(statement, (name,)).fetchone()
        return None if found is None else str(found[0])

    def vectors_of(self, model_id: int, image_ids: Iterable[int]) -> tuple[IdArray, FloatArray]:
        wanted = np.fromiter(image_ids, dtype=np.int64).tolist()
        given = {"model": model_id, "ids": json.dumps(wanted)}
        rows = self._connection.execute(_VECTORS, given).fetchall()
        place = {row[0]: n for n, row in enumerate(rows)}
        if not place.keys() <= set(wanted):
            raise CatalogDamaged(blobs.misled(self.path))
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

    def dates_of(self, image_ids: Iterable[int]) -> dict[int, str]:
        given = {"ids": json.dumps([int(image_id) for image_id in image_ids])}
        # As text, because what is damaged may be of any type, and is sorted with others.
        return {row[0]: str(row[1]) for row in self._connection.execute(_DATES, given)}

    def vector_sample(self, model_id: int, size: int) -> VectorSample:
        """Read once for all queries."""

        def ask() -> VectorSample:
            dimension = self._once(("dimension", model_id), lambda: self._dimension(model_id))
            return vector_sample(self._connection.execute, model_id, dimension, size)

        return self._once(("sample", model_id, size), ask)

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
        model_id = self._fact("model_id")
        if model_id is None:
            return None
        row = self._connection.execute(_MODEL, {"model": model_id}).fetchone()
        try:
            name, sha256, dimension, preprocessing, *others = row
            return ModelRecord(name, sha256, dimension, json.loads(preprocessing), *others)
        except (TypeError, ValueError) as error:
            raise CatalogDamaged(blobs.lost_model(self.path)) from error

    def _revision(self) -> int:
        statement = "SELECT seq FROM sqlite_sequence WHERE name = 'vectors'"
        found = self._connection.execute(statement).fetchone()
        newest = self._connection.execute("SELECT max(vector_id) FROM vectors").fetchone()
        return max(0 if found is None else int(found[0]), newest[0] or 0)

    def _masked(self, model_id: int, through: int) -> IdArray:
        newer = self._ids(_NEWER, {"model": model_id, "after": through})
        return distinct(np.concatenate([self.absent_ids(), newer, self._ids(_FORGOTTEN)]))

    def _dead(self, model_id: int, through: int) -> IdArray:
        bare = self._ids(_BARE, {"model": model_id})
        return distinct(np.concatenate([self.masked_ids(model_id, through), bare]))

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
            path = self.paths_of([image_id]).get(image_id, Path("of no known folder"))
            raise CatalogDamaged(blobs.damage(image_id, path))
        return widened(blobs.unpack(stored, dimension))

    def _dimension(self, model_id: int) -> int:
        statement = "SELECT dimension FROM models WHERE model_id = ?"
        found = self._connection.execute(statement, (model_id,)).fetchone()
        if found is None:
            raise CatalogError(f"the library has no model with the id {model_id}")
        return int(found[0])
