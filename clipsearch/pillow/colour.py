"""Bring any picture to RGB as a viewer on a white page would show it.

In: a loaded Pillow image. Out: mode RGB.

Colour profiles are ignored. Knows nothing of files or orientation.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from PIL import Image, ImageCms

from clipsearch.vectors import FloatArray

Box = tuple[int, int, int, int]  # left, top, right, bottom

# Modes with more than 8 bits a pixel. Pillow's own convert() clips them: nearly every value becomes
# white.
DEEP_GREY = frozenset({"I", "F", "I;16", "I;16L", "I;16B", "I;16N"})
_FULL_16_BIT = 65535.0

# Pictures are converted in bands, so that of a large one there is never more than itself, the
# result and a little.
_BAND_PIXELS = 1 << 21


def to_rgb(image: Image.Image) -> Image.Image:
    """Mode RGB, the same size.

    Transparent parts over white, deep grey scaled to 8 bits. May return `image` itself.
    """
    if is_deep_grey(image):
        return _grey_8_bit(image).convert("RGB")
    if image.has_transparency_data:
        return _over_white(image)
    if image.mode == "LAB":
        return _from_lab(image)
    return image if image.mode == "RGB" else image.convert("RGB")


def is_deep_grey(image: Image.Image) -> bool:
    """Whether it has more than 8 bits a pixel, which Pillow's own conversion would clip."""
    return image.mode in DEEP_GREY


def _over_white(image: Image.Image) -> Image.Image:
    page = Image.new("RGB", image.size, "white")
    for box in _bands(image):
        band = image.crop(box)
        # Pillow leads from premultiplied La to RGBA only through LA.
        rgba = (band.convert("LA") if band.mode == "La" else band).convert("RGBA")
        page.paste(rgba.convert("RGB"), box, mask=rgba.getchannel("A"))
    return page


def _from_lab(image: Image.Image) -> Image.Image:
    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    transform = ImageCms.buildTransform(lab, srgb, "LAB", "RGB")
    converted = ImageCms.applyTransform(image, transform)
    assert converted is not None, "None is only for in-place conversion"
    return converted


def _grey_8_bit(image: Image.Image) -> Image.Image:
    low, high = _black_and_white(image)
    grey = Image.new("L", image.size)
    for box in _bands(image):
        scaled = (_values(image, box) - low) * np.float32(255.0 / (high - low))
        eight_bit = np.rint(np.clip(np.nan_to_num(scaled), 0, 255)).astype(np.uint8)
        grey.paste(Image.fromarray(eight_bit), box)
    return grey


def _black_and_white(image: Image.Image) -> tuple[float, float]:
    """The values to show as black and as white.

    16 bits have their scale; of wider pixels the content must tell which of the usual ones they
    keep to.
    """
    if image.mode.startswith("I;16"):
        return 0.0, _FULL_16_BIT
    all_finite = (band[np.isfinite(band)] for band in (_values(image, b) for b in _bands(image)))
    ranges = [(float(finite.min()), float(finite.max())) for finite in all_finite if finite.size]
    low, high = min((r[0] for r in ranges), default=0.0), max((r[1] for r in ranges), default=1.0)
    if low >= 0:
        # Mode I holds 8-bit values, or the 16 bits of a PGM; F often runs from 0 to 1.
        for scale in (1.0, 255.0, _FULL_16_BIT) if image.mode == "F" else (255.0, _FULL_16_BIT):
            if high <= scale:
                return 0.0, scale
    return low, high if high > low else low + 1.0


def _values(image: Image.Image, box: Box) -> FloatArray:
    return np.asarray(image.crop(box)).astype(np.float32)  # [height, width]


def _bands(image: Image.Image) -> Iterator[Box]:
    width, height = image.size
    step = max(1, _BAND_PIXELS // max(1, width))
    for top in range(0, height, step):
        yield 0, top, width, min(top + step, height)
