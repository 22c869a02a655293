"""A library on disk, behind one object with a method per command.

In: folders, words, pictures. Out: reports and hits. The only place that builds engines and joins
them; each is loaded when it is needed, so that looking at a library loads no model.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from clipsearch.errors import (
    CatalogError,
    FolderError,
    ModelError,
    ModelMismatch,
    ModelUnavailable,
    NoLibrary,
    QueryError,
    UnknownModel,
)
from clipsearch.indexer.encoder import Encoder, fits, record_of
from clipsearch.indexer.report import IndexReport, OnProgress, Progress, SkippedFile, Tally
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
    from clipsearch.catalog import Catalog, ModelRecord
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

OnDownload = Callable[[int, int], None]

CATALOG_FILE = "catalog.sqlite3"
INDEX_FOLDER = "index"


class Library:
    """A library on disk. A context manager; searching is safe from several threads.

    `path` is its folder, else what the settings say. It is made when the first folder is indexed;
    with `create=False` it must exist, or NoLibrary is raised. `model` is a name, file or folder; if
    the library has a model and it is another, ModelMismatch is raised. An `encoder` is used instead
    of loading one. `on_download(bytes_done, bytes_total)` hears of a model that has to be fetched.
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
        self._wanted_model = model
        self._given_encoder = encoder
        self._on_download = on_download
        self._encoders: dict[bool, Encoder] = {}  # by whether it is the one in numpy
        self._catalog: Catalog | None = None
        self._files = BaseFiles(self.path / INDEX_FOLDER)
        self._opening = threading.RLock()  # threads that come together share one of each
        try:
            if not create:
                self._opened()
            self._check_model()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let go of files and model. A second time does nothing."""
        if self._catalog is not None:
            self._catalog.close()
        self._catalog, self._encoders = None, {}

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
    ) -> IndexReport:
        """Bring the library up to date with these folders.

        A file that cannot be used becomes an entry of the report. Raises FolderError if a folder
        cannot be read, or has no picture, because it may be the place of a drive that is not
        there (unless `allow_empty`); LibraryLocked if another process is indexing; ModelError.
        """
        from clipsearch.indexer.commit import Committer
        from clipsearch.indexer.merge import drop_unusable, is_merge_due, merge
        from clipsearch.indexer.pipeline import Pace
        from clipsearch.indexer.run import apply_scans, scan_folders
        from clipsearch.indexer.scan import Rules

        if not folders:
            raise FolderError("no folder was named: say which folder to index")
        tally, pace = Tally(on_progress), Pace.of(self.settings)
        rules = Rules(pace.max_pixels, allow_empty)
        with self._writing(folders, allow_empty) as (catalog, model):
            scans = scan_folders(folders, catalog, model.model_id, tally, rules)
            drop_unusable(catalog, model, self._files)
            committer = Committer(catalog, model.model_id, tally)
            apply_scans(scans, committer, self._loaded, pace)
            if is_merge_due(self._files.coverage(catalog, model)):
                merge(catalog, model, self._files)
        return tally.report()

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
        from clipsearch.indexer.merge import is_merge_due, merge
        from clipsearch.indexer.pipeline import Pace
        from clipsearch.indexer.reencode import reencode, switch
        from clipsearch.indexer.scan import Rules

        catalog, tally, pace = self._opened(), Tally(on_progress), Pace.of(self.settings)
        encoder = self._load(model) if isinstance(model, str | Path) else model
        with write_lock(self.path):
            with catalog.begin() as write:
                record = write.add_model(record_of(encoder))
            committer = Committer(catalog, record.model_id, tally)
            reencode(folders, committer, encoder, pace, Rules(pace.max_pixels, allow_empty))
            switch(catalog, record, self._files)
            if is_merge_due(self._files.coverage(catalog, record)):
                merge(catalog, record, self._files)
        with self._opening:
            given = None if isinstance(model, str | Path) else encoder
            self._encoders, self._wanted_model, self._given_encoder = {False: encoder}, None, given
        return tally.report()

    def reindex_cost(self, model: str | Path | Encoder) -> ReindexCost:
        """What `reindex` would take. Tries the model on a few pictures if it is on this machine."""
        from clipsearch.indexer.pipeline import Pace
        from clipsearch.indexer.reencode import cost

        encoder: Encoder | None = None
        with suppress(ModelUnavailable):
            encoder = self._load(model, offline=True) if isinstance(model, str | Path) else model
        with self._opened().snapshot() as state:
            record = None if encoder is None else record_of(encoder)
            return cost(state, record, encoder, Pace.of(self.settings))

    def query(self, probe: Any, k: int = 10) -> list[Hit]:
        """The k images most like a probe, best first; fewer if there are fewer.

        A probe is text in the query language, a Path, a PIL image, a vector `[dim]`, a Query, or a
        sequence of these, which count alike (strings alone: as the words of a command line).
        Picture files of the question are left out of the answer; their copies are not.
        Raises QueryError if it makes no sense, NoLibrary if nothing was ever indexed here.
        """
        if isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1:
            raise QueryError(f"{k} hits cannot be had: ask for a whole number of at least 1")
        catalog = self._opened()
        model = catalog.model()
        query = as_query(probe, lambda image: image_vector(image, self._loaded(for_probes=True)))
        if model is None:
            return []
        leave_out = probed_images(query, catalog)
        vector = query_vector(query, self._loaded(for_probes=True), self.settings.max_pixels)
        with catalog.snapshot() as state:
            if state.model() == model:
                space = Space(state, model.model_id, self._files.base(state, model))
                return search(vector, space, int(k), leave_out)
        return self.query(probe, k)  # the library has changed its model meanwhile

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
        record = self._model()
        if record is not None:
            return record.name
        if self._given_encoder is not None:
            return self._given_encoder.model_name
        return str(self._wanted_model or self.settings.model)

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
        catalog = self._existing()
        return catalog.model() if catalog is not None else None

    @contextmanager
    def _writing(
        self, folders: Sequence[str | Path], allow_empty: bool
    ) -> Iterator[tuple[Catalog, ModelRecord]]:
        """The catalog under the lock, made now if need be, and the library's model."""
        from clipsearch.catalog import Catalog
        from clipsearch.indexer.lock import write_lock
        from clipsearch.indexer.scan import require_pictures

        if self._existing() is None:
            # Whatever can go wrong must do so before there is half a library.
            require_pictures(folders, allow_empty)
            self._loaded()
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
            yield self._catalog, self._catalog.model() or self._adopt_model(self._catalog)

    def _adopt_model(self, catalog: Catalog) -> ModelRecord:
        """Make the model that was asked for the library's own."""
        return catalog.set_model(record_of(self._loaded()))

    def _loaded(self, *, for_probes: bool = False) -> Encoder:
        """The model; for probes the one in numpy, unless the settings ask for more than it can do.

        That one even if torch's is here, so that a question has one answer, to the last digit.
        Raises ModelMismatch if it is not the library's, and the errors of loading.
        """
        from clipsearch.clip.lite import is_lite_enough

        with self._opening:
            lite = for_probes and is_lite_enough(self.settings.device, self.settings.precision)
            record = self._model()
            # Another process may have changed the library's model since this one was loaded.
            if lite not in self._encoders or not fits(self._encoders[lite], record):
                encoder = self._given_encoder or self._load_encoder(record, lite)
                if record is not None and not fits(encoder, record):
                    raise self._mismatch(record, encoder.model_name)
                self._encoders[lite] = encoder
            return self._encoders[lite]

    def _load_encoder(self, record: ModelRecord | None, lite: bool) -> Encoder:
        if record is None or self._wanted_model is not None:
            return self._load(self._wanted_model or self.settings.model, lite)
        try:
            return self._load(self._bundle_of(record) or record.name, lite)
        except UnknownModel as error:
            raise ModelError(
                f"the library {self.path} was made with a model of your own, {record.name!r}: "
                "give its file or folder with --model"
            ) from error

    def _load(self, model: str | Path, lite: bool = False, offline: bool = False) -> Encoder:
        from clipsearch.clip.download import ModelCache
        from clipsearch.clip.lite import encoder_class

        settings = replace(self.settings, offline=offline or self.settings.offline)
        return encoder_class(lite).load(
            model,
            cache=ModelCache.of(settings, self._on_download),
            device=settings.device,
            precision=settings.precision,
        )

    def _bundle_of(self, record: ModelRecord) -> Path | None:
        """Where the library's model was, if it is still there."""
        from clipsearch.clip.manifest import is_bundle, read_manifest

        if record.bundle_path is None:
            return None
        folder = Path(os.fsdecode(record.bundle_path))
        is_there = is_bundle(folder) and read_manifest(folder).source_sha256 == record.sha256
        return folder if is_there else None

    def _check_model(self) -> None:
        """Raise ModelMismatch if a model was asked for that is not the library's own."""
        record = self._model()
        if record is None:
            return
        if self._given_encoder is not None:
            self._loaded()
        elif self._wanted_model is not None and str(self._wanted_model) != record.name:
            self._check_model_file(record)

    def _check_model_file(self, record: ModelRecord) -> None:
        from clipsearch.clip.download import ModelCache
        from clipsearch.clip.manifest import read_manifest
        from clipsearch.clip.models import find_model

        assert self._wanted_model is not None
        cache = replace(ModelCache.of(self.settings), offline=True)
        try:
            wanted = read_manifest(find_model(self._wanted_model, cache))
        except ModelUnavailable:  # so it cannot be the model that made this library
            raise self._mismatch(record, str(self._wanted_model)) from None
        if wanted.source_sha256 != record.sha256:
            raise self._mismatch(record, wanted.name)

    def _mismatch(self, record: ModelRecord, other: str) -> ModelMismatch:
        same = " (another model of that name)" if other == record.name else ""
        return ModelMismatch(
            f"the library {self.path} holds vectors of the model {record.name!r}, not {other!r}"
            f"{same}: leave the model out, or name another library"
        )
