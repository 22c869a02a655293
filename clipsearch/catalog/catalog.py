"""The catalog of one library: opens its file, reads the latest committed state, begins batches.

In: the path of a SQLite file. Knows nothing of pictures, models or indexes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from sqlalchemy import Connection, Engine

from clipsearch.catalog.batch import Batch
from clipsearch.catalog.database import let_go, open_engine, reading, writing
from clipsearch.catalog.migrations import current_schema, prepare
from clipsearch.catalog.reads import CatalogReads, Snapshot
from clipsearch.catalog.records import ModelRecord
from clipsearch.errors import CatalogError, NoLibrary


class Catalog(CatalogReads):
    """A context manager. Each question sees what is committed when it is asked, and never writes.
    Threads may share one; other processes may read and write the file meanwhile."""

    def __init__(self, path: Path, engine: Engine) -> None:
        super().__init__(path)
        self._engine: Engine | None = engine

    @classmethod
    def open(cls, path: str | Path, *, create: bool = False) -> Self:
        """Open the file, and create it or bring its tables up to date where that is needed.

        Raises NoLibrary if it is not there and not to be created, CatalogTooNew if a newer version
        made it, CatalogError if it is damaged or something else.
        """
        path = Path(path).absolute()
        if not path.exists():
            if not create:
                raise NoLibrary(f"there is no library at {path}: index a folder to make one")
            _make_empty_file(path)
        engine = open_engine(path)
        try:
            prepare(engine, path, create=create, schema=current_schema())
        except BaseException:
            engine.dispose()
            raise
        return cls(path, engine)

    def close(self) -> None:
        """Let go of the file. A second time does nothing."""
        if self._engine is not None:
            let_go(self._engine)
            self._engine = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @contextmanager
    def begin(self) -> Iterator[Batch]:
        """One write transaction: committed and durable at the end, rolled back by any exception.

        Raises LibraryLocked if another one stays open for too long.
        """
        with writing(self._open_engine(), self.path) as connection:
            yield Batch(connection, self.path)

    @contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        """Several questions to one and the same committed state."""
        with reading(self._open_engine(), self.path) as connection:
            yield Snapshot(connection, self.path)

    def set_model(self, model: ModelRecord, *, replace: bool = False) -> ModelRecord:
        """Make this the library's model and return it with its id, in a batch of its own.

        Raises ModelMismatch if the library has another one and `replace` is not given.
        """
        with self.begin() as batch:
            return batch.set_model(model, replace=replace)

    def _reading(self) -> AbstractContextManager[Connection]:
        return reading(self._open_engine(), self.path)

    def _open_engine(self) -> Engine:
        if self._engine is None:
            raise CatalogError(f"the catalog {self.path} is closed: open it again")
        return self._engine


def _make_empty_file(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise CatalogError(
            f"no library can be made at {path} ({reason}): name another folder"
        ) from error
