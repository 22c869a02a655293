"""How every command opens its library, and says what it fetches for it.

In: the options of the command line. Out: a Library.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from clipsearch.cli import render

if TYPE_CHECKING:
    from clipsearch.library import Library


def open_library(
    path: Path | None, model: str | None = None, vocab: Path | None = None, *, create: bool = False
) -> Library:
    """Open a library; where there is none, make one or raise NoLibrary."""
    from clipsearch.library import Library
    from clipsearch.settings import Settings

    return Library(
        path,
        model=model,
        create=create,
        settings=Settings.load(vocab=vocab),
        on_download=render.DownloadLines(),
    )
