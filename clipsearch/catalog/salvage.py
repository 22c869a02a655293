"""Make a sound catalog of what can still be read of a damaged one, row by row.

In: the path of a damaged file. Out: a new file beside it, and what could not be taken over. The
damaged file is only read.
"""

from __future__ import annotations

import shutil
import sqlite3
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from clipsearch.catalog.catalog import Catalog
from clipsearch.catalog.connecting import log_of, meaning
from clipsearch.catalog.copies import keep_beside, make_plain, put_in_place, sync_folder
from clipsearch.catalog.tables import Base

# In this order a row comes after those that it refers to.
TABLES = tuple(table.name for table in Base.metadata.sorted_tables)
# Where the numbers themselves are damaged, the search for rows must end all the same.
MAX_ROW, MAX_FAILED = 1 << 48, 2_000_000

# What SQLite raises for a damaged file; its words may quote damaged text.
_UNREADABLE = (sqlite3.Error, UnicodeDecodeError)

Row = tuple[object, ...]
OnLost = Callable[[str, dict[str, object], str], None]  # table, row, why


@dataclass
class Salvaged:
    """What became of a damaged catalog: rows taken over by table, and rows that are lost."""

    kept: dict[str, int] = field(default_factory=dict)
    refused: int = 0  # could be read, and contradict the others
    unreadable: int = 0  # row numbers where a row may have been: SQLite could not say


def salvage(damaged: Path, target: Path, on_refused: OnLost) -> Salvaged:
    """Write what can be read of `damaged` to `target`, a new file. Rows that contradict what was
    read before them are handed to `on_refused`.

    Raises CatalogError if it is no database, or the disk does not take the new one.
    """
    target.unlink(missing_ok=True)
    Catalog.open(target, create=True).close()
    done = Salvaged()
    with closing(_open(damaged)) as old, closing(sqlite3.connect(target)) as new:
        new.isolation_level = None
        try:
            new.execute("PRAGMA foreign_keys = 1")
            new.execute("BEGIN IMMEDIATE")
            new.execute("DELETE FROM library")  # the new file's own uuid; the old one's comes over
            for table in TABLES:
                done.kept[table] = _take_over(old, new, table, done, on_refused)
            _keep_sequences(old, new)
            _ensure_facts(new)
            new.execute("COMMIT")
            make_plain(new, target)
        except sqlite3.Error as error:
            raise meaning(target, error) from error
    return done


def _open(path: Path) -> sqlite3.Connection:
    # Read and write, because the log beside it has to be read too, and SQLite wants to lock it.
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True)
    connection.isolation_level = None
    connection.text_factory = lambda raw: raw.decode("utf-8", "backslashreplace")
    with suppress(*_UNREADABLE):
        connection.execute("PRAGMA cell_size_check = 1")
    with suppress(*_UNREADABLE):
        # Otherwise SQLite reads nothing at all of a file that is shorter than its header says, or
        # of one in which the definition of a single table is damaged.
        connection.execute("PRAGMA writable_schema = 1")
    return connection


def _take_over(
    old: sqlite3.Connection,
    new: sqlite3.Connection,
    table: str,
    done: Salvaged,
    on_refused: OnLost,
) -> int:
    """Copy a table; returns how many rows."""
    names = _common_columns(old, new, table)
    if not names:
        return 0
    columns = ", ".join(names)
    insert = f"INSERT INTO {table} ({columns}) VALUES ({', '.join('?' * len(names))})"
    kept = 0
    for row in _rows(old, table, columns, done):
        try:
            new.execute(insert, row)
            kept += 1
        except sqlite3.IntegrityError as error:
            done.refused += 1
            on_refused(table, dict(zip(names, row, strict=True)), str(error))
    return kept


def _common_columns(old: sqlite3.Connection, new: sqlite3.Connection, table: str) -> list[str]:
    """The columns that both have: an older version's file lacks some, and they have defaults."""
    try:
        theirs = {row[1] for row in old.execute(f"PRAGMA table_info({table})")}
    except _UNREADABLE:
        return []
    return [row[1] for row in new.execute(f"PRAGMA table_info({table})") if row[1] in theirs]


