"""Read what a camera wrote into a picture.

In: an open Pillow image. Out: Details, plain values, None where EXIF is damaged or says nothing.
Knows nothing of files. Damaged EXIF never costs the picture, so no function here raises.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from PIL import ExifTags, Image

from clipsearch.pillow import PILLOW_ERRORS, exif_tag, orientation, quiet_pillow

# What was read by a lower version is read again by the next indexing: raise the number when more is
# read, or when it is read better.
DETAILS_VERSION = 1

MAX_NAME = 120  # characters of a camera's or a lens's name; some programs write pages

# '2023:06:01 12:30:00' by the standard; some programs write dashes, slashes or a T.
_MOMENT = re.compile(r"\s*(\d{4})[:/-](\d\d)[:/-](\d\d)[ T](\d\d):(\d\d):(\d\d)", re.ASCII)
_ZONE = re.compile(r"\s*([+-])(0\d|1[0-4]):?([0-5]\d)(?!\d)", re.ASCII)

# What a company is, and not how its cameras are called: "NIKON CORPORATION", "SEIKO EPSON CORP.".
_COMPANY = re.compile(
    r"([\s,]+(corporation|company|corp\.?|co\.?|ltd\.?|inc\.?|gmbh|ag))+$", re.IGNORECASE
)

Tags = Mapping[int, Any]
Base, GPS = ExifTags.Base, ExifTags.GPS


@dataclass(frozen=True)
class Details:
    """What is known of a picture beside its pixels and its size."""

    format: str | None = None  # of the content: jpeg, png, webp, gif, bmp, tiff, jpeg2000, ppm
    taken_at: str | None = None  # 'YYYY-MM-DDTHH:MM:SS' by the camera's clock
    zone: str | None = None  # of that clock: '+02:00'
    camera: str | None = None  # maker and model
    lens: str | None = None
    latitude: float | None = None  # degrees, -90 to 90, north is positive
    longitude: float | None = None  # degrees, -180 to 180, east is positive
    orientation: int | None = None  # how EXIF says to turn it, 1 (not at all) to 8


def details(image: Image.Image) -> Details:
    """All that the image says. One of Pillow's PNG files is decoded for it, if it was not before;
    a TIFF that was decoded has been turned, and says 1."""
    camera, place = _tags(image, ExifTags.IFD.Exif), _tags(image, ExifTags.IFD.GPSInfo)
    taken_at, zone = _moment_and_zone(image, camera)
    latitude, longitude = _place(place)
    return Details(
        format=image.format.lower() if image.format else None,
        taken_at=taken_at,
        zone=zone,
        camera=_joined(exif_tag(image, Base.Make), exif_tag(image, Base.Model)),
        lens=_joined(camera.get(Base.LensMake), camera.get(Base.LensModel)),
        latitude=latitude,
        longitude=longitude,
        orientation=orientation(image),
    )


def _tags(image: Image.Image, ifd: int) -> Tags:
    # Pillow parses tags when they are asked for, so that either step can meet the damage.
    try:
        with quiet_pillow():
            return image.getexif().get_ifd(ifd)
    except PILLOW_ERRORS:
        return {}


def _moment_and_zone(image: Image.Image, camera: Tags) -> tuple[str | None, str | None]:
    """The first real date of when it was taken, digitised and changed, and the zone of that one."""
    for moment, zone in (
        (Base.DateTimeOriginal, Base.OffsetTimeOriginal),
        (Base.DateTimeDigitized, Base.OffsetTimeDigitized),
    ):
        found = _moment(camera.get(moment))
        if found is not None:
            return found, _zone(camera.get(zone))
    found = _moment(exif_tag(image, Base.DateTime))
    return found, _zone(camera.get(Base.OffsetTime)) if found else None


def _moment(value: object) -> str | None:
    match = _MOMENT.match(value) if isinstance(value, str) else None
    if match is None:
        return None
    year, month, day, hour, minute, second = map(int, match.groups())
    try:
        return datetime(year, month, day, hour, minute, second).isoformat()
    except ValueError:  # 0000:00:00, as cameras write whose clock was never set
        return None


def _zone(value: object) -> str | None:
    if not isinstance(value, str):
        return None
    if value.strip().rstrip("\0") == "Z":
        return "+00:00"
    match = _ZONE.match(value)
    return None if match is None else "{}{}:{}".format(*match.groups())


def _joined(maker: object, model: object) -> str | None:
    """Maker and model as people say it: "Canon" and "Canon EOS 5D" are "Canon EOS 5D"."""
    company, name = _text(maker), _text(model)
    if not name:
        return company or None
    brand = _COMPANY.sub("", company)
    says_it_itself = name.split()[0].casefold() in brand.casefold().split()
    return name if says_it_itself or not brand else f"{brand} {name}"[:MAX_NAME]


def _text(value: object) -> str:
    """What can be shown of a text, on one line; "" if that is nothing or only a placeholder."""
    if isinstance(value, bytes):
        value = value.decode("latin-1")
    if not isinstance(value, str):
        return ""
    # ASCII by the standard, which Pillow reads as Latin-1; those who write more write UTF-8.
    with suppress(UnicodeError):
        value = value.encode("latin-1").decode()
    words = value.replace("\0", "")[: 4 * MAX_NAME].split()
    shown = " ".join(words)
    if not shown.isprintable():
        shown = "".join(c for c in shown if c.isprintable())
    shown = shown[:MAX_NAME].strip()
    return shown if any(c.isalnum() for c in shown) else ""


def _place(tags: Tags) -> tuple[float | None, float | None]:
    """Degrees north and east: both or neither."""
    latitude = _degrees(tags.get(GPS.GPSLatitude), tags.get(GPS.GPSLatitudeRef), "NS", 90)
    longitude = _degrees(tags.get(GPS.GPSLongitude), tags.get(GPS.GPSLongitudeRef), "EW", 180)
    # Zero and zero is what receivers write that have found no satellite.
    if latitude is None or longitude is None or latitude == longitude == 0:
        return None, None
    return latitude, longitude


def _degrees(parts: object, side: object, sides: str, most: float) -> float | None:
    letter = _text(side).upper()[:1]
    if not letter or letter not in sides or not isinstance(parts, tuple):
        return None
    try:
        numbers = [float(part) for part in parts]  # degrees, minutes, seconds; 1/0 becomes NaN
    except PILLOW_ERRORS:
        return None
    if not 1 <= len(numbers) <= 3 or not all(math.isfinite(n) and n >= 0 for n in numbers):
        return None
    degrees = sum((number / 60.0**n for n, number in enumerate(numbers)), 0.0)
    if degrees > most:
        return None
    return -degrees if letter == sides[1] else degrees
