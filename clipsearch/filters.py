"""What a picture has to be besides alike: where it lies, when and with what it was taken, its size.

Pure: knows the words that filters are written in, nothing of tables.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Shape = Literal["landscape", "portrait", "square"]


@dataclass(frozen=True)
class Near:
    """Within so many kilometres of a place, in degrees north and east."""

    latitude: float
    longitude: float
    km: float


@dataclass(frozen=True)
class Filter:
    """What every hit has to fulfil; what is left empty asks nothing.

    Of several folders, cameras, lenses or types any one will do. Moments are those of the camera's
    clock, 'YYYY-MM-DDTHH:MM:SS'; a picture without a date is neither after nor before any. A
    folder is a name or several (`trips/2023`) that follow each other in the path, or, where it
    begins with a slash, a place on the disk.
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

    def __bool__(self) -> bool:
        """Whether it asks anything."""
        return self != Filter()
