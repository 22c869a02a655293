"""One writer at a time: a lock on a file, which the system takes back when its process dies.

In: the library's folder. Out: a context. Who holds the lock is noted beside it, for messages only.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from clipsearch.errors import CatalogError, LibraryLocked

LOCK_FILE = "write.lock"
HOLDER_FILE = "writer.json"
MERGE_LOCK_FILE = "merge.lock"


OnWait = Callable[[str], None]  # hears once who is waited for


@contextmanager
def write_lock(folder: Path, on_wait: OnWait | None = None) -> Iterator[None]:
    """Hold the library's lock. If somebody else does, wait if there is an `on_wait` to be told, or
    raise LibraryLocked at once."""
    lock = FileLock(folder / LOCK_FILE)
    try:
        try:
            lock.acquire(timeout=0)
        except Timeout:
            if on_wait is None:
                raise
            on_wait(_holder(folder))
            lock.acquire()
    except Timeout:
        raise LibraryLocked(
            f"the library {folder} is being written by {_holder(folder)}: try again when it is "
            "done, or wait for it with --wait"
        ) from None
    except OSError as error:
        raise CatalogError(
            f"the library {folder} cannot be locked ({(error.strerror or str(error)).lower()}): "
            "check its permissions, or keep it on a local disk"
        ) from error
    try:
        _sign(folder)
        yield
    finally:
        with suppress(OSError):
            (folder / HOLDER_FILE).unlink(missing_ok=True)
        lock.release()


@contextmanager
def merge_lock(folder: Path, *, wait: bool = False) -> Iterator[bool]:
    """Hold the right to write index files; False if another process has it, unless it is to wait
    for that one, or if nobody can have it.

    Apart from the write lock: putting a million vectors together must not keep anyone from
    indexing.
    """
    lock = FileLock(folder / MERGE_LOCK_FILE)
    try:
        lock.acquire(timeout=-1 if wait else 0)
    except (Timeout, OSError):
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def _sign(folder: Path) -> None:
    since = datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
    with suppress(OSError):  # a full disk must not keep anyone from trying
        (folder / HOLDER_FILE).write_text(json.dumps({"pid": os.getpid(), "since": since}))


def _holder(folder: Path) -> str:
    try:
        holder = json.loads((folder / HOLDER_FILE).read_text())
        return f"process {int(holder['pid'])} since {holder['since']}"
    except (OSError, ValueError, KeyError, TypeError):  # just taken, or just let go
        return "another process"
