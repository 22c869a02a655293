"""Find images by words or by example. Names are loaded when they are first used, so that importing
clipsearch imports neither torch nor FAISS nor Pillow."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clipsearch import clip
    from clipsearch.errors import ClipsearchError
    from clipsearch.filters import Filter, Near
    from clipsearch.indexer.report import IndexReport, Progress, SkippedFile
    from clipsearch.library import Library
    from clipsearch.probes import (
        ImageProbe,
        IndexedProbe,
        Query,
        SavedProbe,
        TextProbe,
        UrlProbe,
        VectorProbe,
    )
    from clipsearch.query.hits import Hit, Hits
    from clipsearch.query.status import Status
    from clipsearch.settings import Settings

    __version__: str

__all__ = [
    "ClipsearchError",
    "Filter",
    "Hit",
    "Hits",
    "ImageProbe",
    "IndexReport",
    "IndexedProbe",
    "Library",
    "Near",
    "Progress",
    "Query",
    "SavedProbe",
    "Settings",
    "SkippedFile",
    "Status",
    "TextProbe",
    "UrlProbe",
    "VectorProbe",
    "__version__",
    "clip",
]

_HOMES = {
    "ClipsearchError": "errors",
    "Filter": "filters",
    "Hit": "query.hits",
    "Hits": "query.hits",
    "ImageProbe": "probes",
    "IndexReport": "indexer.report",
    "IndexedProbe": "probes",
    "Library": "library",
    "Near": "filters",
    "Progress": "indexer.report",
    "Query": "probes",
    "SavedProbe": "probes",
    "Settings": "settings",
    "SkippedFile": "indexer.report",
    "Status": "query.status",
    "TextProbe": "probes",
    "UrlProbe": "probes",
    "VectorProbe": "probes",
}


def __getattr__(name: str) -> Any:
    if name == "clip":
        return import_module("clipsearch.clip")
    if name == "__version__":
        from importlib.metadata import version

        return version("clipsearch")
    if name in _HOMES:
        return getattr(import_module(f"clipsearch.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'clipsearch' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
