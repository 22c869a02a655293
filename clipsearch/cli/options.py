"""What the commands share: the options that all of them take, and the exit codes.

The commands import `Library` inside their functions: `--help` loads neither torch nor FAISS.
"""

from __future__ import annotations

import re
from enum import IntEnum
from pathlib import Path
from typing import Annotated

import typer


def given_path(text: str | Path) -> Path:
    """Read a path from the command line, or a default. An empty one would be the working folder."""
    return Path(given_text(str(text)))


def given_text(text: str) -> str:
    """Refuse an empty argument: it is what a shell makes of a variable that is not set."""
    if not text.strip():
        raise typer.BadParameter("it is empty, as a variable that is not set would be")
    return text


def given_value(text: str) -> str:
    """Refuse what looks like the next option, because this one's value was forgotten."""
    if re.fullmatch(r"--?[A-Za-z][A-Za-z-]*", given_text(text)):
        raise typer.BadParameter(f'"{text}" is an option, and no value')
    return text


def given_sheet(text: str | Path) -> Path:
    """Read the name of a contact sheet; its ending says which kind is wanted."""
    file = Path(given_value(str(text)))
    if file.suffix.lower() not in (".html", ".htm", ".png"):
        raise typer.BadParameter(f'"{file}" must end in .html or .png')
    return file


def whole_number(text: str) -> int:
    """Read a whole number from the command line."""
    try:
        return int(text)
    except ValueError:
        raise typer.BadParameter(f'"{text}" is no whole number') from None


def given_share(text: str) -> float:
    """Read a share such as 5% or 0.05: above 0, at most all."""
    number = text.strip().removesuffix("%")
    try:
        share = float(number) / (100 if text.strip().endswith("%") else 1)
    except ValueError:
        share = -1.0
    if not 0 < share <= 1:
        raise typer.BadParameter(f'"{text}" is no share: say 5%, 100% or 0.05')
    return share


LibraryOption = Annotated[
    Path | None,
    typer.Option(
        "--library",
        "-L",
        metavar="DIR",
        parser=given_path,
        help="The library's folder. Else CLIPSEARCH_LIBRARY, else the nearest .clipsearch folder "
        "upward, else your default library.",
        show_default=False,
    ),
]
ModelOption = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="NAME|PATH",
        parser=given_text,
        help="The model, by name or path. Else the library's own, or ViT-B/32 for a new library.",
        show_default=False,
    ),
]
VocabOption = Annotated[
    Path | None,
    typer.Option(
        "--vocab",
        metavar="FILE",
        parser=given_path,
        help="The merges of a model of your own, if they do not lie beside its weights.",
        show_default=False,
    ),
]
WaitOption = Annotated[
    bool,
    typer.Option("--wait", help="Wait for another process that is writing, instead of stopping."),
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="One JSON object on standard output, with stable keys.")
]


class ExitCode(IntEnum):
    """What the command line ends with. Errors carry their own: 2, and 10 and 11 (see errors.py)."""

    DONE = 0
    NOTHING_FOUND = 1
    UNSOUND = 1  # what `check` ends with when it found something
    ERROR = 2
    SOME_SKIPPED = 3
    HUNG_UP = 129  # 128 + SIGHUP, as a shell reports it
    INTERRUPTED = 130  # 128 + SIGINT
    OUTPUT_CLOSED = 141  # 128 + SIGPIPE
    TERMINATED = 143  # 128 + SIGTERM
