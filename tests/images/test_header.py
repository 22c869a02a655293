"""From the header alone come the same details as from the whole picture, and no pixels."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import ExifTags, Image, ImageFile

from clipsearch.errors import ImageError, ImageTooLarge, UnreadableImage
from clipsearch.images import Details, decode, read_details
from tests.images.test_metadata import CAMERA, GPS, exif_with

Save = Callable[..., Path]
WITH_EXIF = ("a.jpg", "a.png", "a.webp", "a.tif")


def header(path: Path, max_pixels: int = 10**6) -> Details:
    with open(path, "rb") as file:
        return read_details(file, path.name, max_pixels)


@pytest.fixture
def undecoded(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(_: object) -> None:
        raise AssertionError("pixels were decoded")

    monkeypatch.setattr(ImageFile.ImageFile, "load", load)


def behind_the_pixels(path: Path) -> None:
    """Move EXIF of a PNG to its end, where Pillow reads it after the pixels."""
    content = path.read_bytes()
    start = content.index(b"eXIf") - 4
    length = 12 + int.from_bytes(content[start : start + 4], "big")
    rest = content[:start] + content[start + length :]
    path.write_bytes(rest[:-12] + content[start : start + length] + rest[-12:])


@pytest.mark.parametrize("name", [*WITH_EXIF, "a.gif", "a.bmp", "a.jp2", "a.ppm"])
@pytest.mark.parametrize("orientation", [1, 6, 8])
def test_the_details_are_those_of_the_whole_picture(
    save: Save, corners: Image.Image, name: str, orientation: int
) -> None:
    exif = exif_with(CAMERA, {ExifTags.Base.Orientation: orientation}, GPS)
    path = save(corners, name, **({"exif": exif} if name in WITH_EXIF else {}))
    whole = decode(path).details
    assert header(path) == whole
    kinds = {"jpg": "jpeg", "tif": "tiff", "jp2": "jpeg2000"}
    assert whole.format == kinds.get(name[2:], name[2:])
    assert whole.orientation == (orientation if name in WITH_EXIF else 1)


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_adobe_deflate"])
def test_a_tiff_of_any_kind_keeps_its_orientation(
    save: Save, corners: Image.Image, compression: str
) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    path = save(corners, "a.tif", exif=exif, compression=compression)
    decoded = decode(path)
    assert decoded.details.orientation == 6 and decoded.image.size == corners.size[::-1]
    assert header(path) == decoded.details


def test_exif_behind_the_pixels_of_a_png_is_found(save: Save, corners: Image.Image) -> None:
    path = save(corners, "a.png", exif=exif_with(CAMERA, {}, GPS))
    expected = header(path)
    behind_the_pixels(path)
    assert path.read_bytes().index(b"eXIf") > path.read_bytes().index(b"IDAT")
    assert header(path) == decode(path).details == expected


@pytest.mark.usefixtures("undecoded")
def test_no_pixels_are_decoded(save: Save, corners: Image.Image) -> None:
    for name in (*WITH_EXIF, "a.gif"):
        path = save(corners, name, **({} if name == "a.gif" else {"exif": exif_with(CAMERA)}))
        assert header(path).format is not None


def test_a_png_without_pixels_or_with_an_odd_end_has_details(
    save: Save, corners: Image.Image
) -> None:
    path = save(corners, "a.png", exif=exif_with(CAMERA))
    whole = path.read_bytes()
    assert read_details(io.BytesIO(whole[: whole.index(b"IDAT") + 9]), "a.png").lens == "XF 23mm"
    behind_the_pixels(path)
    content = bytearray(path.read_bytes())
    content[-16] ^= 0xFF  # the checksum of the last chunk before the end, which nobody looks at
    path.write_bytes(content)
    assert header(path) == decode(path).details


def test_what_is_no_picture_or_too_large_is_said(save: Save, corners: Image.Image) -> None:
    with pytest.raises(UnreadableImage, match=r"a\.jpg is empty"):
        read_details(io.BytesIO(b""), "a.jpg")
    with pytest.raises(ImageTooLarge):
        header(save(corners, "a.webp"), max_pixels=10)


@pytest.mark.parametrize("name", [*WITH_EXIF, "a.gif", "a.jp2"])
def test_a_file_cut_off_or_flipped_anywhere_raises_nothing_else(
    save: Save, corners: Image.Image, name: str
) -> None:
    exif = {"exif": exif_with(CAMERA, {}, GPS)} if name in WITH_EXIF else {}
    whole = save(corners, name, **exif).read_bytes()
    for place in range(0, len(whole), 7):
        flipped = whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :]
        for damaged in (whole[:place], flipped):
            try:
                found = read_details(io.BytesIO(damaged), name)
            except ImageError:
                continue
            assert found.orientation in range(1, 9)
