"""A library on disk, behind one object with a method per command.

In: folders, words, pictures. Out: reports and hits. The only place that builds engines and joins
them; each is loaded when it is needed, so that looking at a library loads no model.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from clipsearch.errors import (
    CatalogError,
    FolderError,
    ModelUnavailable,
    NoLibrary,
    QueryError,
)
from clipsearch.indexer.encoder import Encoder, record_of
from clipsearch.indexer.report import IndexReport, OnProgress, Progress, SkippedFile, Tally
from clipsearch.library_model import LibraryModel, OnDownload
from clipsearch.probes import ImageProbe
from clipsearch.query.base import BaseFiles
from clipsearch.query.given import as_query
from clipsearch.query.search import (
    Hit,
    Space,
    image_vector,
    probed_images,
    query_vector,
    search,
)
from clipsearch.query.status import FolderStatus, Status, library_status
from clipsearch.settings import Settings

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from clipsearch.catalog import Catalog, ModelRecord, QuickCatalog
    from clipsearch.indexer.given import Given, ImportReport
    from clipsearch.indexer.reencode import ReindexCost

__all__ = [
    "Encoder",
    "FolderStatus",
    "Hit",
    "IndexReport",
    "Library",
    "Progress",
    "SkippedFile",
    "Status",
]

CATALOG_FILE = "catalog.sqlite3"
INDEX_FOLDER = "index"


class Library:
    """A library on disk. A context manager; searching is safe from several threads.

    `path` is its folder, else what the settings say. It is made when the first folder is indexed;
    with `create=False` it must exist, or NoLibrary is raised. `model` is a name, file or folder; if
    the library has a model and it is another, ModelMismatch is raised. An `encoder` is used instead
    of loading one. `on_download(Download)` hears of a model that has to be fetched.
    """

    def __init__(
        self,
        path: str | Path | None = None,
        *,
        model: str | Path | None = None,
        create: bool = True,
        settings: Settings | None = None,
        encoder: Encoder | None = None,
        on_download: OnDownload | None = None,
    ) -> None:
        settings = settings or Settings.load()
        self.settings = replace(settings, library=Path(path)) if path is not None else settings
        self.path = self.settings.library_path()
        self._models = LibraryModel(self.path, self.settings, model, encoder, on_download)
        self._catalog: Catalog | None = None
        self._quick: QuickCatalog | None = None
        notes = self.settings.cache_dir / "verified"
        self._files = BaseFiles(self.path / INDEX_FOLDER, notes)
        self._opening = threading.RLock()  # threads that come together share one catalog
        try:
            if not create and self._quickly() is None:
                self._opened()
            record = self._model()
            if record is not None:
                self._models.check(record)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let go of files and model. A second time does nothing."""
        if self._catalog is not None:
            self._catalog.close()
        if self._quick is not None:
            self._quick.close()
        self._catalog = self._quick = None
        self._models.forget()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    # ---- what the library can do

    def index(
        self,
        *folders: str | Path,
        on_progress: OnProgress | None = None,
        allow_empty: bool = False,
        index_recipe: str | None = None,
    ) -> IndexReport:
        """Bring the library up to date with these folders.

        `index_recipe` says how vectors are searched from now on: a name of `index.RECIPES`.
        A file that cannot be used becomes an entry of the report. Raises FolderError if a folder
        cannot be read, or has no picture, because it may be the place of a drive that is not
        there (unless `allow_empty`); LibraryLocked if another process is indexing; ModelError.
        """
        from clipsearch.index import checked_recipe
        from clipsearch.indexer.commit import Committer
        from clipsearch.indexer.merge import drop_unusable, merge_if_due, use_recipe
        from clipsearch.indexer.pipeline import Pace
        from clipsearch.indexer.run import apply_scans, scan_folders
        from clipsearch.indexer.scan import Rules

        checked_recipe(index_recipe or "auto")
        if not folders:
            raise FolderError("no folder was named: say which folder to index")
        tally, pace = Tally(on_progress), Pace.of(self.settings)
        rules = Rules(pace.max_pixels, allow_empty)
        with self._writing(folders, allow_empty) as (catalog, model):
            scans = scan_folders(folders, catalog, model.model_id, tally, rules)
            drop_unusable(catalog, model, self._files)
            committer = Committer(catalog, model.model_id, tally)
            apply_scans(scans, committer, self._loaded, pace)
            use_recipe(catalog, index_recipe)
        merge_if_due(catalog, model, self._files, tally.tell_merged)
        return tally.report()

    def add_vectors(
        self,
        paths: Sequence[str | Path],
        vectors: NDArray[Any],
        metadata: Sequence[Mapping[str, Any]] | None = None,
        *,
        root: str | Path | None = None,
        on_progress: OnProgress | None = None,
    ) -> ImportReport:
        """Take in vectors `[n, dim]` of pictures that were encoded elsewhere, by the same model.

        The files need not be there. Relative paths start at `root`. `metadata` has width, height
        and taken_at of each, as far as known. Where the library has encoded a picture itself, its
        own vector stays. Raises ModelMismatch for another dimension, CatalogError, FolderError.
        """
        from clipsearch.indexer.given import Given, absolute, common_folder

        start = Path(root) if root is not None else None
        given = Given(absolute(paths, start), np.asarray(vectors), metadata)
        return self._take_in([given], common_folder(given.paths), on_progress)

    def import_folder(
        self,
        folder: str | Path,
        *,
        root: str | Path | None = None,
        on_progress: OnProgress | None = None,
    ) -> ImportReport:
        """`add_vectors` of a folder of embeddings; see `indexer.embeddings` for its layout."""
        from clipsearch.indexer.embeddings import parts_of
        from clipsearch.indexer.given import Given, absolute, common_folder

        start = Path(root) if root is not None else None
        parts = parts_of(Path(folder))
        # Each list of paths is read twice, so that a million need not be held at once.
        above = common_folder(common_folder(absolute(p.paths(), start)) + b"/" for p in parts)
        given = (Given(absolute(p.paths(), start), p.vectors, p.metadata()) for p in parts)
        return self._take_in(given, above, on_progress)

    def reindex(
        self,
        model: str | Path | Encoder,
        *folders: str | Path,
        on_progress: OnProgress | None = None,
        allow_empty: bool = False,
    ) -> IndexReport:
        """Encode the whole library, and these folders, with another model, and make it its own.

        Until that is complete, queries are answered by the old model's vectors; if it is
        interrupted, doing it again does the rest. Raises what `index` does, where a folder of the
        library that is not there counts like an empty one.
        """
        from clipsearch.indexer.commit import Committer
        from clipsearch.indexer.lock import write_lock
        from clipsearch.indexer.merge import merge_if_due
        from clipsearch.indexer.pipeline import Pace
        from clipsearch.indexer.reencode import reencode, switch
        from clipsearch.indexer.scan import Rules

        catalog, tally, pace = self._opened(), Tally(on_progress), Pace.of(self.settings)
        encoder = self._models.load(model) if isinstance(model, str | Path) else model
        with write_lock(self.path):
            with catalog.begin() as write:
                record = write.add_model(record_of(encoder))
            committer = Committer(catalog, record.model_id, tally)
            reencode(folders, committer, encoder, pace, Rules(pace.max_pixels, allow_empty))
            switch(catalog, record, self._files)
        merge_if_due(catalog, record, self._files, tally.tell_merged)
        self._models.become(encoder, given=not isinstance(model, str | Path))
        return tally.report()

    def reindex_cost(self, model: str | Path | Encoder) -> ReindexCost:
        """What `reindex` would take. Tries the model on a few pictures if it is on this machine."""
        from clipsearch.indexer.pipeline import Pace
        from clipsearch.indexer.reencode import cost

        encoder: Encoder | None = None
        with suppress(ModelUnavailable):
            if isinstance(model, str | Path):
                encoder = self._models.load(model, offline=True)
            else:
                encoder = model
        with self._opened().snapshot() as state:
            record = None if encoder is None else record_of(encoder)
            return cost(state, record, encoder, Pace.of(self.settings))

    def query(self, probe: Any, k: int = 10, *, exact: bool = False) -> list[Hit]:
        """The k images most like a probe, best first; fewer if there are fewer.

        A probe is text in the query language, a Path, a PIL image, a vector `[dim]`, a Query, or a
        sequence of these, which count alike (strings alone: as the words of a command line).
        Picture files of the question are left out of the answer; their copies are not. With
        `exact` every vector is looked at, also where an approximate index would be faster.
        Raises QueryError if it makes no sense, NoLibrary if nothing was ever indexed here.
        """
        if isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1:
            raise QueryError(f"{k} hits cannot be had: ask for a whole number of at least 1")
        model = self._model()
        if model is None:
            self._opened()  # raises NoLibrary if that is why
        query = as_query(probe, lambda image: image_vector(image, self._loaded(for_probes=True)))
        if model is None:
            return []
        is_picture = [isinstance(part, ImageProbe) for part in query.probes]
        leave_out = probed_images(query, self._opened()) if any(is_picture) else None
        vector = query_vector(query, self._loaded(for_probes=True), self.settings.max_pixels)
        with (self._quickly() or self._opened()).snapshot() as state:
            if state.model() == model:
                base = None if exact else self._files.base(state, model)
                space = Space(state, model.model_id, base)
                return search(vector, space, int(k), leave_out)
        return self.query(probe, k, exact=exact)  # the library has changed its model meanwhile

    def status(self) -> Status:
        """What the library holds. Loads no model."""
        with self._opened().snapshot() as state:
            return library_status(self.path, state, self._files)

    def errors(self) -> list[SkippedFile]:
        """The files that could not be read, by path, with the reason."""
        found = self._opened().unreadable()
        return [SkippedFile(record.path, record.reason or "unreadable") for record in found]

    @property
    def model_name(self) -> str:
        """The library's model, or the one that a new library will get."""
        return self._models.name(self._model())

    # ---- the engines, each when it is needed

    def _opened(self) -> Catalog:
        catalog = self._existing()
        if catalog is None:
            raise NoLibrary(
                f"there is no library at {self.path}: make one with clipsearch index FOLDER, "
                "or name another with --library"
            )
        return catalog

    def _existing(self) -> Catalog | None:
        """The catalog, if there is one."""
        with self._opening:
            if self._catalog is None and self._has_catalog():
                from clipsearch.catalog import Catalog

                # Indexing that was killed at its very beginning leaves a file with nothing in it.
                with suppress(NoLibrary):
                    self._catalog = Catalog.open(self.path / CATALOG_FILE)
            return self._catalog

    def _quickly(self) -> QuickCatalog | None:
        """The catalog for those who only ask, if it is as usual; else `_existing` is for them."""
        from clipsearch.catalog.quick import QuickCatalog

        with self._opening:
            if self._quick is None and self._has_catalog():
                self._quick = QuickCatalog.open(self.path / CATALOG_FILE)
            return self._quick

    def _has_catalog(self) -> bool:
        try:
            return (self.path / CATALOG_FILE).exists()
        except PermissionError as error:
            raise CatalogError(
                f"the library {self.path} may not be entered: change its permissions or name "
                "another"
            ) from error

    def _model(self) -> ModelRecord | None:
        """The library's model, if it has one yet."""
        opened = self._quickly() or self._existing()
        if opened is None:
            return None
        with opened.snapshot() as state:
            return state.model()

    def _take_in(
        self, parts: Iterable[Given], root: bytes, on_progress: OnProgress | None
    ) -> ImportReport:
        from clipsearch.indexer.given import take_in
        from clipsearch.indexer.merge import drop_unusable, merge_if_due

        tally = Tally(on_progress)
        with self._writing((), True, for_probes=True) as (catalog, model):
            drop_unusable(catalog, model, self._files)
            report = take_in(parts, root, catalog, model, tally)
        merge_if_due(catalog, model, self._files, tally.tell_merged)
        return report

    @contextmanager
    def _writing(
        self, folders: Sequence[str | Path], allow_empty: bool, *, for_probes: bool = False
    ) -> Iterator[tuple[Catalog, ModelRecord]]:
        """The catalog under the lock, made now if need be, and the library's model."""
        from clipsearch.catalog import Catalog
        from clipsearch.indexer.lock import write_lock
        from clipsearch.indexer.scan import require_pictures

        if self._existing() is None:
            # Whatever can go wrong must do so before there is half a library.
            require_pictures(folders, allow_empty)
            self._loaded(for_probes=for_probes)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise CatalogError(
                f"no library can be made at {self.path} ({reason}): name another folder"
            ) from error
        with write_lock(self.path):
            with self._opening:
                if self._catalog is None:
                    self._catalog = Catalog.open(self.path / CATALOG_FILE, create=True)
            record = self._catalog.model()
            if record is None:
                encoder = self._loaded(for_probes=for_probes)
                record = self._catalog.set_model(record_of(encoder))
            yield self._catalog, record

    def _loaded(self, *, for_probes: bool = False) -> Encoder:
        return self._models.loaded(self._model(), for_probes=for_probes)
