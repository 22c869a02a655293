"""Copy a catalog while others write to it, whole and on disk or not at all.

In: the path of a catalog. Out: a file of one committed state, with nothing beside it.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

from clipsearch.catalog.connecting import connect, meaning
from clipsearch.errors import CatalogError

PAGES_AT_ONCE = 4096  # 16 MB: an interruption is heard in between

OnPages = Callable[[int, int], None]  # done, all


def copy_catalog(source: Path, target: Path, on_pages: OnPages | None = None) -> None:
    """Write one committed state of `source` to `target`, in place of what is there.

    The copy is verified, and it says in its header that it has no write-ahead log: one that lies
    beside it is another file's (see `database.refuse_foreign_log`). Raises CatalogError.
    """
    partial = part_of(target)
    try:
        partial.unlink(missing_ok=True)
        _copy_pages(source, partial, on_pages)
        put_in_place(partial, target)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise CatalogError(
            f"{target} cannot be written ({reason}): free some space there, or name another place"
        ) from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def part_of(target: Path) -> Path:
    """What a copy is called until it is whole."""
    return target.with_name(f"{target.name}.{os.getpid()}.part")


def put_in_place(partial: Path, target: Path) -> None:
    """Give a file that is complete its name, so that both survive a power cut."""
    with open(partial, "rb+") as file:
        os.fsync(file.fileno())
    os.replace(partial, target)
    sync_folder(target.parent)


def sync_folder(folder: Path) -> None:
    """Make names in a folder durable."""
    if os.name != "posix":  # Windows cannot open a folder, and orders renames by itself
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_plain(connection: sqlite3.Connection, path: Path) -> None:
    """Bring everything into the file itself and say so in its header."""
    mode = connection.execute("PRAGMA journal_mode = DELETE").fetchone()[0]
    if mode != "delete":
        raise CatalogError(f"{path} stays in mode {mode!r}: another process has it open")


def _copy_pages(source: Path, partial: Path, on_pages: OnPages | None) -> None:
    def told(_: int, remaining: int, total: int) -> None:
        if on_pages is not None:
            on_pages(total - remaining, total)

    where = source
    try:
        with (
            closing(connect(source, foreign_keys=False)) as old,
            closing(_new_file(partial)) as new,
        ):
            # In an open transaction the copy is of one state, whatever is committed meanwhile, and
            # need not begin again.
            old.execute("BEGIN")
            counts = _counts(old)
            where = partial
            old.backup(new, pages=PAGES_AT_ONCE, progress=told)
            old.execute("ROLLBACK")
            make_plain(new, partial)
            problems = [row[0] for row in new.execute("PRAGMA integrity_check(3)")]
            if problems != ["ok"] or _counts(new) != counts:
                raise CatalogError(
                    f"the copy of {source} is not sound ({problems[0]}): run clipsearch check"
                )
    except sqlite3.Error as error:
        raise meaning(where, error) from error


def _new_file(partial: Path) -> sqlite3.Connection:
    try:
        return sqlite3.connect(partial, isolation_level=None)
    except sqlite3.Error as error:
        raise meaning(partial, error) from error


def _counts(connection: sqlite3.Connection) -> list[int]:
    """How many rows every table has."""
    names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
    return [
        connection.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0]
        for (name,) in names.fetchall()
    ]


def keep_beside(path: Path, copy: Path) -> None:
    """Give a file a second name, or where that cannot be, copy it."""
    try:
        os.link(path, copy)
    except OSError:  # a file system without second names
        shutil.copy2(path, copy)
