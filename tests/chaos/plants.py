"""Bugs on purpose, one for each checker: what finds nothing in them would find nothing at all.

Each replaces a piece of clipsearch in this process.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


def skipped_commit() -> None:
    """Every third write transaction is rolled back, and nobody is told."""
    from clipsearch.catalog import catalog, database

    writing, n_begun = database.writing, 0

    @contextmanager
    def forgetful(engine: Any, path: Any) -> Iterator[Any]:
        nonlocal n_begun
        n_begun += 1
        with writing(engine, path) as connection:
            yield connection
            if n_begun % 3 == 0:
                connection.exec_driver_sql("ROLLBACK")
                connection.exec_driver_sql("BEGIN")

    catalog.writing = forgetful  # type: ignore[attr-defined]


def swapped_ids() -> None:
    """The vectors of a batch go to each other's pictures."""
    from clipsearch.catalog.batch import Batch

    put = Batch.put_vectors

    def swap(self: Batch, model_id: int, image_ids: Any, vectors: Any) -> None:
        put(self, model_id, list(image_ids)[::-1], vectors)

    Batch.put_vectors = swap  # type: ignore[method-assign]


def dropped_fsync() -> None:
    """Index files are not synced before they get their name."""
    os.fsync = lambda _: None  # type: ignore[assignment]


def unsynced_log() -> None:
    """SQLite is told that nothing has to be on disk."""
    from clipsearch.catalog import database

    begin = database._begin

    def careless(connection: Any) -> None:
        connection.exec_driver_sql("PRAGMA synchronous = OFF")
        begin(connection)

    database._begin = careless


def ignored_lock() -> None:
    """Nobody looks at the lock."""
    from clipsearch.indexer import lock

    @contextmanager
    def open_door(*_: Any, **__: Any) -> Iterator[None]:
        yield

    lock.write_lock = open_door


def swallowed_files() -> None:
    """What could not be read is neither written down nor told."""
    from clipsearch.indexer.commit import Committer

    write = Committer.write

    def silent(self: Committer, batch: Any) -> None:
        batch.readings = [reading for reading in batch.readings if reading.reason is None]
        write(self, batch)

    Committer.write = silent  # type: ignore[method-assign]


def ignored_checksums() -> None:
    """Nobody looks at the checksums of vectors."""
    from clipsearch.catalog import blobs

    blobs.first_damaged = lambda *_: None


PLANTS: dict[str, Callable[[], None]] = {
    "skipped-commit": skipped_commit,
    "swapped-ids": swapped_ids,
    "dropped-fsync": dropped_fsync,
    "unsynced-log": unsynced_log,
    "ignored-lock": ignored_lock,
    "ignored-checksums": ignored_checksums,
    "swallowed-files": swallowed_files,
}
