"""Turn a file into an upright RGB picture.

In: a path or an open file, of any content. Out: a DecodedImage, or an ImageError.
Knows nothing of models: how small the picture may be is told to it as `target_px`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
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
from clipsearch.images.metadata import Details, details
from clipsearch.images.opening import open_picture, shown
from clipsearch.pillow import PILLOW_ERRORS, as_shown, orientation, quiet_pillow, reason

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

# Pictures that could not be read are tried again when this changes: raise the number when our own
# reading changes so that it may now succeed.
DECODER = f"Pillow {PIL.__version__}, reading 2"

# Where Pillow's warning of decompression bombs begins: at its 4 bytes a pixel a third of a
# gigabyte. It counts what is really decoded.
MAX_PIXELS = 89_478_485

# A JPEG is decoded at a fraction of its size, so that the 200 megapixels of a telephone cost
# little; but its every block has to be read, and this many take some seconds.
MAX_SCALED_PIXELS = 500_000_000

# A JPEG is decoded to at least this many times the size wanted, so that the resize that follows
# still has pixels to average. At 1 the reduction's own, cruder filter would show in the vectors.
_DRAFT_MARGIN = 2

_HEAD_BYTES = 30  # what tells the format, and of a WebP the size


@dataclass(frozen=True)
class DecodedImage:
    """A picture as seen: `image` upright RGB, `width` and `height` of the original, upright."""

    image: Image.Image
    width: int
    height: int
    details: Details


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
    with errors_in_words(name):
        return _decoded(identify(file, name, max_pixels), name, target_px, max_pixels)


@contextmanager
def errors_in_words(name: str) -> Iterator[None]:
    """Whatever Pillow raises becomes UnreadableImage or ImageTooLarge; its warnings are dropped."""
    try:
        with quiet_pillow():
            yield
    except Image.DecompressionBombError as error:  # GIF, WebP and TIFF readers check by themselves
        raise ImageTooLarge(
            f"{name} is too large to decode safely ({reason(error)}); make it smaller"
        ) from error
    except MemoryError as error:
        raise ImageTooLarge(
            f"{name} needs more memory to decode than there is; make it smaller"
        ) from error
    except PILLOW_ERRORS as error:
        raise UnreadableImage(
            f"{name} is damaged or unsupported ({reason(error)}); replace or convert it"
        ) from error


def identify(file: BinaryIO, name: str, max_pixels: int) -> ImageFile.ImageFile:
    """Open a picture by its first bytes, and read no further than its reader needs to say how large
    it is. Raises UnreadableImage, and what Pillow raises."""
    # What Image.open(formats=...) does, without its size check. That check knows only
    # Image.MAX_IMAGE_PIXELS, a variable of the whole process, which is the application's and not
    # ours to change.
    head = file.read(_HEAD_BYTES)
    prefix = head[:16]
    if not prefix:
        raise UnreadableImage(f"{name} is empty (0 bytes); replace or remove it")
    for kind in FORMATS:
        read, accepts = Image.OPEN[kind]
        if accepts is None or accepts(prefix) is True:
            file.seek(0)
            if kind == "WEBP":  # its reader makes room for two whole pictures when it opens one
                _check_size(_webp_size(head), name, max_pixels)
            return read(file, "")
    raise UnreadableImage(
        f"{name} is not a picture of a kind that can be read ({', '.join(FORMATS)}); "
        "convert or remove it"
    )


def _webp_size(head: bytes) -> tuple[int, int]:
    """Width and height by the first 30 bytes of a WebP file; (0, 0) if it is none after all."""
    kind, bits = head[12:16], int.from_bytes(head[21:25], "little")
    if kind == b"VP8L":
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8X":
        width, height = head[24:27], head[27:30]
        return int.from_bytes(width, "little") + 1, int.from_bytes(height, "little") + 1
    if kind == b"VP8 ":
        width, height = head[26:28], head[28:30]
        return int.from_bytes(width, "little") & 0x3FFF, int.from_bytes(height, "little") & 0x3FFF
    return 0, 0


def _check_size(size: tuple[int, int], name: str, max_pixels: int) -> None:
    width, height = size
    if width * height > max_pixels:
        raise ImageTooLarge(
            f"{name} is {width:,} x {height:,} = {width * height:,} pixels, more than the limit of "
            f"{max_pixels:,}; make it smaller, or raise CLIPSEARCH_MAX_PIXELS",
            size,
        )


def _decoded(
    opened: ImageFile.ImageFile, name: str, target_px: int | None, max_pixels: int
) -> DecodedImage:
    header_size = opened.size
    if target_px is not None:
        # The same for both sides, so the short one decides, whichever way up the picture is.
        opened.draft(None, (_DRAFT_MARGIN * target_px,) * 2)
    is_reduced = opened.size != header_size
    _check_size(opened.size, name, max_pixels)
    _check_size(header_size, name, max(max_pixels, MAX_SCALED_PIXELS))
    # Pillow turns a TIFF upright while it loads it, and forgets that it did.
    turned = orientation(opened) if opened.format == "TIFF" else None
    opened.load()
    image = as_shown(opened)  # may be `opened` itself: a copy would double a large one's cost
    width, height = image.size
    if is_reduced:
        width, height = header_size[::-1] if orientation(opened) >= 5 else header_size
    about = details(opened)
    if turned is not None:
        about = replace(about, orientation=turned)
    image.info.clear()  # else whoever honours EXIF next would turn it again
    return DecodedImage(image, width, height, about)
