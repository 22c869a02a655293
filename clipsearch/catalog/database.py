"""One SQLite file as a SQLAlchemy engine: how a transaction begins, and who may use it. Knows
nothing of tables."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError, DisconnectionError
from sqlalchemy.pool import ConnectionPoolEntry, QueuePool

from clipsearch.catalog.connecting import (
    GuardedConnection,
    connect,
    identity_of,
    inherited,
    meaning,
    not_text,
)
from clipsearch.errors import CatalogError


def open_engine(path: Path, *, foreign_keys: bool = True) -> Engine:
    """An engine on an existing SQLite file. It opens no connection yet; dispose of it after use.

    It belongs to this process: a forked child that uses it gets a CatalogError.
    """

    def create() -> sqlite3.Connection:
        return connect(path, foreign_keys=foreign_keys)

    def lend(connection: GuardedConnection, record: ConnectionPoolEntry, _: object) -> None:
        # A repair or a restored copy puts another file in the place of this one.
        if connection.file != identity_of(path):
            raise DisconnectionError("another file has taken its place")

    def take_back(connection: GuardedConnection | None, record: ConnectionPoolEntry) -> None:
        if connection is not None and connection.is_frozen:  # that may not last
            record.invalidate(soft=True)

    # The pool gives a connection to one thread at a time, which is all that SQLite asks for.
    engine = create_engine("sqlite+pysqlite://", creator=create, poolclass=QueuePool)
    engine.update_execution_options(clipsearch_pid=os.getpid())
    event.listen(engine, "begin", _begin)
    event.listen(engine, "checkout", lend)
    event.listen(engine, "checkin", take_back)
    return engine


def let_go(engine: Engine) -> None:
    """Close an engine's connections, or, in a forked child, leave them to the parent: closing one
    there would take the parent's locks away."""
    engine.dispose(close=_is_ours(engine))


@contextmanager
def reading(engine: Engine, path: Path) -> Iterator[Connection]:
    """A connection that sees one committed state from its first statement to its last."""
    _refuse_inherited(engine, path)
    with in_words(path), engine.connect() as connection:
        yield connection


@contextmanager
def writing(engine: Engine, path: Path) -> Iterator[Connection]:
    """The one write transaction: committed at the end, rolled back by any exception.

    Raises LibraryLocked if another one is still open after BUSY_SECONDS.
    """
    _refuse_inherited(engine, path)
    with in_words(path), engine.connect() as connection:
        connection = connection.execution_options(clipsearch_begin="BEGIN IMMEDIATE")
        with connection.begin():
            if not _is_frozen(connection.connection.dbapi_connection):
                _check_mode(path, connection.exec_driver_sql("PRAGMA journal_mode").scalar_one())
            yield connection


def ensure_wal(engine: Engine, path: Path) -> None:
    """Switch the file to write-ahead logging, with which readers and the writer never wait.

    Raises CatalogError where the file system cannot do it.
    """
    _refuse_inherited(engine, path)
    with in_words(path):
        connection = engine.raw_connection()  # no transaction: the mode cannot change inside one
        try:
            if _is_frozen(connection.dbapi_connection):
                return  # a full disk: reading goes on, and writing will say what is wrong
            cursor = connection.cursor()
            # SQLite does not fail here: it answers with the mode that it stayed in.
            mode = cursor.execute("PRAGMA journal_mode = WAL").fetchone()[0]
            cursor.close()
        except sqlite3.Error as error:
            raise meaning(path, error) from error
        finally:
            connection.close()
    _check_mode(path, mode)


@contextmanager
def in_words(path: Path) -> Iterator[None]:
    """Raise the database's errors inside as CatalogError with a sentence."""
    try:
        yield
    except DBAPIError as error:
        raise meaning(path, error.orig) from error
    except UnicodeDecodeError as error:  # of a text in the file, or of SQLite's words about it
        raise not_text(path) from error


def _is_frozen(connection: object) -> bool:
    return isinstance(connection, GuardedConnection) and connection.is_frozen


def _is_ours(engine: Engine) -> bool:
    return bool(engine.get_execution_options().get("clipsearch_pid", os.getpid()) == os.getpid())


def _refuse_inherited(engine: Engine, path: Path) -> None:
    if not _is_ours(engine):
        raise inherited(path)


def _check_mode(path: Path, mode: str) -> None:
    if mode != "wal":
        raise CatalogError(
            f"{path} cannot use write-ahead logging (SQLite stays in mode {mode!r}): "
            "keep the library on a local disk that you may write to"
        )


def _begin(connection: Connection) -> None:
    # A transaction that reads first and writes later fails at once when somebody else has written
    # in between, whatever the timeout. So writers say from the start that they will write.
    options = connection.get_execution_options()
    connection.exec_driver_sql(options.get("clipsearch_begin", "BEGIN"))
