"""Thumbnails with their captions → one large picture, the contact sheet.

In: rows of tiles, with text. Out: PNG bytes. Knows nothing of queries.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

MAX_TILES = 1000  # about 150 megapixels of sheet

_MANY_TILES = 60  # from so many on they are drawn half as large
_PAGE, _CARD, _INK, _SOFT = "#f6f6f4", "#ffffff", "#1d1d1f", "#6b6b70"
_GAP = 16
_BREAK = "\u2026"
# Fonts that many systems have; the one inside Pillow knows hardly more than ASCII.
_FONTS = ("DejaVuSans.ttf", "NotoSans-Regular.ttf", "Arial Unicode.ttf", "arial.ttf", "Arial.ttf")

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@dataclass(frozen=True)
class Tile:
    """A thumbnail (encoded bytes; None where there is none), a label in bold ink and a name."""

    thumbnail: bytes | None
    label: str
    name: str


@dataclass(frozen=True)
class TileGroup:
    """Tiles below a title."""

    title: str
    tiles: Sequence[Tile]


def contact_sheet(groups: Sequence[TileGroup], tile_px: int = 256) -> bytes:
    """PNG bytes: each title with its tiles below it, in as many rows as that takes.

    Raises ValueError for more than MAX_TILES tiles.
    """
    n_tiles = sum(len(group.tiles) for group in groups)
    if n_tiles > MAX_TILES:
        raise ValueError(f"{n_tiles:,} tiles are more than the {MAX_TILES:,} of a sheet")
    is_crowded = n_tiles >= _MANY_TILES
    layout = _Layout.of(groups, tile_px // 2 if is_crowded else tile_px, 10 if is_crowded else 5)
    sheet = Image.new("RGB", layout.size(groups), _PAGE)
    top = _GAP
    for group in groups:
        top = layout.draw(sheet, group, top)
    content = io.BytesIO()
    origin = PngInfo()
    origin.add_text("Software", "clipsearch")
    sheet.save(content, "PNG", pnginfo=origin)
    return content.getvalue()


@dataclass(frozen=True)
class _Layout:
    """How large everything is, in pixels."""

    tile_px: int
    n_columns: int
    title: Font
    label: Font
    name: Font

    @classmethod
    def of(cls, groups: Sequence[TileGroup], tile_px: int, max_columns: int) -> _Layout:
        widest = max((len(group.tiles) for group in groups), default=0)
        text_px = max(10, tile_px // 16)
        fonts = [_font(size) for size in (24, text_px + 2, text_px)]
        # A sheet of one hit still has room for its title.
        return cls(tile_px, min(max_columns, max(widest, 3)), *fonts)

    @property
    def title_px(self) -> int:
        return 46

    @property
    def card_px(self) -> int:
        return self.tile_px + 3 * (self.tile_px // 12)  # two lines of text below the picture

    def size(self, groups: Sequence[TileGroup]) -> tuple[int, int]:
        width = _GAP + self.n_columns * (self.tile_px + _GAP)
        return width, _GAP + sum(self.height(group) for group in groups)

    def height(self, group: TileGroup) -> int:
        n_rows = max(1, -(-len(group.tiles) // self.n_columns))
        return self.title_px + n_rows * (self.card_px + _GAP)

    def draw(self, sheet: Image.Image, group: TileGroup, top: int) -> int:
        """Draw a group and return where the next one begins."""
        pen = ImageDraw.Draw(sheet)
        title = _shortened(group.title, self.title, sheet.width - 2 * _GAP)
        pen.text((_GAP, top), title, fill=_INK, font=self.title)
        for number, tile in enumerate(group.tiles):
            row, column = divmod(number, self.n_columns)
            left = _GAP + column * (self.tile_px + _GAP)
            self._card(sheet, tile, left, top + self.title_px + row * (self.card_px + _GAP))
        if not group.tiles:
            pen.text((_GAP, top + self.title_px), "nothing found", fill=_SOFT, font=self.label)
        return top + self.height(group)

    def _card(self, sheet: Image.Image, tile: Tile, left: int, top: int) -> None:
        pen = ImageDraw.Draw(sheet)
        pen.rectangle((left, top, left + self.tile_px - 1, top + self.card_px - 1), fill=_CARD)
        if tile.thumbnail is None:
            middle = (left + self.tile_px // 2, top + self.tile_px // 2)
            pen.text(middle, "not readable now", fill=_SOFT, font=self.name, anchor="mm")
        else:
            with Image.open(io.BytesIO(tile.thumbnail)) as picture:
                picture.thumbnail((self.tile_px, self.tile_px))
                across = (self.tile_px - picture.width) // 2
                down = (self.tile_px - picture.height) // 2
                sheet.paste(picture, (left + across, top + down))
        edge, line = self.tile_px // 32, self.tile_px // 10
        room = self.tile_px - 2 * edge
        below = top + self.tile_px + edge
        pen.text((left + edge, below), tile.label, fill=_INK, font=self.label)
        name = _shortened(tile.name, self.name, room)
        pen.text((left + edge, below + line), name, fill=_SOFT, font=self.name)


def _font(size_px: int) -> Font:
    for name in _FONTS:
        try:
            return ImageFont.truetype(name, size_px)
        except OSError:
            continue
    return ImageFont.load_default(size_px)


def _shortened(text: str, font: Font, width_px: int) -> str:
    """`text` with its middle left out, so that it takes at most `width_px`.

    The end of a name often tells more than its middle.
    """
    text = text[:500]
    if font.getlength(text) <= width_px:
        return text
    fits, too_many = 0, len(text)
    while too_many - fits > 1:
        kept = (fits + too_many) // 2
        is_short = font.getlength(_without_middle(text, kept)) <= width_px
        fits, too_many = (kept, too_many) if is_short else (fits, kept)
    return _without_middle(text, fits)


def _without_middle(text: str, n_kept: int) -> str:
    begin = (n_kept + 1) // 2
    end = n_kept - begin
    return text[:begin] + _BREAK + (text[-end:] if end else "")
