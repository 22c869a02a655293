"""Turn a file into an upright RGB picture.

In: a path or an open file, of any content. Out: a DecodedImage, or an ImageError.
Knows nothing of models: how small the picture may be is told to it as `target_px`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

# The plugins enter their readers in Image.OPEN when imported. Imported here by name, because
# Image.open would import all 43 of them, in whichever thread comes first.
import PIL
from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageFile,
    Jpeg2KImagePlugin,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from clipsearch.errors import ImageTooLarge, UnreadableImage
from clipsearch.images.metadata import taken_at
from clipsearch.images.opening import open_picture, shown
from clipsearch.pillow import PILLOW_ERRORS, orientation, quiet_pillow, reason, upright_rgb

# Formats of photographs and drawings; none of their readers starts another program, as EPS does.
FORMATS: tuple[str, ...] = tuple(
    str(reader.format)
    for reader in (
        JpegImagePlugin.JpegImageFile,
        PngImagePlugin.PngImageFile,
        WebPImagePlugin.WebPImageFile,
        GifImagePlugin.GifImageFile,
        BmpImagePlugin.BmpImageFile,
        TiffImagePlugin.TiffImageFile,
        Jpeg2KImagePlugin.Jpeg2KImageFile,
        PpmImagePlugin.PpmImageFile,
    )
)

# More than any camera on sale makes (telephones 200 megapixels, medium format 150), and at Pillow's
# 4 bytes a pixel 1 GiB, which one picture may cost without ending the run on an ordinary machine.
MAX_PIXELS = 256_000_000

# A JPEG is decoded to at least this many times the size wanted, so that the resize that follows
# still has pixels to average. At 1 the reduction's own, cruder filter would show in the vectors.
_DRAFT_MARGIN = 2

# What read a picture, or could not: a failure is worth another try when this changes. The revision
# is ours, to be raised when this package learns to read more.
DECODER = f"Pillow {PIL.__version__}, revision 1"


@dataclass(frozen=True)
class DecodedImage:
    """A picture as seen: `image` upright RGB, `width` and `height` of the original, upright."""

    image: Image.Image
    width: int
    height: int
    taken_at: str | None  # 'YYYY-MM-DDTHH:MM:SS', local time


def decode(path: Path, target_px: int | None = None, max_pixels: int = MAX_PIXELS) -> DecodedImage:
    """Decode the first frame of a file.

    Raises UnreadableImage or ImageTooLarge, and nothing else, whatever the file holds.
    With `target_px` a JPEG may come smaller than it is, its short side still at least twice that.
    """
    with open_picture(path) as file:
        return decode_file(file, shown(path.name), target_px, max_pixels)


def decode_file(
    file: BinaryIO, name: str, target_px: int | None = None, max_pixels: int = MAX_PIXELS
) -> DecodedImage:
    """As `decode`, from an open, seekable file; `name` is for the message of an error."""
    if target_px is not None and target_px < 1:
        raise ValueError(f"target_px is {target_px}; it must be at least 1")
    try:
        with quiet_pillow():
            opened = _identify(file, name)
            _check_size(opened.size, name, max_pixels)
            return _decoded(opened, target_px)
    except Image.DecompressionBombError as error:  # GIF, WebP and TIFF readers check by themselves
        raise ImageTooLarge(
            f"{name} is too large to decode safely ({reason(error)}); make it smaller"
        ) from error
    except PILLOW_ERRORS as error:
        raise UnreadableImage(
            f"{name} is damaged or unsupported ({reason(error)}); replace or convert it"
        ) from error


def _identify(file: BinaryIO, name: str) -> ImageFile.ImageFile:
    # What Image.open(formats=...) does, without its size check. That check knows only
    # Image.MAX_IMAGE_PIXELS, a variable of the whole process, which is the application's and not
    # ours to change.
    prefix = file.read(16)
    if not prefix:
        raise UnreadableImage(f"{name} is empty (0 bytes); replace or remove it")
    for kind in FORMATS:
        read, accepts = Image.OPEN[kind]
        if accepts is None or accepts(prefix) is True:
            file.seek(0)
            return read(file, "")
    raise UnreadableImage(
        f"{name} is not a picture of a kind that can be read ({', '.join(FORMATS)}); "
        "convert or remove it"
    )


def _check_size(size: tuple[int, int], name: str, max_pixels: int) -> None:
    width, height = size
    if width * height > max_pixels:
        raise ImageTooLarge(
            f"{name} is {width:,} x {height:,} = {width * height:,} pixels, more than the limit of "
            f"{max_pixels:,}; make it smaller, or raise CLIPSEARCH_MAX_PIXELS",
            size,
        )


def _decoded(opened: ImageFile.ImageFile, target_px: int | None) -> DecodedImage:
    header_size = opened.size
    if target_px is not None:
        # The same for both sides, so the short one decides, whichever way up the picture is.
        opened.draft(None, (_DRAFT_MARGIN * target_px,) * 2)
    is_reduced = opened.size != header_size
    opened.load()
    image = upright_rgb(opened)
    if is_reduced:
        width, height = header_size[::-1] if orientation(opened) >= 5 else header_size
    else:
        width, height = image.size
    return DecodedImage(image, width, height, taken_at(opened))
