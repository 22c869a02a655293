"""`clipsearch index`: bring the library up to date with some folders."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clipsearch.cli import render
from clipsearch.cli.opening import open_library
from clipsearch.cli.options import (
    ExitCode,
    JsonOption,
    LibraryOption,
    ModelOption,
    VocabOption,
    WaitOption,
    given_path,
)
from clipsearch.errors import ClipsearchError, ModelMismatch
from clipsearch.paths import path_fields

if TYPE_CHECKING:
    from clipsearch.indexer.reencode import ReindexCost
    from clipsearch.library import IndexReport, Library

COUNTS = ("added", "updated", "moved", "returned", "missing", "unchanged")
RecipeOption = Annotated[
    str | None,
    typer.Option(
        "--index",
        metavar="RECIPE",
        help="How vectors are searched from now on: auto, exact or ivf-rabitq.",
        show_default=False,
    ),
]
N_SHOWN = 10  # skipped files named on standard error; --json has them all


def index(
    folders: Annotated[
        list[Path],
        typer.Argument(
            metavar="PATH", parser=given_path, help="Folders with pictures, searched deep."
        ),
    ],
    confirmed: Annotated[
        bool, typer.Option("--yes", help="A folder may have lost most of its files; they are gone.")
    ] = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Read every file again, however unchanged it looks.")
    ] = False,
    reindex: Annotated[
        bool,
        typer.Option("--reindex", help="Encode the whole library anew, with the --model given."),
    ] = False,
    recipe: RecipeOption = None,
    wait: WaitOption = False,
    library: LibraryOption = None,
    model: ModelOption = None,
    vocab: VocabOption = None,
    as_json: JsonOption = False,
) -> int:
    """Bring the library up to date with these folders.

    Creates the library if there is none yet. What has not changed is not read again.
    """
    if reindex and recipe is not None:
        raise typer.BadParameter("--index goes without --reindex: give it the next time")
    if reindex and model is None:
        raise typer.BadParameter("--reindex needs the new model: add --model NAME|FILE")
    if reindex and verify:
        raise typer.BadParameter("--verify goes with the library's own model: leave out --reindex")
    with (
        opened_or_priced(library, None if reindex else model, vocab) as opened,
        render.progress() as show,
    ):
        how: dict[str, Any] = {
            "on_progress": show,
            "allow_missing": confirmed,
            "on_wait": render.waiting if wait else None,
        }
        if reindex and model is not None:
            report = opened.reindex(model, *folders, **how)
        else:
            report = opened.index(*folders, verify=verify, index_recipe=recipe, **how)
        with suppress(ClipsearchError):  # what was indexed is; the first question will tell
            opened.get_ready()
    if as_json:
        render.json_object(to_json(report))
    else:
        render.text(summary(report))
    name_skipped(report)
    for message in report.notes:
        render.note(message)
    return ExitCode.SOME_SKIPPED if report.skipped else ExitCode.DONE


def opened_or_priced(path: Path | None, model: str | None, vocab: Path | None) -> Library:
    """Open or create a library. Where it has another model, the error says what a change costs."""
    try:
        return open_library(path, model, vocab, create=True)
    except ModelMismatch as error:
        if model is None:
            raise
        with open_library(path, vocab=vocab) as opened:
            told = costs(opened.reindex_cost(model))
        raise ModelMismatch(f"{error}; or {told}") from error


def costs(cost: ReindexCost) -> str:
    """Say what another model for a library takes."""
    work = f"encode its {cost.n_images:,} pictures ({render.size(cost.n_bytes)}) anew"
    if cost.seconds is None:
        return f"{work}, once the model is on this machine, by adding --reindex"
    estimate = render.duration(max(cost.seconds, 1))
    return f"{work}, in about {estimate} on this machine, by adding --reindex"


def to_json(report: IndexReport) -> dict[str, Any]:
    counts: dict[str, Any] = {name: getattr(report, name) for name in COUNTS}
    return counts | {
        "skipped": [
            path_fields(file.path) | {"reason": render.reason(file)} for file in report.skipped
        ],
        "notes": list(report.notes),
        "seconds": round(report.seconds, 3),
        "images_per_second": round(report.images_per_second, 3),
    }


def summary(report: IndexReport) -> str:
    """Say in one line what was done, leaving out what did not happen."""
    happened = [(name, getattr(report, name)) for name in COUNTS]
    happened.append(("skipped", len(report.skipped)))
    parts = [f"{count:,} {name}" for name, count in happened if count] or ["no pictures found"]
    pace = f", {report.images_per_second:.1f} images/s" if report.images_per_second else ""
    return f"{', '.join(parts)} in {report.seconds:.1f} s{pace}"


def name_skipped(report: IndexReport) -> None:
    for file in report.skipped[:N_SHOWN]:
        render.note(f"skipped {file.path}: {render.reason(file)}")
    if len(report.skipped) > N_SHOWN:
        render.note(f"and {len(report.skipped) - N_SHOWN:,} more: see clipsearch errors, or --json")
