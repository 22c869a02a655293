"""A connection of SQLite's own on a catalog file: how it is made, what guards it, and what SQLite's
errors mean in words. Knows nothing of tables and of SQLAlchemy, for which a query need not wait."""

from __future__ import annotations

import os
import shutil
import sqlite3
import threading
from collections import Counter
from pathlib import Path

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


FileId = tuple[int, int]  # device and inode


class _OpenFiles:
    """How many connections this process has on each file.

    The system takes all locks of a process on a file away when the process closes any descriptor of
    it. SQLite knows and waits; whoever else opens and closes the file would let another process put
    away the log that is still being written. So nobody may, while there is a connection.
    """

    def __init__(self) -> None:
        self.changing = threading.RLock()
        self.n_connections: Counter[FileId | None] = Counter()

    def closed(self, file: FileId | None) -> None:
        with self.changing:
            self.n_connections[file] -= 1


_open_files = _OpenFiles()  # of the process, as the locks are


class GuardedConnection(sqlite3.Connection):
    """A connection that knows which file it is on, and whether it takes it for frozen."""

    is_frozen = False
    is_counted = False
    file: FileId | None = None

    def close(self) -> None:
        super().close()
        if self.is_counted:
            self.is_counted = False
            _open_files.closed(self.file)


def is_read_only(path: Path) -> bool:
    """Whether nothing can be made beside the file, as on read-only media."""
    return not os.access(path.parent, os.W_OK)


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
        return not_text(path)
    kind = CatalogDamaged if name.startswith(_DAMAGED) else CatalogError
    for beginning, words in _MEANINGS.items():
        if name.startswith(beginning):
            room = f"; {_free_bytes(path)}" if name.startswith(_SPACE) else ""
            return kind(f"{path} {words} (SQLite: {error}{room})")
    return kind(f"{path} could not be used (SQLite: {error})")


def not_text(path: Path) -> CatalogDamaged:
    """What to raise where a text in the file is none."""
    return CatalogDamaged(
        f"{path} is damaged: restore it from a copy, or run clipsearch repair (what should be "
        "text in it is none)"
    )


def refuse_foreign_log(path: Path) -> None:
    """Raise CatalogDamaged if the write-ahead log beside a file cannot be its own.

    SQLite would play any such log into the file without a word. A backup says in its header that it
    has none, and it becomes a library's file only once SQLite has opened it. An empty file has none
    either: SQLite would delete the log, perhaps all that is left of a file that was cut off.
    """
    log = log_of(path)
    with _open_files.changing:
        if _open_files.n_connections[identity_of(path)]:
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


def connect(path: Path, *, foreign_keys: bool) -> GuardedConnection:
    """A connection of SQLite's own with every setting. All but copying and quick questions goes
    through `open_engine`."""
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


def _configured(path: Path, foreign_keys: bool, *, is_frozen: bool) -> GuardedConnection:
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


def _opened(path: Path, is_frozen: bool) -> GuardedConnection:
    """A bare connection, which has looked at nothing yet and holds no lock."""
    mode = "mode=ro&immutable=1" if is_frozen else "mode=rw"  # rw: one that has gone stays so
    with _open_files.changing:
        refuse_foreign_log(path)
        identity = identity_of(path)
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?{mode}",
            uri=True,
            timeout=BUSY_SECONDS,
            isolation_level=None,  # the driver begins no transactions of its own; see _begin
            check_same_thread=False,
            factory=GuardedConnection,
        )
        _open_files.n_connections[identity] += 1
        connection.is_frozen, connection.file, connection.is_counted = is_frozen, identity, True
    return connection


def _is_idle(path: Path) -> bool:
    """Whether nobody has the file open and nothing of it is in a log."""
    log = log_of(path)
    return not log.exists() or log.stat().st_size == 0


def identity_of(path: Path) -> FileId | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def inherited(path: Path) -> CatalogError:
    """What to raise in a forked child, where SQLite's locks look held and are not: they belong to
    the process that took them."""
    return CatalogError(
        f"{path} was opened before this process was forked: open the library again in a "
        "process that was started afresh (multiprocessing: spawn)"
    )


def _free_bytes(path: Path) -> str:
    try:
        return f"{shutil.disk_usage(path.parent).free:,} bytes free there"
    except OSError:
        return "its disk does not say how much is free"
