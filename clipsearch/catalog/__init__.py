"""The catalog: every folder, image and vector of a library, in one SQLite file: the truth."""

from __future__ import annotations

from clipsearch.catalog.batch import Batch, FileTimes, ImageChanges, ImageDetails
from clipsearch.catalog.catalog import Catalog
from clipsearch.catalog.reads import CatalogReads, Snapshot
from clipsearch.catalog.records import (
    Counts,
    Failure,
    FolderRecord,
    ImageRecord,
    ImageState,
    ModelRecord,
    VectorBatch,
)

__all__ = [
    "Batch",
    "Catalog",
    "CatalogReads",
    "Counts",
    "Failure",
    "FileTimes",
    "FolderRecord",
    "ImageChanges",
    "ImageDetails",
    "ImageRecord",
    "ImageState",
    "ModelRecord",
    "Snapshot",
    "VectorBatch",
]
