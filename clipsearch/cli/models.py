"""`clipsearch models`: what can be loaded, what it costs, and what is already here."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clipsearch.cli import render
from clipsearch.cli.options import ExitCode, JsonOption, VocabOption, given_path, given_text
from clipsearch.paths import path_fields, path_text

if TYPE_CHECKING:
    from clipsearch.clip.registry import ModelInfo

TITLES = ("model", "here", "size", "input", "vector", "GFLOPs", "IN-1k", "COCO", "what it is")

models = typer.Typer()

NameArgument = Annotated[
    str, typer.Argument(metavar="NAME", parser=given_text, help="A name that `models` lists.")
]


@models.callback(invoke_without_command=True)
def list_all(context: typer.Context, as_json: JsonOption = False) -> int:
    """List the models known by name: cost, quality, what is here.

    GFLOPs is the work for one picture. IN-1k and COCO are per cent: ImageNet pictures named rightly
    without training, and captions whose first hit among 5,000 COCO pictures is their own.
    """
    if context.invoked_subcommand is not None:
        return ExitCode.DONE
    from clipsearch.clip.registry import list_models
    from clipsearch.settings import Settings

    found = list_models(Settings.load().cache_dir)
    if as_json:
        render.json_object({"models": [asdict(model) for model in found]})
        return ExitCode.DONE
    render.table(TITLES, [row(model) for model in found])
    return ExitCode.DONE


@models.command()
def download(name: NameArgument, as_json: JsonOption = False) -> int:
    """Fetch a model now, so that it is here when it is needed."""
    from clipsearch.clip.cache import ModelCache
    from clipsearch.clip.models import download_model
    from clipsearch.settings import Settings

    cache = ModelCache.of(Settings.load(), render.DownloadLines())
    tell(as_json, "model", download_model(name, cache), "the model is in")
    return ExitCode.DONE


@models.command()
def convert(
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", parser=given_path, help="Weights of any supported kind."),
    ],
    to: Annotated[
        Path,
        typer.Option("--to", metavar="DIR", parser=given_path, help="A folder that is new."),
    ],
    vocab: VocabOption = None,
    as_json: JsonOption = False,
) -> int:
    """Make a folder that --model takes of a weights file."""
    from clipsearch.clip.cache import ModelCache
    from clipsearch.clip.convert import convert_file
    from clipsearch.settings import Settings

    cache = ModelCache.of(Settings.load(vocab=vocab), render.DownloadLines())
    convert_file(file, to, cache=cache)
    tell(as_json, "model", to.absolute(), "the model is in")
    return ExitCode.DONE


@models.command()
def remove(name: NameArgument, as_json: JsonOption = False) -> int:
    """Delete a downloaded model, or what has arrived of it."""
    from clipsearch.clip.cache import ModelCache
    from clipsearch.clip.models import remove_model
    from clipsearch.settings import Settings

    n_bytes = remove_model(name, ModelCache.of(Settings.load()))
    if as_json:
        render.json_object({"removed": name, "bytes": n_bytes})
    else:
        render.text(f"{name} is gone, {render.size(n_bytes)} are free again")
    return ExitCode.DONE


def tell(as_json: bool, key: str, folder: Path, message: str) -> None:
    if as_json:
        render.json_object({key: path_fields(folder)})
    else:
        render.text(f"{message} {path_text(folder)}")


def row(model: ModelInfo) -> tuple[str, ...]:
    quality = model.quality
    remarks = [model.description, model.licence]
    if model.url is not None and model.sha256 is None:
        remarks.append("no SHA-256 published: believed the first time")
    if model.is_default:
        remarks.append("the default")
    return (
        model.name,
        "yes" if model.is_downloaded else "no",
        render.size(model.size_bytes),
        f"{model.input_px} px",
        str(model.dimension),
        "-" if model.gflops is None else f"{model.gflops:.1f}",
        "-" if quality is None else f"{quality.imagenet:.1f}",
        "-" if quality is None else f"{quality.coco_by_words:.1f}",
        "; ".join(remarks),
    )
