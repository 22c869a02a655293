"""Make a small picture, or a small JPEG, of a picture.

In: a path or an image. Out: pixels or JPEG bytes without any metadata. Knows nothing of where they
go.
"""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image

from clipsearch.images.decode import decode
from clipsearch.pillow import upright_rgb

_QUALITY = 85


def thumbnail(path_or_image: Path | Image.Image, size_px: int) -> bytes:
    """JPEG bytes, upright, the longest side at most `size_px`; a smaller picture is not enlarged.

    Raises UnreadableImage or ImageTooLarge for a path that cannot be decoded.
    """
    if size_px < 1:
        raise ValueError(f"size_px is {size_px}; it must be at least 1")
    content = io.BytesIO()
    small_picture(path_or_image, (size_px, size_px)).save(content, "JPEG", quality=_QUALITY)
    return content.getvalue()


def small_picture(path_or_image: Path | Image.Image, box_px: tuple[int, int]) -> Image.Image:
    """Upright RGB that fits into a box of (width, height) pixels; never enlarged.

    Raises UnreadableImage or ImageTooLarge for a path that cannot be decoded.
    """
    if min(box_px) < 1:
        raise ValueError(f"the box is {box_px}; its sides must be at least 1")
    if isinstance(path_or_image, Image.Image):
        image = upright_rgb(path_or_image)
    else:
        image = decode(path_or_image, target_px=max(box_px)).image
    scale = min(1.0, box_px[0] / image.width, box_px[1] / image.height)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)
