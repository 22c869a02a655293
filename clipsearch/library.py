"""A library on disk, behind one object with a method per command.

In: folders, words, pictures. Out: reports and hits. The only place that builds and joins engines;
each is loaded when it is needed, so that looking at a library loads no model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, Unpack

import numpy as np

from clipsearch.errors import FolderError
from clipsearch.indexer.encoder import Encoder, record_of
from clipsearch.indexer.report import IndexReport, OnProgress, Progress, SkippedFile, Tally
from clipsearch.library_catalog import LibraryCatalog
from clipsearch.library_model import LibraryModel, OnDownload
from clipsearch.library_queries import NamedQueries
from clipsearch.query.asking import Asking
from clipsearch.query.base import BaseFiles
from clipsearch.query.hits import Hit, Hits
from clipsearch.query.prompt_vectors import PromptVectors
from clipsearch.query.status import FolderStatus, Status, library_status
from clipsearch.query.wanted import QueryOptions
from clipsearch.settings import Settings

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from clipsearch.care.backup import BackupReport
    from clipsearch.care.repair import RepairReport
    from clipsearch.care.report import CheckReport, OnCheckProgress
    from clipsearch.catalog import Catalog, ModelRecord
    from clipsearch.indexer.forget import Forgotten
    from clipsearch.indexer.given import Given, ImportReport
    from clipsearch.indexer.lock import OnWait
    from clipsearch.indexer.reencode import ReindexCost

__all__ = [
    "Encoder",
    "FolderStatus",
    "Hit",
    "Hits",
    "IndexReport",
    "Library",
    "Progress",
    "SkippedFile",
    "Status",
]

INDEX_FOLDER = "index"


class Library(NamedQueries):
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
        self._catalog = LibraryCatalog(self.path)
        self._files = BaseFiles(self.path / INDEX_FOLDER, self.settings.cache_dir / "verified")
        self._asking = Asking(
            self._catalog,
            self._files,
            partial(self._loaded, for_probes=True),
            self._models.rest,
            PromptVectors(self.settings.cache_dir / "prompts"),
            self.settings,
        )
        try:
            if not create and self._catalog.quick() is None:
                self._opened()
            # What nobody asked for is not looked at: a damaged library must open to be repaired.
            record = self._model() if self._models.is_chosen else None
            if record is not None:
                self._models.check(record)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let go of files and model. A second time does nothing."""
        self._catalog.close()
        self._files.close()
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

    def index(
        self,
        *folders: str | Path,
        on_progress: OnProgress | None = None,
        allow_missing: bool = False,
        verify: bool = False,
        on_wait: OnWait | None = None,
        index_recipe: str | None = None,
    ) -> IndexReport:
        """Bring the library up to date with these folders.

        A file that cannot be used becomes an entry of the report. With `verify` every file is read,
        however it looks. `index_recipe`, a name of `index.RECIPES`, says how vectors are searched
        from now on. Raises FolderError if a folder cannot be read, or has lost more than half of
        its files or has none, because it may be the place of a drive that is not there (unless
        `allow_missing`); LibraryLocked if another process is writing, unless there is an `on_wait`
        to hear who is waited for; ModelError.
        """
        from clipsearch.care.place import warnings_about
        from clipsearch.index import checked_recipe
        from clipsearch.indexer.commit import Committer
        from clipsearch.indexer.merge import drop_unusable, merge_if_due, use_recipe
        from clipsearch.indexer.pipeline import Pace
        from clipsearch.indexer.run import apply_scans, scan_folders

        checked_recipe(index_recipe or "auto")
        if not folders:
            raise FolderError("no folder was named: say which folder to index")
        tally, pace = Tally(on_progress), Pace.of(self.settings)
        rules = pace.rules(allow_missing, verify)
        with self._writing(folders, allow_missing, on_wait) as (catalog, model):
            tally.notes += warnings_about(self.path)
            scans = scan_folders(folders, catalog, model.model_id, tally, rules)
            drop_unusable(catalog, model, self._files)
            committer = Committer(catalog, model.model_id, tally, pace.decoder)
            apply_scans(scans, committer, self._loaded, pace)
            use_recipe(catalog, index_recipe)
        merge_if_due(catalog, model, self._files, tally)
        return tally.report()

    def add_vectors(
        self,
        paths: Sequence[str | Path],
        vectors: NDArray[Any],
        metadata: Sequence[Mapping[str, Any]] | None = None,
        *,
        root: str | Path | None = None,
        on_progress: OnProgress | None = None,
        on_wait: OnWait | None = None,
    ) -> ImportReport:
        """Take in vectors `[n, dim]` of pictures that were encoded elsewhere, by the same model.

        The files need not be there. Relative paths start at `root`; `metadata` has GIVEN_DETAILS of
        each. Where the library has encoded a picture itself, its own vector stays. Raises
        ModelMismatch for another dimension, CatalogError, FolderError, LibraryLocked as `index`.
        """
        from clipsearch.indexer.given import given_here

        above, given = given_here(paths, np.asarray(vectors), metadata, root)
        return self._take_in(given, above, on_progress, on_wait)

    def import_folder(
        self,
        folder: str | Path,
        *,
        root: str | Path | None = None,
        on_progress: OnProgress | None = None,
        on_wait: OnWait | None = None,
    ) -> ImportReport:
        """`add_vectors` of a folder of embeddings; see `indexer.embeddings` for its layout."""
        from clipsearch.indexer.given import given_in

        above, given = given_in(Path(folder), root)
        return self._take_in(given, above, on_progress, on_wait)

    def reindex(
        self,
        model: str | Path | Encoder,
        *folders: str | Path,
        on_progress: OnProgress | None = None,
        allow_missing: bool = False,
        on_wait: OnWait | None = None,
    ) -> IndexReport:
        """Encode the whole library, and these folders, with another model, and make it its own.

        Until that is complete, queries are answered by the old model's vectors; if it is
        interrupted, doing it again does the rest. Raises what `index` does, where a folder of the
        library that is not there counts like an empty one.
        """
        from clipsearch.care.leftovers import remove_leftovers
        from clipsearch.indexer.commit import Committer
        from clipsearch.indexer.lock import write_lock
        from clipsearch.indexer.merge import merge_if_due
        from clipsearch.indexer.pipeline import Pace
        from clipsearch.indexer.reencode import reencode, switch

        catalog, tally, pace = self._opened(), Tally(on_progress), Pace.of(self.settings)
        encoder = self._models.load(model) if isinstance(model, str | Path) else model
        with write_lock(self.path, on_wait):
            remove_leftovers(self.path, self._files.folder)
            with catalog.begin() as write:
                record = write.add_model(record_of(encoder))
            committer = Committer(catalog, record.model_id, tally, pace.decoder)
            reencode(folders, committer, encoder, pace, pace.rules(allow_missing))
            switch(catalog, record, self._files, tally)
        merge_if_due(catalog, record, self._files, tally)
        self._models.become(encoder, given=not isinstance(model, str | Path))
        return tally.report()

    def reindex_cost(self, model: str | Path | Encoder) -> ReindexCost:
        """What `reindex` would take. Tries the model on a few pictures if it is on this machine."""
        from clipsearch.indexer.pipeline import Pace
        from clipsearch.indexer.reencode import cost

        encoder = self._models.here(model)
        with self._opened().snapshot() as state:
            record = None if encoder is None else record_of(encoder)
            return cost(state, record, encoder, Pace.of(self.settings))

    def query(self, probe: Any, k: int = 10, **options: Unpack[QueryOptions]) -> Hits:
        """The k images most like a probe, best first; fewer if there are fewer.

        A probe is text in the query language, a Path, a PIL image, a vector `[dim]`, a Query, or a
        sequence of these, which count alike (strings alone: as the words of a command line).
        Pictures of the library that the question shows are left out of the answer; their copies
        are not. What can be given by name says `query.wanted.QueryOptions`.
        Raises QueryError if it makes no sense, NoLibrary if nothing was ever indexed here.
        """
        return self._asking.hits(probe, k, options)

    def get_ready(self) -> None:
        """Encode the prompts that every question is compared with, once for a model: the first
        question would else wait for it. Raises the errors of loading."""
        self._asking.get_ready()

    def status(self) -> Status:
        """What the library holds. Loads no model."""
        with self._opened().snapshot() as state:
            return library_status(self.path, state, self._files)

    def check(
        self, read_data: float = 0.0, on_progress: OnCheckProgress | None = None
    ) -> CheckReport:
        """Whether everything that the library keeps is sound. Loads no model, changes nothing.

        `read_data` is the share of the pictures, 0 to 1, that is read again and compared.
        Damage becomes findings of the report. Raises NoLibrary, CatalogTooNew.
        """
        from clipsearch.care.check import check

        file = self._catalog.file
        return check(file, self._files.folder, read_data=read_data, on_progress=on_progress)

    def repair(
        self,
        *,
        on_progress: OnCheckProgress | None = None,
        on_wait: OnWait | None = None,
    ) -> RepairReport:
        """Make the library sound. What is taken out goes to its folder `quarantine`.

        Raises NoLibrary, CatalogTooNew, LibraryLocked as `index` does.
        """
        from clipsearch.care.leftovers import remove_leftovers
        from clipsearch.care.repair import repair
        from clipsearch.indexer.lock import merge_lock, write_lock

        self._catalog.require()
        with write_lock(self.path, on_wait):
            self.close()
            remove_leftovers(self.path, self._files.folder)
            with merge_lock(self.path, wait=True):  # it writes and removes index files itself
                return repair(self._catalog.file, self._files, on_progress)

    def backup(
        self,
        path: str | Path,
        *,
        force: bool = False,
        on_progress: OnCheckProgress | None = None,
    ) -> BackupReport:
        """Copy the catalog, of which all else is derived, to one file; indexing may go on.

        Raises CatalogError if there is a file already, unless `force`.
        """
        from clipsearch.care.backup import backup

        file = self._catalog.file
        return backup(file, Path(path), force=force, on_progress=on_progress)

    def errors(self) -> list[SkippedFile]:
        """What could not be used when it was last looked at, by path, with the reason."""
        return [SkippedFile(each.path, each.reason) for each in self._opened().failures()]

    def forget(
        self, *paths: str | Path, only_missing: bool = False, on_wait: OnWait | None = None
    ) -> Forgotten:
        """Remove all that the library has at or below these paths, there or not, for good.

        With `only_missing` just the missing files; then without paths those of all folders. A file
        that is still there is new to the next `index`. Raises LibraryLocked as `index` does.
        """
        from clipsearch.care.leftovers import remove_leftovers
        from clipsearch.indexer.forget import forget
        from clipsearch.indexer.lock import write_lock
        from clipsearch.indexer.merge import merge_if_due

        if not (paths or only_missing):
            raise FolderError("no path was named: say which files or folders to forget")
        catalog, tally = self._opened(), Tally()
        with write_lock(self.path, on_wait):
            remove_leftovers(self.path, self._files.folder)
            forgotten = forget(catalog, paths, only_missing=only_missing)
        if (model := catalog.model()) is not None:
            merge_if_due(catalog, model, self._files, tally)
        return replace(forgotten, notes=tuple(tally.notes))

    @property
    def model_name(self) -> str:
        """The library's model, or the one that a new library will get."""
        return self._models.name(self._model())

    def _opened(self) -> Catalog:
        return self._catalog.opened()

    def _model(self) -> ModelRecord | None:
        return self._catalog.model()

    def _take_in(
        self,
        parts: Iterable[Given],
        root: bytes,
        on_progress: OnProgress | None,
        on_wait: OnWait | None,
    ) -> ImportReport:
        from clipsearch.indexer.given import take_in
        from clipsearch.indexer.merge import drop_unusable, merge_if_due

        tally = Tally(on_progress)
        with self._writing((), True, on_wait, for_probes=True) as (catalog, model):
            drop_unusable(catalog, model, self._files)
            report = take_in(parts, root, catalog, model, tally)
        merge_if_due(catalog, model, self._files, tally)
        return replace(report, notes=tuple(tally.notes))

    @contextmanager
    def _writing(
        self,
        folders: Sequence[str | Path],
        allow_missing: bool,
        on_wait: OnWait | None,
        *,
        for_probes: bool = False,
    ) -> Iterator[tuple[Catalog, ModelRecord]]:
        """The catalog under the lock, made now if need be, and the library's model."""
        from clipsearch.care.leftovers import remove_leftovers
        from clipsearch.indexer.lock import write_lock
        from clipsearch.indexer.scan import require_pictures

        if self._catalog.existing() is None:
            # Whatever can go wrong must do so before there is half a library.
            require_pictures(folders, allow_missing)
            self._loaded(for_probes=for_probes)
        self._catalog.make_folder()
        with write_lock(self.path, on_wait):
            remove_leftovers(self.path, self._files.folder)
            catalog = self._catalog.made()
            record = catalog.model()
            if record is None:
                record = catalog.set_model(record_of(self._loaded(for_probes=for_probes)))
            yield catalog, record

    def _loaded(self, *, for_probes: bool = False) -> Encoder:
        return self._models.loaded(self._model(), for_probes=for_probes)
