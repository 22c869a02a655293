"""The filters as options of `query`: each means what its word means in the query itself.

In: what was typed. Out: one Filter, or an error that names the option.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from clipsearch.cli.options import given_value
from clipsearch.errors import QueryError
from clipsearch.filters import Filter, filter_of

SECTION = "Only pictures of this kind"


def option(*names: str, metavar: str, text: str, section: str = SECTION) -> Any:
    """An option whose value is a word of the language."""
    return typer.Option(
        *names,
        metavar=metavar,
        parser=given_value,
        help=text,
        show_default=False,
        rich_help_panel=section,
    )


def switch(name: str, text: str, section: str = SECTION) -> Any:
    """An option without a value."""
    return typer.Option(name, help=text, rich_help_panel=section)


FolderFilter = Annotated[
    list[str],
    option(
        "--in",
        metavar="FOLDER",
        text="Only pictures in folders of this name (trips, trips/2023), or below this place "
        "(./trips, /mnt/trips). Again: any of them.",
        section="Most used",
    ),
]
AfterFilter = Annotated[
    str | None, option("--after", metavar="DATE", text="Taken from then on: 2023, 2023-06, ...")
]
BeforeFilter = Annotated[
    str | None, option("--before", metavar="DATE", text="Taken sooner than that.")
]
YearFilter = Annotated[str | None, option("--year", metavar="YEAR", text="Taken in that year.")]
CameraFilter = Annotated[
    list[str], option("--camera", metavar="NAME", text="A part of its maker or model. Again: any.")
]
LensFilter = Annotated[
    list[str], option("--lens", metavar="NAME", text="A part of its name. Again: any.")
]
TypeFilter = Annotated[
    list[str], option("--type", metavar="TYPE", text="jpg, png, webp, ... Again: any.")
]
WidthFilter = Annotated[
    str | None, option("--min-width", metavar="PIXELS", text="At least so wide.")
]
HeightFilter = Annotated[
    str | None, option("--min-height", metavar="PIXELS", text="At least so high.")
]
LandscapeFilter = Annotated[bool, switch("--landscape", "Wider than high.")]
PortraitFilter = Annotated[bool, switch("--portrait", "Higher than wide.")]
NearFilter = Annotated[
    str | None,
    option("--near", metavar="LAT,LON,KM", text="Taken within so many kilometres of a place."),
]

# The word of the language by the name of the command's parameter.
_WORDS = {
    "folders": "in",
    "after": "after",
    "before": "before",
    "year": "year",
    "cameras": "camera",
    "lenses": "lens",
    "types": "type",
    "min_width": "min-width",
    "min_height": "min-height",
    "near": "near",
}


def given_filter(parameters: Mapping[str, Any]) -> Filter:
    """What the options ask for. Raises QueryError, which names the option."""
    chosen = Filter()
    for name, word in _WORDS.items():
        for value in _values(parameters[name]):
            chosen = _joined(chosen, word, value, f"--{word}")
    for shape in ("landscape", "portrait"):
        if parameters[shape]:
            chosen = _joined(chosen, "is", shape, f"--{shape}")
    return chosen


def _values(given: str | Sequence[str] | None) -> Sequence[str]:
    if given is None:
        return ()
    return (given,) if isinstance(given, str) else given


def _joined(chosen: Filter, word: str, value: str, option: str) -> Filter:
    try:
        return chosen.joined(filter_of(word, value))
    except QueryError as error:
        raise QueryError(f"{option}: {error}") from error
