"""Whatever the mode, the picture comes out as a viewer on a white page would show it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clipsearch.images import decode
from clipsearch.pillow import to_rgb

Save = Callable[..., Path]


def pixel(image: Image.Image, x: int = 0, y: int = 0) -> tuple[int, ...]:
    assert image.mode == "RGB"
    return tuple(int(v) for v in np.asarray(image)[y, x])


@pytest.mark.parametrize(
    ("mode", "colour", "expected"),
    [
        ("1", 1, (255, 255, 255)),
        ("L", 100, (100, 100, 100)),
        ("LA", (0, 0), (255, 255, 255)),
        ("LA", (0, 128), (127, 127, 127)),
        ("La", (0, 0), (255, 255, 255)),
        ("PA", (0, 0), (255, 255, 255)),
        ("RGB", (1, 2, 3), (1, 2, 3)),
        ("RGBX", (1, 2, 3, 0), (1, 2, 3)),
        ("RGBA", (10, 20, 30, 0), (255, 255, 255)),
        ("RGBA", (10, 20, 30, 255), (10, 20, 30)),
        ("RGBA", (0, 0, 255, 51), (204, 204, 255)),
        ("RGBa", (0, 0, 51, 51), (204, 204, 255)),
        ("CMYK", (0, 255, 255, 0), (255, 0, 0)),
        ("HSV", (0, 255, 255), (255, 0, 0)),
        ("YCbCr", (128, 128, 128), (128, 128, 128)),
        ("I;16", 257 * 100, (100, 100, 100)),
        ("I;16", 65535, (255, 255, 255)),
        ("I;16B", 257 * 100, (100, 100, 100)),
        ("I;16L", 257 * 100, (100, 100, 100)),
        ("I", 257 * 100, (100, 100, 100)),
        ("I", 200, (200, 200, 200)),
        ("F", 0.5, (128, 128, 128)),
        ("F", 100.25, (100, 100, 100)),
        ("F", 25700.0, (100, 100, 100)),
    ],
)
def test_each_mode_has_its_rgb(mode: str, colour: object, expected: tuple[int, ...]) -> None:
    image = Image.new(mode, (4, 3), colour)  # type: ignore[arg-type]
    rgb = to_rgb(image)
    assert rgb.size == (4, 3)
    assert np.abs(np.subtract(pixel(rgb), expected)).max() <= 1


def test_lab_white_black_and_red_are_white_black_and_red() -> None:
    def lab(*colour: int) -> tuple[int, ...]:
        return pixel(to_rgb(Image.new("LAB", (2, 2), colour)))

    # L runs to 255 for 100; a and b are kept with 128 added.
    assert min(lab(255, 128, 128)) >= 254
    assert max(lab(0, 128, 128)) <= 1
    red = lab(138, 208, 195)  # L 54, a 80, b 67
    assert red[0] > 240 and max(red[1:]) < 40


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.jp2", "a.pgm"])
def test_sixteen_bits_keep_their_scale_in_every_format(save: Save, name: str) -> None:
    ramp = np.linspace(0, 65535, 256, dtype=np.uint16).reshape(16, 16)
    decoded = decode(save(Image.fromarray(ramp), name)).image
    assert np.abs(np.asarray(decoded)[..., 0].astype(int) - np.rint(ramp / 257)).max() <= 1


def test_a_dark_sixteen_bit_picture_stays_dark(save: Save) -> None:
    dark = Image.fromarray(np.full((8, 8), 200, dtype=np.uint16))
    assert pixel(decode(save(dark, "a.png")).image) == (1, 1, 1)


def test_numbers_beyond_every_usual_scale_are_spread_from_least_to_largest() -> None:
    for values in (
        np.array([[-5.0, 0.0, 5.0]], dtype=np.float32),
        np.array([[-500_000, 0, 500_000]], dtype=np.int32),
    ):
        rgb = to_rgb(Image.fromarray(values))
        assert [pixel(rgb, x)[0] for x in (0, 2)] == [0, 255]
        assert pixel(rgb, 1)[0] in (127, 128)


@pytest.mark.parametrize("fill", [np.nan, np.inf, -np.inf, -3.0])
def test_no_number_makes_a_deep_picture_fail(fill: float) -> None:
    values = np.full((4, 4), fill, dtype=np.float32)
    assert to_rgb(Image.fromarray(values)).size == (4, 4)
    values[0, 0] = 1.0
    assert pixel(to_rgb(Image.fromarray(values))) == (255, 255, 255)


@pytest.mark.parametrize("name", ["a.png", "a.gif"])
@pytest.mark.parametrize("transparency", [0, b"\x00\xff"])
def test_a_palettes_transparent_colour_is_white(
    save: Save, name: str, transparency: int | bytes
) -> None:
    if name == "a.gif" and isinstance(transparency, bytes):
        transparency = 0
    image = Image.new("P", (4, 2), 0)
    image.putpalette([0, 0, 0, 255, 0, 0])
    image.paste(1, (2, 0, 4, 2))
    decoded = decode(save(image, name, transparency=transparency)).image
    assert pixel(decoded) == (255, 255, 255)
    assert pixel(decoded, 3, 1) == (255, 0, 0)


def test_a_transparent_key_colour_is_white(save: Save) -> None:
    colour = decode(save(Image.new("RGB", (2, 2), (9, 8, 7)), "a.png", transparency=(9, 8, 7)))
    grey = decode(save(Image.new("L", (2, 2), 9), "b.png", transparency=9))
    assert pixel(colour.image) == pixel(grey.image) == (255, 255, 255)


@pytest.mark.parametrize("name", ["a.png", "a.webp", "a.tif", "a.jp2", "a.gif"])
def test_transparency_is_white_in_every_format(save: Save, name: str) -> None:
    image = Image.new("RGBA", (8, 8), (200, 0, 0, 255))
    image.paste((0, 0, 0, 0), (0, 0, 4, 8))
    options = {"lossless": True} if name == "a.webp" else {}
    decoded = decode(save(image, name, **options)).image
    assert pixel(decoded) == (255, 255, 255)
    assert np.abs(np.subtract(pixel(decoded, 7, 7), (200, 0, 0))).max() <= 2


def test_an_rgb_image_is_not_copied_for_nothing() -> None:
    image = Image.new("RGB", (2, 2))
    assert to_rgb(image) is image
