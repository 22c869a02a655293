"""Remove what writers that were killed left behind half-written: copies and index files that never
got their name. Only for the one writer."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path

from clipsearch.indexer.lock import merge_lock

# Parts of copies, with the journal that SQLite keeps beside a part.
_PART = re.compile(r"catalog\.sqlite3[^/]*\.\d+\.part(-journal|-wal|-shm)?")


def remove_leftovers(library: Path, index_folder: Path) -> list[Path]:
    """Remove them from a library's folder; returns what went."""
    removed = []
    if any(index_folder.glob(".base-*.tmp")):
        with merge_lock(library) as is_mine:  # one that is being written is no leftover
            if is_mine:
                from clipsearch.index import remove_temporaries

                removed += remove_temporaries(index_folder)
    with suppress(OSError):
        for name in sorted(os.listdir(library)):
            if _PART.fullmatch(name):
                with suppress(OSError):
                    (library / name).unlink()
                    removed.append(library / name)
    return removed
