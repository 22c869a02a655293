"""One SQLite file as a SQLAlchemy engine: how a connection is set up, how a transaction begins, and
what SQLite's errors mean in words. Knows nothing of tables."""

from __future__ import annotations

import os
import shutil
import sqlite3
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError, DisconnectionError
from sqlalchemy.pool import ConnectionPoolEntry, QueuePool

from clipsearch.errors import CatalogDamaged, CatalogError, LibraryLocked

BUSY_SECONDS = 10.0
# What the write-ahead log shrinks to once nobody reads from it any more; a reader that stays for
# hours makes it grow as long as somebody writes.
WAL_BYTES = 64 << 20

# By the beginning of SQLite's name for an error: what is wrong, and what to do about it.
_MEANINGS = {
    "SQLITE_NOTADB": "is not a SQLite database: run clipsearch repair, which moves it aside, or "
    "choose another library",
    "SQLITE_CORRUPT": "is damaged: restore it from a copy, or run clipsearch repair",
    "SQLITE_CANTOPEN": "cannot be opened: check that it is a file and that you may write there",
    "SQLITE_READONLY": "cannot be written: check the permissions of the file and its folder",
    "SQLITE_PERM": "cannot be opened: check the permissions of the file and its folder",
    "SQLITE_FULL": "cannot grow, because the disk is full: free some space and try again",
    "SQLITE_IOERR": "could not be read or written: check the disk and its free space",
    "SQLITE_CONSTRAINT": "refuses a row that contradicts what it holds",
}
_DAMAGED = ("SQLITE_NOTADB", "SQLITE_CORRUPT")
_SPACE = ("SQLITE_FULL", "SQLITE_IOERR", "SQLITE_READONLY")  # where the disk may be what is full
# A reader needs a small file beside the database, and on a full disk it cannot be made.
_NO_ROOM = ("SQLITE_FULL", "SQLITE_IOERR_SHM", "SQLITE_IOERR_WRITE", "SQLITE_CANTOPEN")
_HEADER = slice(18, 20)  # of the file: 1 1 is a plain database, 2 2 one with a write-ahead log
_PLAIN = b"\1\1"
_MAGIC = b"SQLite format 3\0"


_FileId = tuple[int, int]  # device and inode


class _OpenFiles:
    """How many connections this process has on each file.

    The system takes all locks of a process on a file away when the process closes any descriptor of
    it. SQLite knows and waits; whoever else opens and closes the file would let another process put
    away the log that is still being written. So nobody may, while there is a connection.
    """

    def __init__(self) -> None:
        self.changing = threading.RLock()
        self.n_connections: Counter[_FileId | None] = Counter()

    def closed(self, file: _FileId | None) -> None:
        with self.changing:
            self.n_connections[file] -= 1


_open_files = _OpenFiles()  # of the process, as the locks are


class _Connection(sqlite3.Connection):
    """A connection that knows which file it is on, and whether it takes it for frozen."""

    is_frozen = False
    is_counted = False
    file: _FileId | None = None

    def close(self) -> None:
        super().close()
        if self.is_counted:
            self.is_counted = False
            _open_files.closed(self.file)


def open_engine(path: Path, *, foreign_keys: bool = True) -> Engine:
    """An engine on an existing SQLite file. It opens no connection yet; dispose of it after use.

    It belongs to this process: a forked child that uses it gets a CatalogError.
    """

    def create() -> sqlite3.Connection:
        return connect(path, foreign_keys=foreign_keys)

    def lend(connection: _Connection, record: ConnectionPoolEntry, _: object) -> None:
        # A repair or a restored copy puts another file in the place of this one.
        if connection.file != _identity(path):
            raise DisconnectionError("another file has taken its place")

    def take_back(connection: _Connection | None, record: ConnectionPoolEntry) -> None:
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


def is_read_only(path: Path) -> bool:
    """Whether nothing can be made beside the file, as on read-only media."""
    return not os.access(path.parent, os.W_OK)


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
        raise CatalogDamaged(
            f"{path} is damaged: restore it from a copy, or run clipsearch repair (what should be "
            "text in it is none)"
        ) from error


def meaning(path: Path, error: BaseException | None) -> CatalogError:
    """The CatalogError that says what an error of SQLite is."""
    if isinstance(error, CatalogError):  # of our own, from the making of a connection
        return error
    name = getattr(error, "sqlite_errorname", "")
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return LibraryLocked(
            f"{path} is being written by another process: try again when it has finished"
        )
    if str(error).startswith("Could not decode to UTF-8"):  # the driver's, without a name
        return CatalogDamaged(f"{path} {_MEANINGS['SQLITE_CORRUPT']} ({error})")
    kind = CatalogDamaged if name.startswith(_DAMAGED) else CatalogError
    for beginning, words in _MEANINGS.items():
        if name.startswith(beginning):
            room = f"; {_free_bytes(path)}" if name.startswith(_SPACE) else ""
            return kind(f"{path} {words} (SQLite: {error}{room})")
    return kind(f"{path} could not be used (SQLite: {error})")


