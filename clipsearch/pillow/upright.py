"""A Pillow image of any kind → upright and RGB, as a viewer on a white page would show it.

In: an image from whichever program or library. Out: mode RGB without metadata, or UnreadableImage.
Damaged EXIF never costs the picture.
"""

from __future__ import annotations

from PIL import ExifTags, Image

from clipsearch.errors import UnreadableImage
from clipsearch.paths import printable
from clipsearch.pillow.colour import to_rgb
from clipsearch.pillow.quiet import PILLOW_ERRORS, quiet_pillow

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_REASON_LENGTH = 160  # characters of Pillow's own words in a message


def upright_rgb(image: Image.Image) -> Image.Image:
    """A new image without metadata, mode RGB, as a viewer would show this one.

    Turned as its EXIF says, transparency over white. Raises UnreadableImage if it cannot be loaded.
    """
    shown = as_shown(image)
    upright = shown.copy() if shown is image else shown
    upright.info.clear()  # else whoever honours EXIF next would turn it again
    return upright


def as_shown(image: Image.Image) -> Image.Image:
    """The pixels of `upright_rgb`, without a copy where `image` shows them as it is."""
    try:
        with quiet_pillow():
            # First of all: PNG may keep its EXIF behind the pixels, and TIFF turns itself upright.
            image.load()
            turn = _UPRIGHT.get(orientation(image))
            rgb = to_rgb(image)
            return rgb if turn is None else rgb.transpose(turn)
    except PILLOW_ERRORS as error:
        raise UnreadableImage(f"the picture given cannot be loaded ({reason(error)})") from error


def orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; 1 (upright) where there is none or it makes no sense."""
    value = exif_tag(image, ExifTags.Base.Orientation)
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def exif_tag(image: Image.Image, tag: int) -> object:
    """The value of a tag of the first table, None where there is none or EXIF is damaged."""
    # Pillow parses tags when they are asked for, so either of these steps can meet the damage.
    try:
        with quiet_pillow():
            value: object = image.getexif().get(tag)
    except PILLOW_ERRORS:
        return None
    return value


def reason(error: Exception) -> str:
    """Pillow's words on one line; the kind of error where it has none, as a bare MemoryError."""
    words = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    text = printable(words)[:_REASON_LENGTH].strip()
    return text or type(error).__name__
