"""`clipsearch forget`: take files out of the library for good."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from clipsearch.cli import render
from clipsearch.cli.opening import open_library
from clipsearch.cli.options import ExitCode, JsonOption, LibraryOption, WaitOption, given_path
from clipsearch.paths import path_fields


def forget(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="PATH",
            parser=given_path,
            help="Files, or folders with all that is below; they need not exist any more.",
            show_default=False,
        ),
    ] = None,
    missing: Annotated[
        bool, typer.Option("--missing", help="Only files that are missing; without PATH all those.")
    ] = False,
    wait: WaitOption = False,
    library: LibraryOption = None,
    as_json: JsonOption = False,
) -> int:
    """Take files out of the library for good.

    The files themselves are not touched; one that is still there is new to the next index.
    """
    if not (paths or missing):
        raise typer.BadParameter("name what to forget: PATH, or --missing")
    with open_library(library) as opened:
        waiting = render.waiting if wait else None
        done = opened.forget(*(paths or ()), only_missing=missing, on_wait=waiting)
    if as_json:
        not_found = [path_fields(path) for path in done.not_found]
        render.json_object({"forgotten": done.n_files, "not_found": not_found})
    else:
        render.text(f"{done.n_files:,} forgotten")
    for message in done.notes:
        render.note(message)
    for path in done.not_found:
        render.note(f"the library has nothing{' missing' if missing else ''} at {path}")
    return ExitCode.DONE if done.n_files else ExitCode.NOTHING_FOUND
