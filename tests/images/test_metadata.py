"""EXIF, good and bad: the moment, the orientation, and that damage costs nothing but itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import ExifTags, Image

from clipsearch.images import decode, details
from clipsearch.pillow import orientation

ORIGINAL, DIGITIZED = ExifTags.Base.DateTimeOriginal, ExifTags.Base.DateTimeDigitized
Save = Callable[..., Path]


def exif_with(camera: dict[int, object], image: dict[int, object] | None = None) -> Image.Exif:
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = (
        "clipsearch"  # some writers leave EXIF out that holds sub-tables only
    )
    exif.update(image or {})
    exif.get_ifd(ExifTags.IFD.Exif).update(camera)
    written = Image.Exif()
    written.load(exif.tobytes())  # the TIFF writer leaves out sub-tables that were never written
    return written


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.tif"])
def test_the_moment_is_read_from_every_format_that_holds_exif(
    save: Save, corners: Image.Image, name: str
) -> None:
    path = save(corners, name, exif=exif_with({ORIGINAL: "2023:06:01 12:30:05"}))
    assert decode(path).details.taken_at == "2023-06-01T12:30:05"


@pytest.mark.parametrize(
    ("camera", "image", "expected"),
    [
        ({ORIGINAL: "2020:01:02 03:04:05", DIGITIZED: "2021:01:01 00:00:00"}, {}, "2020-01-02"),
        ({DIGITIZED: "2021:05:06 07:08:09"}, {306: "2022:01:01 00:00:00"}, "2021-05-06"),
        ({}, {306: "2022:12:31 23:59:59"}, "2022-12-31"),
        ({ORIGINAL: "0000:00:00 00:00:00"}, {306: "2022:12:31 23:59:59"}, "2022-12-31"),
        ({ORIGINAL: "2020-01-02T03:04:05"}, {}, "2020-01-02"),
    ],
)
def test_the_first_real_date_counts(
    save: Save,
    corners: Image.Image,
    camera: dict[int, object],
    image: dict[int, object],
    expected: str,
) -> None:
    moment = decode(save(corners, "a.jpg", exif=exif_with(camera, image))).details.taken_at
    assert moment is not None and moment.startswith(expected)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yesterday",
        "2020:13:01 00:00:00",
        "2020:02:30 00:00:00",
        "2020:01:01",
        "    :  :  ",
        "\uff12020:01:01 00:00:00",
    ],
)
def test_a_malformed_date_is_no_date(save: Save, corners: Image.Image, text: str) -> None:
    assert decode(save(corners, "a.jpg", exif=exif_with({ORIGINAL: text}))).details.taken_at is None


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_an_orientation_that_makes_no_sense_is_upright(
    save: Save, corners: Image.Image, value: int
) -> None:
    path = save(corners, "a.jpg", exif=exif_with({}, {ExifTags.Base.Orientation: value}))
    with Image.open(path) as image:
        assert orientation(image) == 1
    assert decode(path).image.size == corners.size


@pytest.mark.parametrize(
    "exif", [b"Exif\0\0", b"Exif\0\0II*\0", b"Exif\0\0MM\0*\xff\xff\xff\xff", b"junk" * 9]
)
@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp"])
def test_broken_exif_costs_only_itself(
    save: Save, corners: Image.Image, name: str, exif: bytes
) -> None:
    decoded = decode(save(corners, name, exif=exif))
    assert decoded.image.size == corners.size
    assert decoded.details.taken_at is None


def test_exif_cut_off_or_flipped_at_any_place_costs_only_itself(
    save: Save, corners: Image.Image
) -> None:
    whole = exif_with({ORIGINAL: "2020:01:02 03:04:05"}, {ExifTags.Base.Orientation: 6}).tobytes()
    for place in range(6, len(whole)):
        flipped = whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :]
        for damaged in (whole[:place], flipped):
            assert sorted(decode(save(corners, "a.jpg", exif=damaged)).image.size) == [40, 60]


def test_an_image_without_exif_has_no_moment() -> None:
    assert details(Image.new("RGB", (3, 3))).taken_at is None
