"""Read the details of a picture without decoding it.

In: an open file. Out: Details, or an ImageError where not even its beginning can be read.
"""

from __future__ import annotations

import io
import struct
import zlib
from typing import BinaryIO

from PIL import Image, PngImagePlugin

from clipsearch.images.decode import MAX_PIXELS, errors_in_words, identify
from clipsearch.images.metadata import Details, details

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_END = struct.pack(">I4sI", 0, b"IEND", zlib.crc32(b"IEND"))
_PIXEL_CHUNKS = (b"IDAT", b"acTL", b"fcTL", b"fdAT")


def read_details(file: BinaryIO, name: str, max_pixels: int = MAX_PIXELS) -> Details:
    """What `decode_file` says of the same file, at the cost of its header.

    Raises UnreadableImage or ImageTooLarge, and nothing else, whatever the file holds.
    """
    with errors_in_words(name):
        opened = identify(file, name, max_pixels)
        if isinstance(opened, PngImagePlugin.PngImageFile):
            # It would decode all pixels to find EXIF behind them.
            file.seek(0)
            bare = Image.Image()
            bare.info = identify(_without_pixels(file), name, max_pixels).info
            bare.format = opened.format
            return details(bare)
        return details(opened)


def _without_pixels(file: BinaryIO) -> BinaryIO:
    """A PNG with what lies before and behind its pixels, as far as it is whole."""
    kept = io.BytesIO()
    kept.write(file.read(len(_PNG_SIGNATURE)))
    is_behind = False
    while len(head := file.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        if kind in _PIXEL_CHUNKS:
            is_behind = True
            file.seek(length + 4, io.SEEK_CUR)
            continue
        body, checksum = file.read(length), file.read(4)
        if kind == b"IEND" or len(body) < length:
            break
        if is_behind:  # where Pillow does not look at checksums
            checksum = struct.pack(">I", zlib.crc32(kind + body))
        kept.write(head + body + checksum)
    kept.write(_PNG_END)  # also where the file is cut off
    kept.seek(0)
    return kept
