"""Thumbnails are small, upright, and tell nothing about who made the picture."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clipsearch.images import decode, small_picture, thumbnail

Save = Callable[..., Path]


def opened(content: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(content))
    assert image.format == "JPEG"
    return image


@pytest.mark.parametrize(
    ("size", "expected"),
    [((600, 400), (90, 60)), ((400, 600), (60, 90)), ((30, 20), (30, 20)), ((4000, 1), (90, 1))],
)
def test_the_longest_side_fits_and_small_pictures_stay(
    save: Save, size: tuple[int, int], expected: tuple[int, int]
) -> None:
    image = Image.new("RGB", size, "teal")
    assert opened(thumbnail(image, 90)).size == expected
    assert opened(thumbnail(save(image, "a.jpg"), 90)).size == expected


def test_it_stands_upright_from_a_path_an_image_and_a_decoded_image(
    save: Save, corners: Image.Image
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned right to be shown
    path = save(corners, "a.jpg", exif=exif, quality=95)
    with Image.open(path) as image:
        sources = [path, image, decode(path).image]
        for source in sources:
            small = np.asarray(opened(thumbnail(source, 30))).astype(int)
            assert small.shape == (30, 20, 3)
            assert np.abs(small[2, 17] - (255, 0, 0)).max() < 40  # red has come to the upper right


def test_it_carries_no_metadata(save: Save, corners: Image.Image) -> None:
    exif = Image.Exif()
    exif[0x010F] = "SECRET CAMERA"
    path = save(corners, "a.jpg", exif=exif, comment=b"SECRET COMMENT", icc_profile=b"SECRET ICC")
    content = thumbnail(path, 30)
    with Image.open(path) as image:
        content += thumbnail(image, 30)
    assert b"SECRET" not in content


def test_transparency_is_white_and_the_callers_image_stays_as_it_was() -> None:
    image = Image.new("RGBA", (50, 50), (0, 0, 0, 0))
    assert opened(thumbnail(image, 10)).getpixel((5, 5)) == (255, 255, 255)
    assert image.mode == "RGBA" and image.size == (50, 50)


def test_no_size_is_an_error() -> None:
    with pytest.raises(ValueError, match="size_px is 0"):
        thumbnail(Image.new("RGB", (5, 5)), 0)


def test_a_small_picture_fits_into_its_box_and_is_never_enlarged(save: Save) -> None:
    path = save(Image.new("RGB", (400, 100), "red"), "wide.png")
    assert small_picture(path, (80, 80)).size == (80, 20)
    assert small_picture(path, (1000, 10)).size == (40, 10)
    assert small_picture(path, (1000, 1000)).size == (400, 100)
    with pytest.raises(ValueError, match="box"):
        small_picture(path, (0, 10))
