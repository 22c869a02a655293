"""`clipsearch queries`: the queries that were saved under a name."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from clipsearch.cli import render
from clipsearch.cli.opening import open_library
from clipsearch.cli.options import ExitCode, JsonOption, LibraryOption, given_text


def queries(
    remove: Annotated[
        str | None,
        typer.Option(
            "--remove",
            metavar="NAME",
            parser=given_text,
            help="Forget the query of this name.",
            show_default=False,
        ),
    ] = None,
    library: LibraryOption = None,
    as_json: JsonOption = False,
) -> int:
    """List the saved queries.

    query --save NAME makes one, query @NAME asks it.
    """
    with open_library(library) as opened:
        if remove is not None:
            opened.remove_query(remove.removeprefix("@"))
        saved = opened.saved_queries()
    if as_json:
        render.json_object({"queries": [asdict(each) for each in saved]})
    elif saved:
        render.table(("name", "query"), [(f"@{each.name}", each.text) for each in saved])
    elif remove is None:
        render.note('no query is saved: clipsearch query "a beach" --save beach saves one')
    return ExitCode.DONE
