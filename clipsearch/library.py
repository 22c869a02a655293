"""A library on disk, behind one object with a method per command.

In: folders, words, pictures. Out: reports and hits. The only place that builds engines and joins
them; each is loaded when it is needed, so that looking at a library loads no model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self

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
from clipsearch.indexer.report import IndexReport, OnProgress, Progress, SkippedFile, Tally
from clipsearch.probes import ImageProbe, Probe, Query, TextProbe, VectorProbe, parse
from clipsearch.query.base import BaseFiles
from clipsearch.query.search import (
    Hit,
    ProbeEncoder,
    Space,
    image_vector,
    query_vector,
    same_pictures,
    search,
)
from clipsearch.query.status import FolderStatus, Status, library_status
from clipsearch.settings import Settings

if TYPE_CHECKING:
    from clipsearch.catalog import Catalog, ModelRecord
    from clipsearch.indexer.pipeline import Pace

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


class Encoder(ProbeEncoder, Protocol):
    """A model, as `clipsearch.clip.encoder.Encoder` is one."""

    @property
    def model_name(self) -> str: ...
    @property
    def model_sha256(self) -> str: ...
    @property
    def preprocess_info(self) -> dict[str, Any]: ...
    @property
    def activation(self) -> str: ...
    @property
    def precision(self) -> str: ...


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
        self._encoder: Encoder | None = None
        self._catalog: Catalog | None = None
        self._files = BaseFiles(self.path / INDEX_FOLDER)
        if not create:
            self._opened()
        if (self.path / CATALOG_FILE).exists():
            self._check_model()

    def close(self) -> None:
        """Let go of files and model. A second time does nothing."""
        if self._catalog is not None:
            self._catalog.close()
        self._catalog = self._encoder = None

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
        from clipsearch.indexer.merge import is_merge_due, merge
        from clipsearch.indexer.run import apply_scans, scan_folders

        if not folders:
            raise FolderError("no folder was named: say which folder to index")
        tally = Tally(on_progress)
        with self._writing(folders, allow_empty) as (catalog, model):
            scans = scan_folders(folders, catalog, model.model_id, tally, allow_empty)
            committer = Committer(catalog, model.model_id, tally)
            apply_scans(scans, committer, self._loaded, self._pace())
            if is_merge_due(self._files.coverage(catalog, model)):
                merge(catalog, model, self._files)
        return tally.report()

    def query(self, probe: Any, k: int = 10) -> list[Hit]:
        """The k images most like a probe, best first; fewer if there are fewer.

        A probe is text in the query language, a Path, a PIL image, a vector `[dim]`, a Query, or a
        sequence of these, which count alike. Pictures of the question are left out of the answer.
        Raises QueryError if it makes no sense, NoLibrary if nothing was ever indexed here.
        """
        if isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1:
            raise QueryError(f"{k} hits cannot be had: ask for a whole number of at least 1")
        catalog = self._opened()
        query = self._query(probe)
        model = catalog.model()
        if model is None:
            return []
        leave_out = same_pictures(query, catalog)
        vector = query_vector(query, self._loaded(), self.settings.max_pixels)
        with catalog.snapshot() as state:
            space = Space(state, model.model_id, self._files.base(state, model))
            return search(vector, space, int(k), leave_out)

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
        exists = (self.path / CATALOG_FILE).exists()
        record = self._opened().model() if exists else None
        if record is not None:
            return record.name
        if self._given_encoder is not None:
            return self._given_encoder.model_name
        return str(self._wanted_model or self.settings.model)

    # ---- the engines, each when it is needed

    def _opened(self) -> Catalog:
        from clipsearch.catalog import Catalog

        if self._catalog is None:
            if not (self.path / CATALOG_FILE).exists():
                raise NoLibrary(
                    f"there is no library at {self.path}: make one with clipsearch index FOLDER, "
                    "or name another with --library"
                )
            self._catalog = Catalog.open(self.path / CATALOG_FILE)
        return self._catalog

    @contextmanager
    def _writing(
        self, folders: Sequence[str | Path], allow_empty: bool
    ) -> Iterator[tuple[Catalog, ModelRecord]]:
        """The catalog under the lock, made now if need be, and the library's model."""
        from clipsearch.catalog import Catalog
        from clipsearch.indexer.lock import write_lock
        from clipsearch.indexer.scan import require_pictures

        if not (self.path / CATALOG_FILE).exists():
            # Whatever can go wrong must do so before there is half a library.
            require_pictures(folders, allow_empty)
            self._loaded()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CatalogError(
                f"no library can be made at {self.path} ({error.strerror}): name another folder"
            ) from error
        with write_lock(self.path):
            if self._catalog is None:
                self._catalog = Catalog.open(self.path / CATALOG_FILE, create=True)
            model = self._catalog.model() or self._catalog.set_model(_record(self._loaded()))
            yield self._catalog, model

    def _loaded(self) -> Encoder:
        """The model. Raises ModelMismatch if it is not the library's, and the errors of loading."""
        if self._encoder is None:
            exists = (self.path / CATALOG_FILE).exists()
            record = self._opened().model() if exists else None
            encoder = self._given_encoder or self._load_encoder(record)
            if record is not None and _record(encoder).fingerprint != record.fingerprint:
                raise self._mismatch(record, encoder.model_name)
            self._encoder = encoder
        return self._encoder

    def _load_encoder(self, record: ModelRecord | None) -> Encoder:
        from clipsearch.clip.encoder import Encoder as ClipEncoder

        def load(model: str | Path) -> Encoder:
            return ClipEncoder.load(
                model,
                cache_dir=settings.cache_dir,
                device=settings.device,
                precision=settings.precision,
                offline=settings.offline,
                on_progress=self._on_download,
            )

        settings = self.settings
        if record is None or self._wanted_model is not None:
            return load(self._wanted_model or settings.model)
        # A model that came from a file lies in the cache under its digest.
        converted = settings.cache_dir / "files" / record.sha256[:16]
        try:
            return load(converted if converted.is_dir() else record.name)
        except UnknownModel as error:
            raise ModelError(
                f"the library {self.path} was made with a model of your own, {record.name!r}: "
                "give its file or folder with --model"
            ) from error

    def _check_model(self) -> None:
        """Raise ModelMismatch if a model was asked for that is not the library's own."""
        record = self._opened().model()
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
        cache = ModelCache(self.settings.cache_dir, offline=True)
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

    def _pace(self) -> Pace:
        from clipsearch.images import MAX_PIXELS
        from clipsearch.indexer.pipeline import Pace

        settings = self.settings
        max_pixels = settings.max_pixels or MAX_PIXELS
        return Pace(settings.batch_size, settings.decode_threads, max_pixels)

    def _query(self, probe: Any) -> Query:
        """Any kind of probe as a Query. Raises QueryError."""
        if isinstance(probe, Query):
            return probe
        if isinstance(probe, str):
            return parse(probe)
        if isinstance(probe, Sequence):
            if all(isinstance(part, str) for part in probe):
                return parse(probe)
            return Query(tuple(self._probe(part) for part in probe))
        return Query((self._probe(probe),))

    def _probe(self, probe: Any) -> Probe:
        if isinstance(probe, TextProbe | ImageProbe | VectorProbe):
            return probe
        if isinstance(probe, str):
            parts = parse(probe).probes
            if len(parts) == 1:
                return parts[0]
            raise QueryError(f'"{probe}" is more than one probe: give them one by one')
        if isinstance(probe, Path):
            return ImageProbe(probe)
        if isinstance(probe, np.ndarray):
            return VectorProbe(probe)
        if hasattr(probe, "getexif"):  # a PIL image; asking Pillow would mean to import it
            return VectorProbe(image_vector(probe, self._loaded()))
        raise QueryError(
            f"a {type(probe).__name__} cannot be looked for: give words, a Path, a PIL image, "
            "a vector or a Query"
        )


def _record(encoder: Encoder) -> ModelRecord:
    from clipsearch.catalog import ModelRecord

    return ModelRecord(
        name=encoder.model_name,
        sha256=encoder.model_sha256,
        dimension=encoder.dimension,
        preprocessing=encoder.preprocess_info,
        activation=encoder.activation,
        dtype=encoder.precision,
    )
