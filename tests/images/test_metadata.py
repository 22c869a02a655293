"""EXIF, good and bad: the moment, the orientation, and that damage costs nothing but itself."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image
from PIL.TiffImagePlugin import IFDRational

from clipsearch.images import Details, decode, details
from clipsearch.pillow import PILLOW_ERRORS, orientation

Base = ExifTags.Base
ORIGINAL, DIGITIZED = Base.DateTimeOriginal, Base.DateTimeDigitized
Save = Callable[..., Path]


CAMERA: dict[int, object] = {
    ORIGINAL: "2023:06:01 12:30:05",
    ExifTags.Base.OffsetTimeOriginal: "+05:30",
    ExifTags.Base.LensModel: "XF 23mm",
}
GPS: dict[int, object] = {1: "S", 2: (33.0, 51.0, 36.0), 3: "E", 4: (151.0, 12.0, 0.0)}


def exif_with(
    camera: dict[int, object],
    image: dict[int, object] | None = None,
    gps: dict[int, object] | None = None,
) -> Image.Exif:
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = (
        "clipsearch"  # some writers leave EXIF out that holds sub-tables only
    )
    exif.update(image or {})
    exif.get_ifd(ExifTags.IFD.Exif).update(camera)
    if gps:
        exif.get_ifd(ExifTags.IFD.GPSInfo).update(gps)
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


def test_an_image_without_exif_has_no_details() -> None:
    assert details(Image.new("RGB", (3, 3))) == Details(orientation=1)


def read_back(
    camera: dict[int, object],
    image: dict[int, object] | None = None,
    gps: dict[int, object] | None = None,
) -> Details:
    """The details of a JPEG file with these tags."""
    file = io.BytesIO()
    Image.new("RGB", (4, 4)).save(file, "JPEG", exif=exif_with(camera, image, gps))
    with Image.open(file) as opened:
        return details(opened)


def test_all_details_are_read_from_a_file() -> None:
    image = {Base.Make: "FUJIFILM", Base.Model: "X100V", Base.Orientation: 6}
    found = read_back(CAMERA | {Base.LensMake: "FUJIFILM"}, image, GPS)
    assert replace(found, latitude=None) == Details(
        "jpeg",
        "2023-06-01T12:30:05",
        "+05:30",
        "FUJIFILM X100V",
        "FUJIFILM XF 23mm",
        None,
        151.2,
        6,
    )
    assert found.latitude == pytest.approx(-33.86)


@pytest.mark.parametrize(
    ("maker", "model", "expected"),
    [
        ("Canon", "Canon EOS 5D", "Canon EOS 5D"),
        ("CANON", "Canon EOS 5D", "Canon EOS 5D"),
        ("NIKON CORPORATION", "NIKON D750", "NIKON D750"),
        ("NIKON CORPORATION", "D750", "NIKON D750"),
        ("EASTMAN KODAK COMPANY", "KODAK Z740", "KODAK Z740"),
        ("FUJI PHOTO FILM CO., LTD.", "FinePix S5", "FUJI PHOTO FILM FinePix S5"),
        ("Apple", "iPhone 12", "Apple iPhone 12"),
        ("Canonical", "Canon EOS 5D", "Canonical Canon EOS 5D"),
        ("SONY\0\0\0", "  ILCE-7M3\0 ", "SONY ILCE-7M3"),
        ("Leica\x1b[31m Camera  AG", "M\n10", "Leica[31m Camera M 10"),
        ("", "X100", "X100"),
        ("CORPORATION", "X100", "CORPORATION X100"),
        ("OM Digital", "", "OM Digital"),
        ("----", "  ", None),
        ("x" * 5000, "y" * 5000, "x" * 120),
    ],
)
def test_maker_and_model_are_one_name(maker: object, model: object, expected: str | None) -> None:
    found = read_back({}, {Base.Make: maker, Base.Model: model}).camera
    assert found == (expected if expected is None else expected[:120])


@pytest.mark.parametrize("written", ["Löwen".encode(), b"L\xf6wen\0"])
def test_a_name_is_utf_8_or_latin_1(written: bytes) -> None:
    image = Image.new("RGB", (2, 2))
    exif = exif_with({}, {Base.Make: "L____n"}).tobytes()
    image.info["exif"] = exif.replace(b"L____n", written)
    assert details(image).camera == "Löwen"


@pytest.mark.parametrize(
    ("camera", "expected"),
    [
        ({ORIGINAL: "2020:01:01 00:00:00", Base.OffsetTimeOriginal: "-03:30"}, "-03:30"),
        ({ORIGINAL: "2020:01:01 00:00:00", Base.OffsetTimeOriginal: "Z"}, "+00:00"),
        ({ORIGINAL: "2020:01:01 00:00:00", Base.OffsetTimeOriginal: "+0200"}, "+02:00"),
        ({ORIGINAL: "2020:01:01 00:00:00", Base.OffsetTime: "+02:00"}, None),
        ({DIGITIZED: "2020:01:01 00:00:00", Base.OffsetTimeDigitized: "+14:00"}, "+14:00"),
        ({Base.OffsetTimeOriginal: "+02:00"}, None),
        ({ORIGINAL: "2020:01:01 00:00:00", Base.OffsetTimeOriginal: "+25:00"}, None),
        ({ORIGINAL: "2020:01:01 00:00:00", Base.OffsetTimeOriginal: "   :  "}, None),
        ({ORIGINAL: "2020:01:01 00:00:00", Base.OffsetTimeOriginal: b"\xff"}, None),
    ],
)
def test_the_zone_is_that_of_the_moment(camera: dict[int, object], expected: str | None) -> None:
    assert read_back(camera).zone == expected


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, (-33.86, 151.2)),
        ({1: "N", 3: "W"}, (33.86, -151.2)),
        ({1: "n"}, (33.86, 151.2)),
        ({2: (33.86,), 4: (151.2,)}, None),
        ({2: (33.0, 51.6, 0.0)}, (-33.86, 151.2)),
        ({1: "X"}, None),
        ({1: ""}, None),
        ({2: (91.0, 0.0, 0.0)}, None),
        ({4: (180.0, 0.0, 1.0)}, None),
        ({4: (180.0, 0.0, 0.0)}, (-33.86, 180.0)),
        ({2: (IFDRational(33, 0), 51.0, 36.0)}, None),
        ({2: (33.0, 51.0, IFDRational(0, 0))}, None),
        ({2: (0.0, 0.0, 0.0), 4: (0.0, 0.0, 0.0)}, None),
        ({2: (0.0, 0.0, 0.0)}, (0.0, 151.2)),
    ],
)
def test_a_place_is_two_sane_numbers_or_none(
    change: dict[int, object], expected: tuple[float, float] | None
) -> None:
    found = read_back({}, None, GPS | change)
    place = (found.latitude, found.longitude)
    assert place == ((None, None) if expected is None else pytest.approx(expected))


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=400))
def test_any_exif_at_all_raises_nothing(exif: bytes) -> None:
    image = Image.new("RGB", (2, 2))
    for beginning in (b"", b"Exif\0\0II*\0\x08\0\0\0", b"Exif\0\0MM\0*\0\0\0\x08"):
        image.info["exif"] = beginning + exif
        image._exif = None  # read anew
        check_sane(details(image))


TAGS = st.sampled_from([*Base, *range(32)])
VALUES = st.one_of(
    st.text(max_size=30),
    st.binary(max_size=30),
    st.integers(0, 2**32 - 1),
    st.tuples(st.floats(0, 1e6), st.floats(0, 1e6), st.floats(0, 1e6)),
)
TABLE = st.dictionaries(TAGS, VALUES, max_size=8)


@settings(max_examples=200, deadline=None)
@given(TABLE, TABLE, st.integers(0, 2000), st.integers(0, 255))
def test_well_formed_tables_of_any_values_raise_nothing(
    camera: dict[int, object], gps: dict[int, object], place: int, byte: int
) -> None:
    exif = Image.Exif()
    for ifd, table in ((ExifTags.IFD.Exif, camera), (ExifTags.IFD.GPSInfo, gps)):
        exif.get_ifd(ifd).update(table)
    try:
        content = bytearray(exif.tobytes())
    except PILLOW_ERRORS:  # a value of a kind that its tag cannot have is not written
        return
    if place < len(content):
        content[place] = byte
    image = Image.new("RGB", (2, 2))
    image.info["exif"] = bytes(content)
    check_sane(details(image))


def check_sane(found: Details) -> None:
    assert found.orientation in range(1, 9)
    for text in (found.camera, found.lens, found.taken_at, found.zone):
        assert text is None or (text.isprintable() and 0 < len(text) <= 120)
    assert (found.latitude is None) == (found.longitude is None)
    if found.latitude is not None and found.longitude is not None:
        assert abs(found.latitude) <= 90 and abs(found.longitude) <= 180
