"""CLIP. The public names are those of the reference package: available_models, load, tokenize.

They are imported on first use, because torch takes more than a second to import.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clipsearch.clip.reference import available_models, load, tokenize

__all__ = ["available_models", "load", "tokenize"]


def __getattr__(name: str) -> Any:
    if name == "model":  # which the reference package has imported from the start
        return import_module("clipsearch.clip.model")
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from clipsearch.clip import reference

    return getattr(reference, name)


def __dir__() -> list[str]:
    return __all__
