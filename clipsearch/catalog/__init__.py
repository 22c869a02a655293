"""The catalog: every folder, image and vector of a library, in one SQLite file: the truth.

Names are loaded when they are first used: what a query needs must not wait for SQLAlchemy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clipsearch.catalog.batch import Batch, FileTimes, ImageChanges, ImageDetails
    from clipsearch.catalog.catalog import Catalog
    from clipsearch.catalog.quick import QuickCatalog
    from clipsearch.catalog.reads import CatalogReads, Snapshot
    from clipsearch.catalog.records import (
        Counts,
        Failure,
        FolderRecord,
        ImageRecord,
        ImageState,
        ModelRecord,
        SavedQuery,
        VectorBatch,
        VectorSample,
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
    "QuickCatalog",
    "SavedQuery",
    "Snapshot",
    "VectorBatch",
    "VectorSample",
]

_HOMES = {
    "Batch": "batch",
    "Catalog": "catalog",
    "CatalogReads": "reads",
    "Counts": "records",
    "Failure": "records",
    "FileTimes": "batch",
    "FolderRecord": "records",
    "ImageChanges": "batch",
    "ImageDetails": "batch",
    "ImageRecord": "records",
    "ImageState": "records",
    "ModelRecord": "records",
    "QuickCatalog": "quick",
    "SavedQuery": "records",
    "Snapshot": "reads",
    "VectorBatch": "records",
    "VectorSample": "records",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"clipsearch.catalog.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'clipsearch.catalog' has no attribute {name!r}")
