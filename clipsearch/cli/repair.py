"""`clipsearch repair`, `clipsearch backup`: make a library sound, and copy it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from clipsearch.cli import render
from clipsearch.cli.options import ExitCode, JsonOption, LibraryOption, WaitOption, given_path
from clipsearch.paths import path_fields, printable


def repair(
    wait: WaitOption = False, library: LibraryOption = None, as_json: JsonOption = False
) -> int:
    """Make the library sound again.

    What is taken out goes to the folder quarantine inside the library; nothing is deleted.
    """
    from clipsearch.library import Library

    waiting = render.waiting if wait else None
    with Library(library) as opened:
        done = opened.repair(on_progress=render.StageLines(), on_wait=waiting)
    if as_json:
        render.json_object(done.to_dict())
    else:
        for action in done.actions or ("nothing to repair",):
            render.text(printable(action))
    if done.needs_index:
        render.note(
            "run clipsearch index with your folders now, with --model if it was not the default: "
            "it encodes again what is missing"
        )
    return ExitCode.DONE


def backup(
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", parser=given_path, help="Where to put the copy."),
    ],
    force: Annotated[
        bool, typer.Option("--force", help="Write over a file that is there already.")
    ] = False,
    library: LibraryOption = None,
    as_json: JsonOption = False,
) -> int:
    """Copy the library to one file, even while it is being indexed.

    To restore it, put the copy into an empty folder as catalog.sqlite3.
    """
    from clipsearch.library import Library

    with Library(library) as opened:
        done = opened.backup(file, force=force, on_progress=render.StageLines())
    if as_json:
        fields = done.to_dict() | path_fields(done.path)
        render.json_object(fields)
    else:
        counts = f"{done.n_images:,} images, {done.n_vectors:,} vectors"
        name = printable(str(done.path))
        render.text(f"{name}: {counts}, {render.size(done.n_bytes)} in {done.seconds:.1f} s")
    return ExitCode.DONE
