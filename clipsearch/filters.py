"""What a picture has to be besides alike: where it lies, when and with what it was taken, its size.

Pure: knows the words that filters are written in, nothing of tables or disks.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, get_args

from clipsearch.errors import QueryError
from clipsearch.wording import is_unicode, plain, quoted

Shape = Literal["landscape", "portrait", "square"]

# The kinds of content that are indexed, each with the other names that its files go by.
TYPES: dict[str, tuple[str, ...]] = {
    "jpeg": ("jpg", "jpe", "jfif"),
    "png": (),
    "webp": (),
    "gif": (),
    "bmp": (),
    "tiff": ("tif",),
    "jpeg2000": ("jp2", "j2k"),
    "ppm": ("pgm", "pbm", "pnm"),
}
_TYPE_OF = {name: kind for kind, others in TYPES.items() for name in (kind, *others)}

# Larger than any picture, and no trouble to a database.
MAX_PIXELS = 999_999_999
_PLACE_STARTS = ("/", "./", "../", "~/")
_MOMENT = re.compile(r"[0-9]{4}(?:-[0-9]{2}(?:-[0-9]{2}(?:T[0-9]{2}:[0-9]{2}(?::[0-9]{2})?)?)?)?")
_BEGINNING = "0000-01-01T00:00:00"


@dataclass(frozen=True)
class Near:
    """Within so many kilometres of a place, in degrees north and east. Raises QueryError."""

    latitude: float
    longitude: float
    km: float

    def __post_init__(self) -> None:
        for name in ("latitude", "longitude", "km"):
            object.__setattr__(self, name, float(getattr(self, name)))
        if not -90 <= self.latitude <= 90:
            raise QueryError(f"the latitude {self.latitude:g} must be between -90 and 90")
        if not -180 <= self.longitude <= 180:
            raise QueryError(f"the longitude {self.longitude:g} must be between -180 and 180")
        if not (self.km > 0 and math.isfinite(self.km)):
            raise QueryError(f"the distance {self.km:g} must be a number of kilometres above 0")


@dataclass(frozen=True)
class Filter:
    """What every hit has to fulfil; what is left empty asks nothing.

    Of several folders, cameras, lenses or types any one will do. Moments are those of the camera's
    clock, 'YYYY-MM-DDTHH:MM:SS', and may be given by their beginning ('2023-06'); a picture without
    a date is neither after nor before any. A folder is a name or several (`trips/2023`) that follow
    each other in the path, or, where it begins with a slash, a place on the disk; one that begins
    with ./ ../ or ~/ waits for `placed`. Raises QueryError for what no picture can be.
    """

    folders: tuple[str, ...] = ()
    after: str | None = None  # from this moment on
    before: str | None = None  # sooner than this moment
    cameras: tuple[str, ...] = ()  # a part of maker and model, in any case
    lenses: tuple[str, ...] = ()
    types: tuple[str, ...] = ()  # of the content, not the name: jpeg, png, webp, ...
    min_width: int = 0  # pixels, as a viewer shows it
    min_height: int = 0
    shape: Shape | None = None
    near: Near | None = None

    def __post_init__(self) -> None:
        for name, tidied in (
            ("folders", _folder),
            ("cameras", _name),
            ("lenses", _name),
            ("types", _type),
        ):
            given = getattr(self, name)
            texts = (given,) if isinstance(given, str) else given
            object.__setattr__(self, name, tuple(dict.fromkeys(map(tidied, texts))))
        for name in ("after", "before"):
            moment = getattr(self, name)
            object.__setattr__(self, name, None if moment is None else completed(moment))
        for pixels in (self.min_width, self.min_height):
            if not 0 <= pixels <= MAX_PIXELS:
                raise QueryError(f"{pixels} pixels is no size of a picture: give a whole number")
        if self.shape is not None:
            object.__setattr__(self, "shape", _shape(self.shape))
        if self.after is not None and self.before is not None and self.after >= self.before:
            raise QueryError(
                f"no picture was taken both after {_shown(self.after)} and before "
                f"{_shown(self.before)}: correct one of the two"
            )

    def __bool__(self) -> bool:
        """Whether it asks anything."""
        return self != Filter()

    def joined(self, other: Filter) -> Filter:
        """What both ask: dates meet, and of all the folders, cameras, ... any one will do.

        Raises QueryError where nothing can fulfil both.
        """
        if self.shape and other.shape and self.shape != other.shape:
            raise QueryError(f"no picture is both {self.shape} and {other.shape}: choose one")
        if self.near and other.near and self.near != other.near:
            raise QueryError("a picture is looked for near one place only: choose one")
        return Filter(
            folders=self.folders + other.folders,
            after=max(filter(None, (self.after, other.after)), default=None),
            before=min(filter(None, (self.before, other.before)), default=None),
            cameras=self.cameras + other.cameras,
            lenses=self.lenses + other.lenses,
            types=self.types + other.types,
            min_width=max(self.min_width, other.min_width),
            min_height=max(self.min_height, other.min_height),
            shape=self.shape or other.shape,
            near=self.near or other.near,
        )

    def words(self) -> Iterator[tuple[str, str]]:
        """The words that say all this, each as its key and value: `in` and `trips`."""
        yield from (("in", folder) for folder in self.folders)
        if self.after and self.before and (year := _whole_year(self.after, self.before)):
            yield "year", year
        else:
            yield from (("after", _shown(moment)) for moment in (self.after,) if moment)
            yield from (("before", _shown(moment)) for moment in (self.before,) if moment)
        yield from (("camera", camera) for camera in self.cameras)
        yield from (("lens", lens) for lens in self.lenses)
        yield from (("type", kind) for kind in self.types)
        if self.min_width:
            yield "min-width", str(self.min_width)
        if self.min_height:
            yield "min-height", str(self.min_height)
        if self.shape:
            yield "is", self.shape
        if self.near:
            near = (self.near.latitude, self.near.longitude, self.near.km)
            yield "near", ",".join(repr(number).removesuffix(".0") for number in near)

    def placed(self, absolute: Callable[[str], str]) -> Filter:
        """With every folder that begins with ./ ../ ~/ or / as `absolute` makes it."""
        folders = [absolute(each) if is_place(each) else each for each in self.folders]
        return Filter(**{**self.__dict__, "folders": tuple(folders)})


def filter_of(key: str, text: str) -> Filter:
    """The filter of a word such as year:2023, or of the option --year. Raises QueryError."""
    if key not in _READERS:
        raise QueryError(f"{quoted(key)} is no filter: choose of {', '.join(_READERS)}")
    if not text:
        raise QueryError(f'"{key}:" has no value: write it right behind the colon')
    return _READERS[key](text)


def completed(moment: str) -> str:
    """A moment, or the beginning of a year, month, day or minute: `2023` → 2023-01-01T00:00:00."""
    text = moment.strip().upper().replace(" ", "T")
    if _MOMENT.fullmatch(text):
        from datetime import datetime  # rarely needed, and this module is part of every query

        try:
            return datetime.fromisoformat(text + _BEGINNING[len(text) :]).isoformat()
        except ValueError:
            pass
    raise QueryError(
        f"{quoted(moment)} is no date: write it as 2023, 2023-06, 2023-06-01 or 2023-06-01T12:30"
    )


def is_place(folder: str) -> bool:
    """Whether a folder is one place on the disk rather than a name that many may have."""
    return folder.startswith(_PLACE_STARTS) or folder in (".", "..", "~")


def _folder(text: str) -> str:
    try:
        if "\0" in text:
            raise ValueError
        os.fsencode(text)
    except ValueError:  # UnicodeEncodeError is one
        raise QueryError(f"the folder {quoted(text)} cannot be a name: type it again") from None
    if is_place(text):
        return text.rstrip("/") or "/"
    parts = [part for part in text.split("/") if part not in ("", ".")]
    if not parts or ".." in parts:
        raise QueryError(
            f"{quoted(text)} is no folder: give a name, several joined by /, or begin with ./"
        )
    return "/".join(parts)


def _name(text: str) -> str:
    if not is_unicode(text):
        raise QueryError(f"the name {quoted(text)} is not valid UTF-8: type it again")
    if not plain(text):
        raise QueryError("the name of a camera or lens is empty: give a part of it")
    return plain(text)


def _type(text: str) -> str:
    kind = _TYPE_OF.get(text.strip().lower().removeprefix("."))
    if kind is None:
        raise QueryError(
            f"{quoted(text)} is no type of picture that is indexed: choose of {', '.join(TYPES)}"
        )
    return kind


def _year(text: str) -> Filter:
    # What is before the end of 9999 would need a fifth digit.
    if not re.fullmatch(r"[0-9]{4}", text.strip()) or text.strip() in ("0000", "9999"):
        raise QueryError(f"{quoted(text)} is no year: write it as 2023")
    year = int(text)
    return Filter(after=f"{year:04}", before=f"{year + 1:04}")


def _whole_year(after: str, before: str) -> str | None:
    """The year, if that is all that lies between."""
    year = after[:4]
    is_whole = year < "9999" and (after, before) == (completed(year), _next_year(year))
    return year if is_whole else None


def _next_year(year: str) -> str:
    return completed(f"{int(year) + 1:04}")


def _pixels(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text.strip()) or int(text) == 0:
        raise QueryError(f"{quoted(text)} is no number of pixels: write it as 1920")
    return int(text)


def _shape(text: str) -> Shape:
    for shape in get_args(Shape):
        if text.strip().lower() == shape:
            found: Shape = shape
            return found
    raise QueryError(f"{quoted(text)} is no shape: choose of {', '.join(get_args(Shape))}")


def _near(text: str) -> Near:
    number = r"\s*([+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?)\s*"
    match = re.fullmatch(rf"{number},{number},{number}(?:km)?\s*", text)
    if not match:
        raise QueryError(
            f"{quoted(text)} is no place: write latitude, longitude and kilometres as "
            "52.52,13.405,10"
        )
    latitude, longitude, km = map(float, match.groups())
    return Near(latitude, longitude, km)


def _shown(moment: str) -> str:
    """The shortest that `completed` makes that moment of again, but no shorter than a day."""
    return moment.removesuffix(":00").removesuffix("T00:00")


_READERS: dict[str, Callable[[str], Filter]] = {
    "in": lambda text: Filter(folders=(text,)),
    "after": lambda text: Filter(after=text),
    "before": lambda text: Filter(before=text),
    "year": _year,
    "camera": lambda text: Filter(cameras=(text,)),
    "lens": lambda text: Filter(lenses=(text,)),
    "type": lambda text: Filter(types=(text,)),
    "min-width": lambda text: Filter(min_width=_pixels(text)),
    "min-height": lambda text: Filter(min_height=_pixels(text)),
    "is": lambda text: Filter(shape=_shape(text)),
    "near": lambda text: Filter(near=_near(text)),
}
KEYS = tuple(_READERS)