def _rows(old: sqlite3.Connection, table: str, columns: str, done: Salvaged) -> Iterator[Row]:
    """Every row that can be read, by row number; halves what cannot be until it is one row."""
    statement = f"SELECT rowid, {columns} FROM {table} WHERE rowid BETWEEN ? AND ? ORDER BY rowid"
    pending, n_failed = [(0, _last_row(old, table))], 0
    while pending and n_failed < MAX_FAILED:
        first, end = pending.pop()
        try:
            for row in old.execute(statement, (first, end)):
                if not first <= row[0] <= end:  # damaged pages may lead back to earlier ones
                    raise sqlite3.DatabaseError("rows are out of order")
                yield row[1:]
                first = row[0] + 1
        except _UNREADABLE:
            n_failed += 1
            if first >= end:
                done.unreadable += 1
                continue
            middle = (first + end) // 2
            pending += [(middle + 1, end), (first, middle)]


def _last_row(old: sqlite3.Connection, table: str) -> int:
    """The highest row number that there may be."""
    found = [0]
    for statement in (
        f"SELECT seq FROM sqlite_sequence WHERE name = '{table}'",
        f"SELECT max(rowid) FROM {table}",
    ):
        with suppress(*_UNREADABLE):
            found += [row[0] for row in old.execute(statement) if isinstance(row[0], int)]
    return min(max(found), MAX_ROW)


def _keep_sequences(old: sqlite3.Connection, new: sqlite3.Connection) -> None:
    """An id that was given once never comes back for something else, even if its row is lost."""
    for table in ("images", "vectors"):
        key = new.execute(f"SELECT max(rowid) FROM {table}").fetchone()[0] or 0
        highest = max(key, _last_row(old, table))
        changed = new.execute(
            "UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = ?", (highest, table)
        )
        if not changed.rowcount:
            new.execute("INSERT INTO sqlite_sequence VALUES (?, ?)", (table, highest))


def _ensure_facts(new: sqlite3.Connection) -> None:
    """A library has a uuid; without its model it takes the one that has vectors."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    for key, value in (("uuid", str(uuid.uuid4())), ("created", now)):
        new.execute("INSERT OR IGNORE INTO library VALUES (?, ?)", (key, value))
    new.execute(
        "DELETE FROM library WHERE key = 'model_id' AND CAST(value AS INTEGER) NOT IN "
        "(SELECT model_id FROM models)"
    )
    new.execute(
        "INSERT OR IGNORE INTO library SELECT 'model_id', model_id FROM vectors GROUP BY model_id "
        "ORDER BY count(*) DESC LIMIT 1"
    )


def is_database(path: Path) -> bool:
    """Whether SQLite can read so much as the list of tables."""
    try:
        with closing(_open(path)) as connection:
            names = {row[0] for row in connection.execute("SELECT name FROM sqlite_master")}
    except _UNREADABLE:
        return False
    return "images" in names


def keep_log(path: Path, kept: Path) -> None:
    """Copy the write-ahead log of a damaged file, which SQLite deletes when it likes, to stay with
    the file, which will be called `kept`."""
    with suppress(FileNotFoundError):
        shutil.copy2(log_of(path), log_of(kept))


def replace_damaged(path: Path, sound: Path | None, kept: Path) -> None:
    """Put a salvaged file in the place of a damaged one, which keeps the name `kept`, with its log.

    With None nothing takes its place. Killed at any moment this leaves the old file or the new one
    in place; a log of the old one that is still there is then refused, and not played into the new.
    """
    log, shared = log_of(path), path.with_name(f"{path.name}-shm")
    keep_beside(path, kept)
    sync_folder(path.parent)
    if sound is None:
        path.unlink()
    else:
        put_in_place(sound, path)
    log.unlink(missing_ok=True)
    shared.unlink(missing_ok=True)
    sync_folder(path.parent)
