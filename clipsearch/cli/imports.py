"""`clipsearch import`: take in embeddings that another program made."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from clipsearch.cli import render
from clipsearch.cli.opening import open_library
from clipsearch.cli.options import (
    ExitCode,
    JsonOption,
    LibraryOption,
    WaitOption,
    given_path,
    given_text,
)
from clipsearch.errors import ClipsearchError


def take_in(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="DIR",
            parser=given_path,
            help="NAME.npy with NAME.txt or NAME.json, or clip-retrieval's img_emb and metadata.",
        ),
    ],
    model: Annotated[
        str,
        typer.Option(
            "--model",
            metavar="NAME|PATH",
            parser=given_text,
            help="The model that made the embeddings.",
        ),
    ],
    root: Annotated[
        Path | None,
        typer.Option(
            "--root",
            metavar="DIR",
            parser=given_path,
            help="The folder that relative paths start at.",
            show_default=False,
        ),
    ] = None,
    wait: WaitOption = False,
    library: LibraryOption = None,
    as_json: JsonOption = False,
) -> int:
    """Take in embeddings made elsewhere. The pictures themselves need not be there.

    Pictures that the library has encoded itself stay as they are.
    """
    with open_library(library, model, create=True) as opened, render.progress() as show:
        report = opened.import_folder(
            folder, root=root, on_progress=show, on_wait=render.waiting if wait else None
        )
        with suppress(ClipsearchError):  # what was taken in is; the first question will tell
            opened.get_ready()
    if as_json:
        render.json_object(report.to_dict())
    else:
        counts = {"added": report.added, "updated": report.updated, "known": report.known}
        parts = [f"{n:,} {what}" for what, n in counts.items() if n]
        render.text(", ".join(parts) or "no vectors found")
    for message in report.notes:
        render.note(message)
    return ExitCode.DONE
