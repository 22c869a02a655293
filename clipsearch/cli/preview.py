"""Hits as pictures in the terminal, one below the other.

In: hits. Out: what the terminal makes pictures of. A file that has vanished is shown by its name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from clipsearch.cli import render
from clipsearch.cli.terminal import Way, announces_sixel, way_of_showing
from clipsearch.errors import ClipsearchError, ImageError
from clipsearch.paths import printable
from clipsearch.query.hits import score_cells
from clipsearch.settings import surroundings

if TYPE_CHECKING:
    from PIL import Image

    from clipsearch.query.hits import Hit

ROWS = 12  # of the terminal, for one picture
CELL_PX = (10, 20)  # a character's width and height, where the terminal does not tell


class NoPictures(ClipsearchError):
    """Pictures cannot be shown here."""


@dataclass(frozen=True)
class Preview:
    """A way of showing pictures, and the room that there is for each."""

    way: Way
    columns: int
    rows: int
    cell_px: tuple[int, int]

    @classmethod
    def here(cls) -> Preview:
        """What this terminal can do. Raises NoPictures."""
        if not render.on_terminal():
            raise NoPictures(
                "--preview shows pictures on a terminal only; here are the plain lines"
            )
        way = way_of_showing(surroundings(), announces_sixel)
        if way is None:
            raise NoPictures("--preview cannot show pictures on this terminal; here are the names")
        rows, columns, width_px, height_px = render.window()
        rows, columns = rows or 24, columns or 80
        cell_px = (width_px // columns, height_px // rows)
        return cls(way, columns, max(1, min(ROWS, rows - 2)), cell_px if all(cell_px) else CELL_PX)

    def show(self, found: Sequence[Hit]) -> None:
        """Write each hit's numbers, path and picture, one hit after the other."""
        for hit in found:
            cells = (*score_cells(hit.score, hit.confidence), printable(str(hit.path)))
            render.text("  ".join(cells))
            try:
                render.write(self.picture(hit.path) + b"\n")
            except ImageError:
                render.text("(not readable now)")

    def picture(self, path: Path) -> bytes:
        """The bytes that show one picture. Raises ImageError if it cannot be read."""
        from clipsearch.images import small_picture

        # A half block shows two pixels, one above the other.
        width, height = (1, 2) if "colour" in self.way else self.cell_px
        return encoded(small_picture(path, (self.columns * width, self.rows * height)), self.way)


def encoded(image: Image.Image, way: Way) -> bytes:
    """An RGB picture in the terminal's own terms."""
    from clipsearch.images import inline

    if way == "kitty":
        return inline.kitty(image)
    if way == "iterm2":
        return inline.iterm2(image)
    if way == "sixel":
        return inline.sixel(image)
    return inline.half_blocks(image, is_truecolour=way == "truecolour")
