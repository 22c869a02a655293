"""One SQLite file as a SQLAlchemy engine: how a connection is set up, how a transaction begins, and
what SQLite's errors mean in words. Knows nothing of tables."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool, QueuePool

from clipsearch.errors import CatalogError, LibraryLocked

BUSY_SECONDS = 10.0

# By the beginning of SQLite's name for an error: what is wrong, and what to do about it.
_MEANINGS = {
    "SQLITE_NOTADB": "is not a SQLite database: move the file away, or choose another library",
    "SQLITE_CORRUPT": "is damaged: restore it from a copy, or move it away and index again",
    "SQLITE_CANTOPEN": "cannot be opened: check that it is a file and that you may write there",
    "SQLITE_READONLY": "cannot be written: check the permissions of the file and its folder",
    "SQLITE_PERM": "cannot be opened: check the permissions of the file and its folder",
    "SQLITE_FULL": "cannot grow, because the disk is full: free some space and try again",
    "SQLITE_IOERR": "could not be read or written: check the disk and its free space",
    "SQLITE_CONSTRAINT": "refuses a row that contradicts what it holds",
}


def open_engine(path: Path, *, foreign_keys: bool = True) -> Engine:
    """An engine on an existing SQLite file. It opens no connection yet; dispose of it after use."""

    def connect() -> sqlite3.Connection:
        return _connect(path, foreign_keys)

    # The pool gives a connection to one thread at a time, which is all that SQLite asks for. One
    # that takes the file for frozen is not kept, because that may not last.
    pool = NullPool if is_read_only(path) else QueuePool
    engine = create_engine("sqlite+pysqlite://", creator=connect, poolclass=pool)
    event.listen(engine, "begin", _begin)
    return engine


def is_read_only(path: Path) -> bool:
    """Whether nothing can be made beside the file, as on read-only media."""
    return not os.access(path.parent, os.W_OK)


@contextmanager
def reading(engine: Engine, path: Path) -> Iterator[Connection]:
    """A connection that sees one committed state from its first statement to its last."""
    with in_words(path), engine.connect() as connection:
        yield connection


@contextmanager
def writing(engine: Engine, path: Path) -> Iterator[Connection]:
    """The one write transaction: committed at the end, rolled back by any exception.

    Raises LibraryLocked if another one is still open after BUSY_SECONDS.
    """
    with in_words(path), engine.connect() as connection:
        connection = connection.execution_options(clipsearch_begin="BEGIN IMMEDIATE")
        with connection.begin():
            yield connection


def ensure_wal(engine: Engine, path: Path) -> None:
    """Switch the file to write-ahead logging, with which readers and the writer never wait.

    Raises CatalogError where the file system cannot do it.
    """
    with in_words(path):
        connection = engine.raw_connection()  # no transaction: the mode cannot change inside one
        try:
            cursor = connection.cursor()
            # SQLite does not fail here: it answers with the mode that it stayed in.
            mode = cursor.execute("PRAGMA journal_mode = WAL").fetchone()[0]
            cursor.close()
        except sqlite3.Error as error:
            raise meaning(path, error) from error
        finally:
            connection.close()
    if mode != "wal":
        raise CatalogError(
            f"{path} cannot use write-ahead logging (SQLite stays in mode {mode!r}): "
            "keep the library on a local disk that you may write to"
        )


@contextmanager
def in_words(path: Path) -> Iterator[None]:
    """Raise the database's errors inside as CatalogError with a sentence."""
    try:
        yield
    except DBAPIError as error:
        raise meaning(path, error.orig) from error


def meaning(path: Path, error: BaseException | None) -> CatalogError:
    name = getattr(error, "sqlite_errorname", "")
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return LibraryLocked(
            f"{path} is being written by another process: try again when it has finished"
        )
    for beginning, words in _MEANINGS.items():
        if name.startswith(beginning):
            return CatalogError(f"{path} {words} (SQLite: {error})")
    return CatalogError(f"{path} could not be used (SQLite: {error})")


def _connect(path: Path, foreign_keys: bool) -> sqlite3.Connection:
    # SQLite can read a file in WAL mode without making files beside it only if it may take it for
    # frozen. It is, unless somebody else has it open, who has made those files then.
    is_frozen = is_read_only(path) and not path.with_name(f"{path.name}-wal").exists()
    mode = "mode=ro&immutable=1" if is_frozen else "mode=rw"  # rw: one that has gone stays so
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?{mode}",
        uri=True,
        timeout=BUSY_SECONDS,
        isolation_level=None,  # the driver begins no transactions of its own; see _begin
        check_same_thread=False,
    )
    try:
        # Nothing here writes to the file, so that one of a newer version stays untouched.
        connection.execute(f"PRAGMA foreign_keys = {int(foreign_keys)}")
        connection.execute("PRAGMA synchronous = FULL")  # a batch that is acknowledged is durable
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _begin(connection: Connection) -> None:
    # A transaction that reads first and writes later fails at once when somebody else has written
    # in between, whatever the timeout. So writers say from the start that they will write.
    options = connection.get_execution_options()
    connection.exec_driver_sql(options.get("clipsearch_begin", "BEGIN"))
