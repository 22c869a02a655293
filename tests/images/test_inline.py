"""What is sent to a terminal is taken apart again, and must be the picture."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from clipsearch.images import inline
from tests.images.sixels import decoded


def picture(width: int = 30, height: int = 20) -> Image.Image:
    """Red and green rise from left to right and from top to bottom."""
    across, down = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return Image.fromarray(np.dstack([across, down, 0 * down + 64]).astype(np.uint8))


def pixels(png: bytes) -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(png)) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB"))


def noise(size: int) -> Image.Image:
    values = np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8)
    return Image.fromarray(values)


@pytest.mark.parametrize("image", [picture(), noise(80), picture(1, 1)], ids=["a", "large", "dot"])
def test_kitty_gets_a_png_in_small_pieces(image: Image.Image) -> None:
    sent = inline.kitty(image)
    commands = re.findall(rb"\x1b_G([^;]*);([^\x1b]*)\x1b\\", sent)
    assert b"".join(b"\x1b_G%s;%s\x1b\\" % each for each in commands) == sent
    keys = [dict(pair.split(b"=") for pair in each.split(b",")) for each, _ in commands]
    assert keys[0] | {b"m": b""} == {b"a": b"T", b"f": b"100", b"q": b"2", b"m": b""}
    assert [each[b"m"] for each in keys] == [b"1"] * (len(keys) - 1) + [b"0"]
    assert all(len(piece) <= 4096 for _, piece in commands)
    png = base64.b64decode(b"".join(piece for _, piece in commands), validate=True)
    assert (pixels(png) == np.asarray(image)).all()


def test_iterm2_gets_a_png_with_its_size() -> None:
    sent = inline.iterm2(picture())
    match = re.fullmatch(rb"\x1b\]1337;File=inline=1;size=(\d+);([^:]*):(.*)\x07", sent)
    assert match and match[2] == b"width=30px;height=20px"
    png = base64.b64decode(match[3], validate=True)
    assert len(png) == int(match[1])
    assert (pixels(png) == np.asarray(picture())).all()


@pytest.mark.parametrize("size", [(30, 20), (7, 6), (1, 1), (200, 13), (5, 1)])
def test_sixels_are_the_picture_but_for_a_few_shades(size: tuple[int, int]) -> None:
    image = picture(*size)
    shown = decoded(inline.sixel(image)).astype(int)
    assert shown.shape == (size[1], size[0], 3)
    assert np.abs(shown - np.asarray(image)).max() < 40


def test_sixels_of_two_colours_are_these() -> None:
    image = Image.new("RGB", (10, 8), (255, 0, 0))
    image.paste((0, 0, 255), (0, 0, 5, 8))
    assert (decoded(inline.sixel(image)) == np.asarray(image)).all()


def cells(sent: bytes) -> list[list[tuple[str, str]]]:
    """The colours above and below in each character of each line."""
    lines = sent.decode().split("\n")
    assert all(line.endswith("\x1b[0m") for line in lines)
    found = [re.findall("\x1b\\[38;([\\d;]+);48;([\\d;]+)m\u2580", line) for line in lines]
    rebuilt = [
        "".join(f"\x1b[38;{above};48;{below}m\u2580" for above, below in line) + "\x1b[0m"
        for line in found
    ]
    assert rebuilt == lines
    return found


def test_half_blocks_show_two_pixels_each() -> None:
    image = picture(6, 4)
    shown = cells(inline.half_blocks(image, is_truecolour=True))
    assert [len(line) for line in shown] == [6, 6]
    for x, y in ((0, 0), (5, 3), (2, 1)):
        red, green, blue = image.getpixel((x, y))  # type: ignore[misc]
        assert shown[y // 2][x][y % 2] == f"2;{red};{green};{blue}"


def test_an_odd_last_row_is_shown_twice() -> None:
    (*_, last) = cells(inline.half_blocks(picture(2, 3), is_truecolour=True))
    assert all(above == below for above, below in last)


@pytest.mark.parametrize(
    ("rgb", "number"),
    [
        ((0, 0, 0), 16),
        ((255, 255, 255), 231),
        ((255, 0, 0), 196),
        ((95, 135, 175), 67),
        ((128, 128, 128), 244),
        ((8, 8, 8), 232),
        ((250, 10, 4), 196),
    ],
)
def test_256_colours_are_the_nearest(rgb: tuple[int, int, int], number: int) -> None:
    shown = cells(inline.half_blocks(Image.new("RGB", (1, 2), rgb), is_truecolour=False))
    assert shown == [[(f"5;{number}", f"5;{number}")]]
