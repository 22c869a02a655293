"""Copy a library's catalog to one file while indexing goes on. Everything else is derived from it.

In: the catalog and a path. Out: a file that, put into an empty folder as catalog.sqlite3, is the
library as it was when the copy began.
"""

from __future__ import annotations

import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from clipsearch.care.report import Findings, OnCheckProgress
from clipsearch.errors import CatalogError, NoLibrary


@dataclass(frozen=True)
class BackupReport:
    """The copy: where it is, how large, and how much is in it."""

    path: Path
    n_bytes: int
    n_images: int
    n_vectors: int
    seconds: float

    def to_dict(self) -> dict[str, object]:
        """The report as JSON-able values; a path that is not UTF-8 keeps its surrogates."""
        return asdict(self) | {"path": str(self.path)}


def backup(
    catalog_file: Path,
    target: Path,
    *,
    force: bool = False,
    on_progress: OnCheckProgress | None = None,
) -> BackupReport:
    """Write a verified copy to `target`. Raises CatalogError if there is a file already (unless
    `force`), if the disk does not take it, or if the catalog is too damaged to be copied.
    """
    from clipsearch.catalog.copies import copy_catalog
    from clipsearch.catalog.inspection import inspecting

    started = time.monotonic()
    if not catalog_file.exists():
        raise NoLibrary(f"there is no library at {catalog_file}: index a folder to make one")
    target = target.absolute()
    _check_target(catalog_file, target, force)
    if not catalog_file.stat().st_size:
        raise NoLibrary(f"{catalog_file} is empty: index a folder to make a library there")
    told = Findings(on_progress)
    copy_catalog(catalog_file, target, lambda done, total: told.tell("copy", done, total))
    with inspecting(target) as copied:
        counts = copied.counts()
    seconds = time.monotonic() - started
    return BackupReport(target, target.stat().st_size, counts.images, counts.vectors, seconds)


def _check_target(catalog_file: Path, target: Path, force: bool) -> None:
    if target.is_dir():
        raise CatalogError(f"{target} is a folder: name a file to copy to")
    if not target.parent.is_dir():
        raise CatalogError(f"there is no folder {target.parent}: make it, or name another place")
    if target.exists() and os.path.samefile(target, catalog_file):
        raise CatalogError(f"{target} is the library itself: name another file to copy to")
    if target.exists() and not target.is_file():  # a file would take the place of the device
        raise CatalogError(f"{target} is not a regular file: name a file to copy to")
    if target.parent.resolve().is_relative_to(catalog_file.parent.resolve()):
        # It might be the log, the lock or an index file, and would be lost with the library.
        raise CatalogError(f"{target} is inside the library: name a file outside of it")
    if os.path.lexists(target) and not force:
        raise CatalogError(f"{target} exists already: name another file, or add --force")
    for ending in ("-wal", "-shm", "-journal"):
        beside = target.with_name(target.name + ending)
        if beside.exists():
            raise CatalogError(
                f"{beside} belongs to a database of that name: name another file to copy to"
            )
