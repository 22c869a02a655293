"""Read what a camera wrote into a picture.

In: an open Pillow image. Out: plain values, or nothing where EXIF is damaged.
Knows nothing of files. Damaged EXIF never costs the picture, so no function here raises.
"""

from __future__ import annotations

import re
from datetime import datetime

from PIL import ExifTags, Image

from clipsearch.pillow import exif_tag

# '2023:06:01 12:30:00' by the standard; some programs write dashes, slashes or a T.
_MOMENT = re.compile(r"\s*(\d{4})[:/-](\d\d)[:/-](\d\d)[ T](\d\d):(\d\d):(\d\d)", re.ASCII)


def taken_at(image: Image.Image) -> str | None:
    """When the picture was taken, local time, as 'YYYY-MM-DDTHH:MM:SS'; None if that is not known.

    The first real date of DateTimeOriginal, DateTimeDigitized and DateTime.
    """
    moments = (
        _moment(exif_tag(image, ExifTags.Base.DateTimeOriginal, ExifTags.IFD.Exif)),
        _moment(exif_tag(image, ExifTags.Base.DateTimeDigitized, ExifTags.IFD.Exif)),
        _moment(exif_tag(image, ExifTags.Base.DateTime)),
    )
    return next((moment for moment in moments if moment), None)


def _moment(value: object) -> str | None:
    match = _MOMENT.match(value) if isinstance(value, str) else None
    if match is None:
        return None
    year, month, day, hour, minute, second = map(int, match.groups())
    try:
        return datetime(year, month, day, hour, minute, second).isoformat()
    except ValueError:  # 0000:00:00, as cameras write whose clock was never set
        return None
