"""`clipsearch query`: find pictures by words or by a picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clipsearch.cli import render
from clipsearch.cli.opening import open_library
from clipsearch.cli.options import (
    ExitCode,
    JsonOption,
    LibraryOption,
    ModelOption,
    VocabOption,
    given_path,
    whole_number,
)
from clipsearch.errors import QueryError
from clipsearch.probes import ImageProbe, Query, parse

if TYPE_CHECKING:
    from clipsearch.library import Hit


def query(
    probe: Annotated[
        list[str],
        typer.Argument(metavar="PROBE", help="Words, or a picture: ./cat.jpg", show_default=False),
    ],
    k: Annotated[
        int, typer.Option("-k", metavar="NUMBER", parser=whole_number, help="How many hits.")
    ] = 10,
    paths: Annotated[bool, typer.Option("--paths", help="Only the paths, one on a line.")] = False,
    nul: Annotated[
        bool, typer.Option("-0", help="Only the paths, each ended by a NUL, for xargs -0.")
    ] = False,
    sheet: Annotated[
        Path | None,
        typer.Option(
            "--sheet",
            metavar="FILE.html",
            parser=given_path,
            help="Also write a page with the pictures.",
        ),
    ] = None,
    exact: Annotated[
        bool, typer.Option("--exact", help="Look at every vector, however many there are.")
    ] = False,
    library: LibraryOption = None,
    model: ModelOption = None,
    vocab: VocabOption = None,
    as_json: JsonOption = False,
) -> int:
    """Find pictures by words or by example, best first.

    Scores are cosines. Join probes by + and -, weigh them by 2: in front.
    """
    if k < 1:
        raise QueryError(f"-k {k} asks for no hits: give 1 or more")
    parsed, words = parse(probe), " ".join(probe)
    with open_library(library, model, vocab) as opened:
        found = opened.query(parsed, k=k, exact=exact)
        name = opened.model_name
    if as_json:
        hits = [render.hit_fields(hit) for hit in found]
        render.json_object({"query": words, "model": name, "hits": hits})
    elif paths or nul:
        render.paths(found, end=b"\0" if nul else b"\n")
    else:
        render.hits(found)
    if sheet is not None:
        write_sheet(sheet, parsed, found)
    if not found:
        render.note(f"nothing found for {words!r}")
    return ExitCode.DONE if found else ExitCode.NOTHING_FOUND


def write_sheet(file: Path, query: Query, found: list[Hit]) -> None:
    from clipsearch.cli.sheet import SheetQuery, save_sheet, sheet_html

    first, *others = query.probes
    probe: str | Path = query.text
    if isinstance(first, ImageProbe) and not others:
        probe = first.path.expanduser()
    page = sheet_html("clipsearch", "", [SheetQuery.of(probe, found)])
    save_sheet(file, page)
    render.note(f"contact sheet: {file}")
