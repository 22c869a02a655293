"""A small picture → the bytes that make a terminal show it where the cursor stands.

In: an RGB image, already of the size wanted. Out: bytes for one of four ways of showing it. Knows
nothing of which way a terminal understands.
"""

from __future__ import annotations

import base64
import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

# kitty takes its base64 in pieces of at most this many bytes.
_CHUNK = 4096
_SIXEL_COLOURS = 128  # half of what terminals have: more only takes longer over a slow line
# The levels of a channel in the colour cube of 256-colour terminals, which is followed by 24 greys.
_CUBE = np.array([0, 95, 135, 175, 215, 255])
_GREYS = 8 + 10 * np.arange(24)


def kitty(image: Image.Image) -> bytes:
    """kitty's graphics protocol: transmit and show a PNG."""
    data = base64.b64encode(_png(image))
    pieces = [data[start : start + _CHUNK] for start in range(0, len(data), _CHUNK)]
    commands = []
    for number, piece in enumerate(pieces):
        # q=2: no answer, which would end up in what the user seems to type next.
        keys = b"a=T,f=100,q=2," if number == 0 else b""
        is_more = b"1" if number < len(pieces) - 1 else b"0"
        commands.append(b"\x1b_G" + keys + b"m=" + is_more + b";" + piece + b"\x1b\\")
    return b"".join(commands)


def iterm2(image: Image.Image) -> bytes:
    """iTerm2's inline images, which WezTerm and others show too."""
    data = _png(image)
    keys = f"inline=1;size={len(data)};width={image.width}px;height={image.height}px"
    return b"\x1b]1337;File=" + keys.encode() + b":" + base64.b64encode(data) + b"\x07"


def sixel(image: Image.Image) -> bytes:
    """DEC's sixels: bands of six rows, in each one line for every colour that it has."""
    reduced = image.quantize(_SIXEL_COLOURS)
    rows: NDArray[np.uint8] = np.asarray(reduced)  # [height, width] numbers of colours
    palette = reduced.getpalette("RGB") or []
    parts = [b'\x1bP0;1;0q"1;1;%d;%d' % image.size]
    for colour in np.unique(rows).tolist():
        channels = palette[3 * colour : 3 * colour + 3]
        parts.append(b"#%d;2;%d;%d;%d" % (colour, *(round(c * 100 / 255) for c in channels)))
    for top in range(0, len(rows), 6):
        band = rows[top : top + 6]
        lines = [b"#%d" % colour + _sixels(band == colour) for colour in np.unique(band).tolist()]
        parts.append(b"$".join(lines) + b"-")  # $ goes back to the left, - down to the next band
    return b"".join(parts) + b"\x1b\\"


def half_blocks(image: Image.Image, *, is_truecolour: bool) -> bytes:
    """Lines of upper half blocks: two pixels a character, so that they are about square."""
    pixels = np.asarray(image)  # [height, width, 3]
    if len(pixels) % 2:  # the last line shows the terminal's own background below
        pixels = np.concatenate([pixels, pixels[-1:]])
    codes = _truecolour(pixels) if is_truecolour else _256_colours(pixels)
    lines = []
    for upper, lower in zip(codes[0::2], codes[1::2], strict=True):
        cells = [f"\x1b[38;{u};48;{low}m\u2580" for u, low in zip(upper, lower, strict=True)]
        lines.append("".join(cells) + "\x1b[0m")
    return "\n".join(lines).encode()


def _png(image: Image.Image) -> bytes:
    content = io.BytesIO()
    image.save(content, "PNG")
    return content.getvalue()


def _sixels(is_set: NDArray[np.bool_]) -> bytes:
    """A band of one colour: a character a column, its bits from the top down, runs shortened."""
    weights = 1 << np.arange(len(is_set))  # [rows]
    columns = weights @ is_set + ord("?")  # [width]
    starts = np.flatnonzero(np.diff(columns, prepend=-1))
    lengths = np.diff(starts, append=len(columns))
    runs = zip(columns[starts].tolist(), lengths.tolist(), strict=True)
    return b"".join(b"!%d%c" % (n, c) if n > 3 else b"%c" % c * n for c, n in runs)


def _truecolour(pixels: NDArray[np.uint8]) -> list[list[str]]:
    return [[f"2;{r};{g};{b}" for r, g, b in row] for row in pixels.tolist()]


def _256_colours(pixels: NDArray[np.uint8]) -> list[list[str]]:
    """The nearest colour of the cube or the greys, whichever is nearer."""
    wanted = pixels.astype(np.int32)
    steps = np.abs(wanted[..., None] - _CUBE).argmin(axis=-1)  # [height, width, 3]
    grey = np.abs(wanted.mean(axis=-1)[..., None] - _GREYS).argmin(axis=-1)  # [height, width]
    off_cube = ((_CUBE[steps] - wanted) ** 2).sum(axis=-1)
    off_grey = ((_GREYS[grey][..., None] - wanted) ** 2).sum(axis=-1)
    numbers = np.where(off_grey < off_cube, 232 + grey, 16 + steps @ np.array([36, 6, 1]))
    return [[f"5;{number}" for number in row] for row in numbers.tolist()]
