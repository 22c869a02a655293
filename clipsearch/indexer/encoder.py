"""What a library needs of a model, and the record of it that the catalog keeps."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from clipsearch.query.vector import ProbeEncoder

if TYPE_CHECKING:
    from clipsearch.catalog import ModelRecord


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
    @property
    def folder(self) -> Path | None:
        """Where the model lies, if it lies anywhere."""


def record_of(encoder: Encoder) -> ModelRecord:
    """The record of a model, which the catalog has not numbered yet."""
    from clipsearch.catalog import ModelRecord

    return ModelRecord(
        name=encoder.model_name,
        sha256=encoder.model_sha256,
        dimension=encoder.dimension,
        preprocessing=encoder.preprocess_info,
        activation=encoder.activation,
        dtype=encoder.precision,
        bundle_path=None if encoder.folder is None else os.fsencode(encoder.folder),
    )


def fits(encoder: Encoder, record: ModelRecord | None) -> bool:
    """Whether a model makes the vectors of a library whose model is `record`, if it has one."""
    return record is None or record_of(encoder).fingerprint == record.fingerprint
