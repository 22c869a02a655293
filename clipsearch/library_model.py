"""Which model a library uses: chosen, loaded once, held against the one that its vectors are of.

In: settings, what the user asked for, the library's record. Out: an encoder, or ModelMismatch.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from clipsearch.errors import ModelError, ModelMismatch, ModelUnavailable, UnknownModel
from clipsearch.indexer.encoder import Encoder, fits
from clipsearch.settings import Settings

if TYPE_CHECKING:
    from clipsearch.catalog import ModelRecord
    from clipsearch.clip.transfer import Download

OnDownload = Callable[["Download"], None]


class LibraryModel:
    """The model of the library at `path`. Threads may share it; each encoder is loaded once.

    `wanted` is a name, file or folder; `given` is an encoder to be used instead of loading one.
    The library's `record` comes with every question, because another process may change it.
    """

    def __init__(
        self,
        path: Path,
        settings: Settings,
        wanted: str | Path | None,
        given: Encoder | None,
        on_download: OnDownload | None,
    ) -> None:
        self.path = path
        self.settings = settings
        self.wanted = wanted
        self.given = given
        self._on_download = on_download
        self._folder: Path | None = None  # of the wanted model, where it was looked for
        self._encoders: dict[bool, Encoder] = {}  # by whether it is the one in numpy
        self._loading = threading.Lock()  # threads that come together share one of each

    @property
    def is_chosen(self) -> bool:
        """Whether a model was asked for, whatever the library's is."""
        return self.wanted is not None or self.given is not None

    def here(self, model: str | Path | Encoder) -> Encoder | None:
        """That model, if nothing has to be fetched for it."""
        if not isinstance(model, str | Path):
            return model
        try:
            return self.load(model, offline=True)
        except ModelUnavailable:
            return None

    def name(self, record: ModelRecord | None) -> str:
        """The library's model, or the one that a new library will get."""
        if record is not None:
            return record.name
        if self.given is not None:
            return self.given.model_name
        return str(self.wanted or self.settings.model)

    def loaded(self, record: ModelRecord | None, *, for_probes: bool = False) -> Encoder:
        """The encoder; for probes the one in numpy, unless the settings ask for more than it can.

        That one even if torch's is here, so that a question has one answer, to the last digit.
        Raises ModelMismatch if it is not the library's, and the errors of loading.
        """
        from clipsearch.clip.lite import is_lite_enough

        lite = for_probes and is_lite_enough(self.settings.device, self.settings.precision)
        with self._loading:
            # Another process may have changed the library's model since this one was loaded.
            if lite not in self._encoders or not fits(self._encoders[lite], record):
                encoder = self.given or self._load_for(record, lite)
                if record is not None and not fits(encoder, record):
                    raise self._mismatch(record, encoder.model_name)
                self._encoders[lite] = encoder
            return self._encoders[lite]

    def load(self, model: str | Path, lite: bool = False, offline: bool = False) -> Encoder:
        """An encoder of any model, whatever the library's is. Raises the errors of loading."""
        from clipsearch.clip.cache import ModelCache
        from clipsearch.clip.lite import encoder_class

        settings = replace(self.settings, offline=offline or self.settings.offline)
        return encoder_class(lite).load(
            model,
            cache=ModelCache.of(settings, self._on_download),
            device=settings.device,
            precision=settings.precision,
        )

    def check(self, record: ModelRecord) -> None:
        """Raise ModelMismatch if a model was asked for that is not the library's own."""
        if self.given is not None:
            self.loaded(record)
        elif self.wanted is not None and str(self.wanted) != record.name:
            self._check_file(self.wanted, record)

    def become(self, encoder: Encoder, *, given: bool) -> None:
        """Go on with this encoder: the library has made its model its own."""
        with self._loading:
            self._encoders, self.wanted, self._folder = {False: encoder}, None, None
            self.given = encoder if given else None

    def rest(self) -> None:
        """Give back the memory of what was read for probes, where that is mapped."""
        rest = getattr(self._encoders.get(True), "rest", None)
        if rest is not None:
            rest()

    def forget(self) -> None:
        """Let go of what was loaded."""
        self._encoders = {}

    def _load_for(self, record: ModelRecord | None, lite: bool) -> Encoder:
        if record is None or self.wanted is not None:
            # Once is enough: a file of weights is known by all of its bytes.
            return self.load(self._folder or self.wanted or self.settings.model, lite)
        try:
            return self.load(_bundle_of(record) or record.name, lite)
        except UnknownModel as error:
            raise ModelError(
                f"the library {self.path} was made with a model of your own, {record.name!r}: "
                "give its file or folder with --model"
            ) from error

    def _check_file(self, model: str | Path, record: ModelRecord) -> None:
        from clipsearch.clip.cache import ModelCache
        from clipsearch.clip.manifest import read_manifest
        from clipsearch.clip.models import find_model

        cache = replace(ModelCache.of(self.settings), offline=True)
        try:
            self._folder = find_model(model, cache)
        except ModelUnavailable:  # so it cannot be the model that made this library
            raise self._mismatch(record, str(model)) from None
        wanted = read_manifest(self._folder)
        if wanted.source_sha256 != record.sha256:
            raise self._mismatch(record, wanted.name)

    def _mismatch(self, record: ModelRecord, other: str) -> ModelMismatch:
        same = " (another model of that name)" if other == record.name else ""
        return ModelMismatch(
            f"the library {self.path} holds vectors of the model {record.name!r}, not {other!r}"
            f"{same}: leave the model out, or name another library"
        )


def _bundle_of(record: ModelRecord) -> Path | None:
    """Where the library's model was, if it is still there."""
    from clipsearch.clip.manifest import is_bundle, read_manifest

    if record.bundle_path is None:
        return None
    folder = Path(os.fsdecode(record.bundle_path))
    is_there = is_bundle(folder) and read_manifest(folder).source_sha256 == record.sha256
    return folder if is_there else None
