"""Every mode, format and orientation becomes the same upright RGB picture."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clipsearch.images import decode, decode_file
from clipsearch.pillow import upright_rgb

Save = Callable[..., Path]
RED, GREEN, BLUE, BLACK = (255, 0, 0), (0, 255, 0), (0, 0, 255), (0, 0, 0)

# What the eye sees in the corners: upper left, upper right, lower left, lower right.
SEEN_CORNERS = {
    1: (RED, GREEN, BLUE, BLACK),
    2: (GREEN, RED, BLACK, BLUE),
    3: (BLACK, BLUE, GREEN, RED),
    4: (BLUE, BLACK, RED, GREEN),
    5: (RED, BLUE, GREEN, BLACK),
    6: (BLUE, RED, BLACK, GREEN),
    7: (BLACK, GREEN, BLUE, RED),
    8: (GREEN, BLACK, RED, BLUE),
}


def corners_of(image: Image.Image) -> np.ndarray:
    assert image.mode == "RGB"
    pixels = np.asarray(image).astype(int)
    return pixels[[3, 3, -4, -4], [3, -4, 3, -4]]


def orientation_exif(value: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = value
    return exif


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.tif"])
def test_every_orientation_stands_upright(
    save: Save, corners: Image.Image, name: str, orientation: int
) -> None:
    quality = {"quality": 95} if name in ("a.jpg", "a.webp") else {}
    decoded = decode(save(corners, name, exif=orientation_exif(orientation), **quality))
    assert np.abs(corners_of(decoded.image) - SEEN_CORNERS[orientation]).max() < 30
    size = (60, 40) if orientation < 5 else (40, 60)
    assert (decoded.width, decoded.height) == decoded.image.size == size


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_reduced_jpeg_stands_upright_and_keeps_the_originals_size(
    save: Save, corners: Image.Image, orientation: int
) -> None:
    large = corners.resize((960, 640))
    path = save(large, "a.jpg", exif=orientation_exif(orientation), quality=95)
    decoded = decode(path, target_px=40)
    assert sorted(decoded.image.size) == [80, 120]  # an eighth of 640 is exactly twice 40
    assert np.abs(corners_of(decoded.image) - SEEN_CORNERS[orientation]).max() < 30
    assert (decoded.width, decoded.height) == ((960, 640) if orientation < 5 else (640, 960))


def test_a_decoded_image_is_not_turned_a_second_time(save: Save, corners: Image.Image) -> None:
    for name in ("a.jpg", "a.png", "a.tif"):
        decoded = decode(save(corners, name, exif=orientation_exif(6)))
        again = upright_rgb(decoded.image)
        assert np.array_equal(np.asarray(again), np.asarray(decoded.image))


def test_an_image_that_was_only_opened_is_turned_once(save: Save, corners: Image.Image) -> None:
    for name in ("a.jpg", "a.png", "a.tif"):
        path = save(corners, name, exif=orientation_exif(6))
        with Image.open(path) as image:
            expected = np.asarray(decode(path).image)
            assert np.array_equal(np.asarray(upright_rgb(image)), expected)


@pytest.mark.parametrize("target_px", [1, 50, 63, 64, 99, 100, 101, 150, 201, 5000])
def test_a_reduced_jpeg_keeps_twice_the_target_on_its_short_side(
    save: Save, target_px: int
) -> None:
    path = save(Image.effect_noise((1600, 1203), 50), "a.jpg")
    short = min(decode(path, target_px=target_px).image.size)
    assert short >= min(2 * target_px, 1203)
    assert short < 4 * target_px + 8 or short in (1203, 151)  # as small as eighths allow


def test_a_reduced_jpeg_looks_like_the_whole_one(save: Save) -> None:
    x, y = np.meshgrid(np.linspace(0, 12, 1600), np.linspace(0, 9, 1200))
    waves = np.stack([np.sin(x), np.sin(y), np.sin(x * y / 9)], axis=-1)
    path = save(Image.fromarray((127 + 127 * waves).astype(np.uint8)), "a.jpg", quality=90)
    whole, reduced = decode(path).image, decode(path, target_px=100).image
    assert reduced.size == (400, 300)
    small = [np.asarray(i.resize((100, 75), Image.Resampling.BICUBIC)) for i in (whole, reduced)]
    assert np.abs(small[0].astype(int) - small[1]).max() <= 8


def test_other_formats_and_cmyk_jpegs_take_a_target_too(save: Save, corners: Image.Image) -> None:
    large = corners.resize((960, 640))
    assert decode(save(large, "a.png"), target_px=40).image.size == (960, 640)
    cmyk = decode(save(large.convert("CMYK"), "a.jpg", quality=95), target_px=40).image
    assert cmyk.size == (120, 80)
    assert np.abs(corners_of(cmyk) - SEEN_CORNERS[1]).max() < 30


@pytest.mark.parametrize(
    "name", ["a.png", "a.bmp", "a.gif", "a.tif", "a.jp2", "a.ppm", "a.pnm", "a.webp"]
)
def test_every_lossless_format_gives_its_exact_pixels(
    save: Save, corners: Image.Image, name: str
) -> None:
    options = {"lossless": True} if name == "a.webp" else {}
    decoded = decode(save(corners, name, **options))
    assert np.array_equal(np.asarray(decoded.image), np.asarray(corners))


@pytest.mark.parametrize("name", ["a.jpg", "a.jpe", "a.jfif", "a.jpeg"])
def test_every_name_of_jpeg_is_decoded(save: Save, corners: Image.Image, name: str) -> None:
    image = decode(save(corners, name, quality=95)).image
    assert np.abs(corners_of(image) - SEEN_CORNERS[1]).max() < 30


def test_the_content_decides_and_not_the_extension(save: Save, corners: Image.Image) -> None:
    path = save(corners, "a.png").rename(Path(save(corners, "b.png")).with_name("a.jpg"))
    assert np.array_equal(np.asarray(decode(path).image), np.asarray(corners))


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.png", "a.tif"])
def test_the_first_frame_of_many_is_taken(save: Save, name: str) -> None:
    frames = [Image.new("RGB", (20, 10), colour) for colour in ("red", "blue", "lime")]
    path = save(frames[0], name, save_all=True, append_images=frames[1:], lossless=True)
    assert np.abs(np.asarray(decode(path).image).astype(int) - RED).max() <= 2


def test_the_first_picture_of_an_mpo_is_taken_and_may_be_reduced(save: Save) -> None:
    red, blue = (Image.new("RGB", (640, 480), colour) for colour in ("red", "blue"))
    path = save(red, "a.jpg", format="MPO", save_all=True, append_images=[blue])
    decoded = decode(path, target_px=100)
    assert decoded.image.size == (320, 240) and (decoded.width, decoded.height) == (640, 480)
    assert np.abs(np.asarray(decoded.image).astype(int) - RED).max() <= 2


def test_an_open_file_of_bytes_will_do(corners: Image.Image) -> None:
    content = io.BytesIO()
    corners.save(content, "PNG")
    content.seek(0)
    decoded = decode_file(content, "upload")
    assert np.array_equal(np.asarray(decoded.image), np.asarray(corners))


def test_a_target_below_one_is_an_error(save: Save, corners: Image.Image) -> None:
    with pytest.raises(ValueError, match="target_px is 0"):
        decode(save(corners, "a.jpg"), target_px=0)
