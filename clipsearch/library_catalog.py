"""The catalog of a library's folder: opened when it is needed, in the way that is needed.

In: the folder. Out: a Catalog, or a QuickCatalog for those who only ask. Threads may share one.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from clipsearch.errors import CatalogError, NoLibrary

if TYPE_CHECKING:
    from clipsearch.catalog import Catalog, ModelRecord, QuickCatalog
    from clipsearch.query.base import QueryReads

CATALOG_FILE = "catalog.sqlite3"


class LibraryCatalog:
    """Threads that come together share one of each."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / CATALOG_FILE
        self._catalog: Catalog | None = None
        self._quick: QuickCatalog | None = None
        self._opening = threading.RLock()

    def close(self) -> None:
        """Let go of the file. A second time does nothing."""
        if self._catalog is not None:
            self._catalog.close()
        if self._quick is not None:
            self._quick.close()
        self._catalog = self._quick = None

    def require(self) -> None:
        """Raise NoLibrary if there is no file, whatever is in it."""
        if not self._is_there():
            raise self._no_library()

    def opened(self) -> Catalog:
        """The catalog. Raises NoLibrary if there is none."""
        catalog = self.existing()
        if catalog is None:
            raise self._no_library()
        return catalog

    def existing(self) -> Catalog | None:
        """The catalog, if there is one."""
        with self._opening:
            if self._catalog is None and self._is_there():
                from clipsearch.catalog import Catalog

                # Indexing that was killed at its very beginning leaves a file with nothing in it.
                with suppress(NoLibrary):
                    self._catalog = Catalog.open(self.file)
            return self._catalog

    def make_folder(self) -> None:
        """Raises CatalogError where it cannot be made."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise CatalogError(
                f"no library can be made at {self.folder} ({reason}): name another folder"
            ) from error

    def made(self) -> Catalog:
        """The catalog, made now if there is none."""
        from clipsearch.catalog import Catalog

        with self._opening:
            if self._catalog is None:
                self._catalog = Catalog.open(self.file, create=True)
            return self._catalog

    def quick(self) -> QuickCatalog | None:
        """The catalog for those who only ask, if it is as usual; else `opened` is for them."""
        from clipsearch.catalog.quick import QuickCatalog

        with self._opening:
            if self._quick is None and self._is_there():
                self._quick = QuickCatalog.open(self.file)
            return self._quick

    @contextmanager
    def snapshot(self) -> Iterator[QueryReads]:
        """One state of the catalog, for a query. Raises NoLibrary if there is none."""
        with (self.quick() or self.opened()).snapshot() as state:
            yield state

    def model(self) -> ModelRecord | None:
        """The library's model, if it has one yet."""
        catalog = self.quick() or self.existing()
        if catalog is None:
            return None
        with catalog.snapshot() as state:
            return state.model()

    def saved_query(self, name: str) -> str | None:
        """The text of the query with this name."""
        with self.snapshot() as state:
            return state.saved_query(name)

    def _no_library(self) -> NoLibrary:
        return NoLibrary(
            f"there is no library at {self.folder}: make one with clipsearch index FOLDER, "
            "or name another with --library"
        )

    def _is_there(self) -> bool:
        try:
            return self.file.exists()
        except PermissionError as error:
            raise CatalogError(
                f"the library {self.folder} may not be entered: change its permissions or name "
                "another"
            ) from error
