"""The base index: the newest index file that fits the catalog, and how much of it is in there.

In: the folder of index files. Out: a Base, or None, with which queries are as right, only slower.
Writes nothing but a note, in a folder of the user's own, that a file has been read whole.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Hashable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from clipsearch.vectors import FloatArray, IdArray

if TYPE_CHECKING:
    from clipsearch.catalog import CatalogReads, ModelRecord, VectorBatch, VectorSample
    from clipsearch.filters import Filter
    from clipsearch.index import GenerationHeader, VectorIndex, Verified


class QueryReads(Protocol):
    """What a query asks of one state of a catalog; see CatalogReads."""

    @property
    def uuid(self) -> str: ...
    def model(self) -> ModelRecord | None: ...
    def revision(self) -> int: ...
    def absent_ids(self) -> IdArray: ...
    def saved_query(self, name: str) -> str | None: ...
    def masked_ids(self, model_id: int, through_vector_id: int) -> IdArray: ...
    def matching_ids(self, wanted: Filter) -> IdArray: ...
    def lacks_details(self) -> bool: ...
    def dead_ids(self, model_id: int, through_vector_id: int) -> IdArray: ...
    def paths_of(self, image_ids: IdArray) -> dict[int, Path]: ...
    def dates_of(self, image_ids: IdArray) -> dict[int, str]: ...
    def vector_sample(self, model_id: int, size: int) -> VectorSample: ...
    def vectors_of(self, model_id: int, image_ids: IdArray) -> tuple[IdArray, FloatArray]: ...
    def vector_batches(
        self, model_id: int, after_vector_id: int = 0, batch_size: int = 4096
    ) -> Iterator[VectorBatch]: ...


@dataclass(frozen=True)
class Base:
    """An index of all vectors up to a revision; newer ones are in the catalog only."""

    index: VectorIndex
    through_vector_id: int


@dataclass(frozen=True)
class Coverage:
    """The vectors in an index file, the dead ones among them, and the newer ones outside it.

    `recall` is the share of the ten nearest that an approximate index found when it was built.
    """

    recipe: str
    n_base: int
    n_dead: int
    n_tail: int
    n_trained: int = 0
    recall: float | None = None
    explanation: str = ""


class BaseFiles:
    """The folder of index files. Keeps the last Base in memory; threads may share it."""

    def __init__(self, folder: Path, notes: Path | None = None) -> None:
        """`notes` is where it may remember which files it has found right."""
        self.folder = folder
        self._notes = notes
        self._loaded: tuple[Hashable, Base | None] = (None, None)
        self._loading = threading.Lock()

    def close(self) -> None:
        """Let go of the index in memory, and with it of its file."""
        with self._loading:
            self._loaded = (None, None)

    @property
    def is_unread(self) -> bool:
        """Whether there is an index file, and none has been looked at yet."""
        return self._loaded[0] is None and bool(self._files())

    def base(self, catalog: QueryReads, model: ModelRecord) -> Base | None:
        """The index to search first, read anew when the files have changed."""
        files = self._files()
        if not files:
            return None
        uuid = catalog.uuid
        state = (uuid, model.sha256, files)
        with self._loading:  # of threads that come together one reads it for all
            if self._loaded[0] != state:
                self._loaded = (state, self._read(uuid, model))
            base = self._loaded[1]
        if base is None or base.through_vector_id > catalog.revision():
            return None  # of a catalog that was ahead of this one, as after going back to a copy
        return base

    def header(self, catalog: CatalogReads, model: ModelRecord) -> GenerationHeader | None:
        """What the file of that index says of itself, without reading all of it."""
        if not self._files():
            return None
        from clipsearch.index import read_header

        header = read_header(self.folder, library_uuid=catalog.uuid, model_sha256=model.sha256)
        if header is None or header.through_vector_id > catalog.revision():
            return None
        return header

    def coverage(self, catalog: CatalogReads, model: ModelRecord) -> Coverage:
        """How much of the catalog is in the index file."""
        header = self.header(catalog, model)
        n_vectors = catalog.vector_count(model.model_id)
        if header is None:
            return Coverage("none", 0, 0, n_vectors)
        dead = catalog.dead_ids(model.model_id, header.through_vector_id)
        # Every forgotten image is dead, and is no image any more.
        n_live = catalog.counts().images + catalog.forgotten_count() - len(dead)
        from clipsearch.index import explain

        measured = [share for share in (header.recall, header.recall_unlike) if share is not None]
        return Coverage(
            header.recipe,
            header.count,
            header.count - n_live,
            n_vectors - n_live,
            n_trained=header.n_trained,
            recall=min(measured, default=None),
            explanation=explain(header),
        )

    def has_files(self) -> bool:
        """Whether there is any index file, usable or not."""
        return bool(self._files())

    def _files(self) -> tuple[tuple[str, int, int], ...]:
        """What tells one state of the folder from another."""
        found = []
        with suppress(FileNotFoundError, NotADirectoryError), os.scandir(self.folder) as entries:
            for entry in entries:
                if entry.name.startswith("base-") and entry.name.endswith(".idx"):
                    with suppress(FileNotFoundError):  # a writer has put a newer one in its place
                        stat = entry.stat()
                        found.append((entry.name, stat.st_size, stat.st_mtime_ns))
        return tuple(sorted(found))

    def _read(self, library_uuid: str, model: ModelRecord) -> Base | None:
        from clipsearch.index import open_index

        found = open_index(
            self.folder,
            library_uuid=library_uuid,
            model_sha256=model.sha256,
            verified=self._verified(),
        )
        if found is None or found[0].dimension != model.dimension:
            return None
        header, index = found
        return Base(index, header.through_vector_id)

    def _verified(self) -> Verified | None:
        from clipsearch.index import Verified

        return None if self._notes is None else Verified(self._notes)
