"""`clipsearch models`: what can be loaded, and what is already here."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from clipsearch.cli import render
from clipsearch.cli.options import ExitCode, JsonOption

if TYPE_CHECKING:
    from clipsearch.clip.registry import ModelInfo

TITLES = ("model", "here", "size", "input", "vector", "what it is")


def models(as_json: JsonOption = False) -> int:
    """List the models known by name, and which are here."""
    from clipsearch.clip.registry import list_models
    from clipsearch.settings import Settings

    found = list_models(Settings.load().cache_dir)
    if as_json:
        render.json_object({"models": [asdict(model) for model in found]})
    else:
        render.table(TITLES, [row(model) for model in found])
    return ExitCode.DONE


def row(model: ModelInfo) -> tuple[str, ...]:
    return (
        model.name,
        "yes" if model.is_downloaded else "no",
        render.size(model.size_bytes),
        f"{model.input_px} px",
        str(model.dimension),
        f"{model.description} (default)" if model.is_default else model.description,
    )