def refuse_foreign_log(path: Path) -> None:
    """Raise CatalogDamaged if the write-ahead log beside a file cannot be its own.

    SQLite would play any such log into the file without a word. A backup says in its header that it
    has none, and it becomes a library's file only once SQLite has opened it. An empty file has none
    either: SQLite would delete the log, perhaps all that is left of a file that was cut off.
    """
    log = log_of(path)
    with _open_files.changing:
        if _open_files.n_connections[_identity(path)]:
            return  # it was looked at when the first of them was made
        try:
            if log.stat().st_size == 0:
                return
            with open(path, "rb") as file:
                start = file.read(_HEADER.stop)
        except OSError:
            return  # there is none, or SQLite will say what is wrong
    if start and not start.startswith(_MAGIC):
        words = _MEANINGS["SQLITE_NOTADB"]
        raise CatalogDamaged(f"{path} {words} (SQLite would delete {log.name} beside it)")
    if start[_HEADER] in (_PLAIN, b""):
        raise CatalogDamaged(
            f"beside {path} lies {log.name}, the log of another file, which would ruin it: run "
            "clipsearch repair, which moves the log aside, or move it away yourself"
        )


def log_of(path: Path) -> Path:
    """Where SQLite keeps the write-ahead log of a file."""
    return path.with_name(f"{path.name}-wal")


def connect(path: Path, *, foreign_keys: bool) -> sqlite3.Connection:
    """A connection of SQLite's own with every setting; `open_engine` is for all but copying."""
    # SQLite can read a file in WAL mode without making files beside it only if it may take it for
    # frozen. It is, unless somebody else has it open, who has made those files then.
    if is_read_only(path) and not log_of(path).exists():
        return _configured(path, foreign_keys, is_frozen=True)
    try:
        return _configured(path, foreign_keys, is_frozen=False)
    except sqlite3.OperationalError as error:
        has_no_room = error.sqlite_errorname.startswith(_NO_ROOM) and path.is_file()
        if not has_no_room or not _is_idle(path):
            raise
        return _configured(path, foreign_keys, is_frozen=True)


def _configured(path: Path, foreign_keys: bool, *, is_frozen: bool) -> sqlite3.Connection:
    connection = _opened(path, is_frozen)
    try:
        # Nothing here writes to the file, so that one of a newer version stays untouched.
        connection.execute(f"PRAGMA foreign_keys = {int(foreign_keys)}")
        connection.execute("PRAGMA synchronous = FULL")  # a batch that is acknowledged is durable
        connection.execute(f"PRAGMA journal_size_limit = {WAL_BYTES}")
        wanted = {
            "foreign_keys": int(foreign_keys),
            "synchronous": 2,
            "busy_timeout": round(BUSY_SECONDS * 1000),
        }
        for setting, value in wanted.items():
            # SQLite answers a setting that it does not know or does not take with silence.
            if connection.execute(f"PRAGMA {setting}").fetchone() != (value,):
                raise CatalogError(
                    f"this SQLite ({sqlite3.sqlite_version}) refuses the setting {setting} = "
                    f"{value}, without which {path} is not safe: install another"
                )
        connection.execute("PRAGMA schema_version")  # the first look at the file itself
    except BaseException:
        connection.close()
        raise
    return connection


def _opened(path: Path, is_frozen: bool) -> _Connection:
    """A bare connection, which has looked at nothing yet and holds no lock."""
    mode = "mode=ro&immutable=1" if is_frozen else "mode=rw"  # rw: one that has gone stays so
    with _open_files.changing:
        refuse_foreign_log(path)
        identity = _identity(path)
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?{mode}",
            uri=True,
            timeout=BUSY_SECONDS,
            isolation_level=None,  # the driver begins no transactions of its own; see _begin
            check_same_thread=False,
            factory=_Connection,
        )
        _open_files.n_connections[identity] += 1
        connection.is_frozen, connection.file, connection.is_counted = is_frozen, identity, True
    return connection


def _is_frozen(connection: object) -> bool:
    return isinstance(connection, _Connection) and connection.is_frozen


def _is_idle(path: Path) -> bool:
    """Whether nobody has the file open and nothing of it is in a log."""
    log = log_of(path)
    return not log.exists() or log.stat().st_size == 0


def _identity(path: Path) -> _FileId | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _is_ours(engine: Engine) -> bool:
    return bool(engine.get_execution_options().get("clipsearch_pid", os.getpid()) == os.getpid())


def _refuse_inherited(engine: Engine, path: Path) -> None:
    # SQLite's locks belong to the process that took them: in a forked child they look held, and
    # are not.
    if not _is_ours(engine):
        raise CatalogError(
            f"{path} was opened before this process was forked: open the library again in a "
            "process that was started afresh (multiprocessing: spawn)"
        )


def _check_mode(path: Path, mode: str) -> None:
    if mode != "wal":
        raise CatalogError(
            f"{path} cannot use write-ahead logging (SQLite stays in mode {mode!r}): "
            "keep the library on a local disk that you may write to"
        )


def _free_bytes(path: Path) -> str:
    try:
        return f"{shutil.disk_usage(path.parent).free:,} bytes free there"
    except OSError:
        return "its disk does not say how much is free"


def _begin(connection: Connection) -> None:
    # A transaction that reads first and writes later fails at once when somebody else has written
    # in between, whatever the timeout. So writers say from the start that they will write.
    options = connection.get_execution_options()
    connection.exec_driver_sql(options.get("clipsearch_begin", "BEGIN"))
