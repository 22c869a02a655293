"""What `query` can be told besides filters: examples, which hits, and how they are shown."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from clipsearch.cli.filter_options import option, switch
from clipsearch.cli.options import given_sheet, given_value, whole_number

FIRST, MORE, WHICH, SHOWN = (
    "Most used",
    "What else to look for",
    "Which hits",
    "What to do with them",
)


def given_number(text: str) -> float:
    """Read a number from the command line."""
    try:
        return float(text)
    except ValueError:
        raise typer.BadParameter(f'"{text}" is no number') from None


def given_place(text: str) -> Path:
    """Read the name of a folder to write to."""
    return Path(given_value(text))


def number(*names: str, text: str, section: str, parser: Any = whole_number) -> Any:
    """An option whose value is a number."""
    return typer.Option(*names, metavar="NUMBER", parser=parser, help=text, rich_help_panel=section)


def place(
    name: str, metavar: str, text: str, section: str = SHOWN, parser: Any = given_place
) -> Any:
    """An option whose value is a file or a folder to write to."""
    return typer.Option(
        name, metavar=metavar, parser=parser, help=text, show_default=False, rich_help_panel=section
    )


HitCount = Annotated[int, number("-k", text="How many hits.", section=FIRST)]
PathsOption = Annotated[bool, switch("--paths", "Only the paths, one on a line.", FIRST)]
PreviewOption = Annotated[bool, switch("--preview", "Show the pictures in the terminal.", FIRST)]
SheetOption = Annotated[
    Path | None,
    place(
        "--sheet",
        "FILE",
        "Also write a page (.html) or a picture (.png) with all hits.",
        FIRST,
        given_sheet,
    ),
]
LikeOption = Annotated[
    list[int],
    number("--like", text="More like this picture, by its id (--json shows it).", section=MORE),
]
UnlikeOption = Annotated[
    list[int], number("--unlike", text="Less like this picture.", section=MORE)
]
TemplateOption = Annotated[
    list[str],
    option(
        "--template",
        metavar="TEXT",
        text='Put the words in the place of {}: "a photo of a {}". Again: the mean of all.',
        section=MORE,
    ),
]
SaveOption = Annotated[
    str | None,
    option("--save", metavar="NAME", text="Keep the query, to be asked as @NAME.", section=MORE),
]
AllOption = Annotated[bool, switch("--all", "The best -k, also where nothing stands out.", WHICH)]
MinScoreOption = Annotated[
    float | None,
    number(
        "--min-score",
        text="Whatever has at least this score, whether it stands out or not.",
        section=WHICH,
        parser=given_number,
    ),
]
SortOption = Annotated[
    str,
    option(
        "--sort",
        metavar="ORDER",
        text="Of these: score (the default), date or path.",
        section=WHICH,
    ),
]
OffsetOption = Annotated[
    int, number("--offset", text="Pass over so many of the best.", section=WHICH)
]
ExactOption = Annotated[
    bool, switch("--exact", "Look at every vector, however many there are.", WHICH)
]
NulOption = Annotated[
    bool, switch("-0", "Only the paths, each ended by a NUL, for xargs -0.", SHOWN)
]
JsonOption = Annotated[
    bool, switch("--json", "One JSON object on standard output, with stable keys.", SHOWN)
]
JsonLinesOption = Annotated[
    bool, switch("--jsonl", "One JSON object a hit, each on a line.", SHOWN)
]
OpenOption = Annotated[
    bool, switch("--open", "Open the best hit, or the sheet, with the desktop's viewer.", SHOWN)
]
CopyOption = Annotated[
    Path | None, place("--copy-to", "DIR", "Copy the pictures there; nothing is overwritten.")
]
LinkOption = Annotated[Path | None, place("--link-to", "DIR", "Make links to the pictures there.")]
