"""Bring any picture to RGB as a viewer on a white page would show it.

In: a loaded Pillow image. Out: mode RGB.

Colour profiles are ignored. Knows nothing of files or orientation.
"""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageCms

from clipsearch.vectors import FloatArray

# Modes with more than 8 bits a pixel. Pillow's own convert() clips them: nearly every value becomes
# white.
DEEP_GREY = frozenset({"I", "F", "I;16", "I;16L", "I;16B", "I;16N"})
_FULL_16_BIT = 65535.0


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
    # Pillow leads from premultiplied La to RGBA only through LA.
    rgba = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
    page = Image.new("RGB", rgba.size, "white")
    page.paste(rgba.convert("RGB"), mask=rgba.getchannel("A"))
    return page


def _from_lab(image: Image.Image) -> Image.Image:
    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    transform = ImageCms.buildTransform(lab, srgb, "LAB", "RGB")
    converted = ImageCms.applyTransform(image, transform)
    assert converted is not None, "None is only for in-place conversion"
    return converted


def _grey_8_bit(image: Image.Image) -> Image.Image:
    values = np.asarray(image).astype(np.float32)  # [height, width]
    low, high = _black_and_white(values, image.mode)
    scaled = (values - low) * np.float32(255.0 / (high - low))
    eight_bit = np.rint(np.clip(np.nan_to_num(scaled), 0, 255)).astype(np.uint8)
    return Image.fromarray(eight_bit)


def _black_and_white(values: FloatArray, mode: str) -> tuple[float, float]:
    """The values to show as black and as white.

    16 bits have their scale; of wider pixels the content must tell which of the usual ones they
    keep to.
    """
    if mode.startswith("I;16"):
        return 0.0, _FULL_16_BIT
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    if low >= 0:
        # Mode I holds 8-bit values, or the 16 bits of a PGM; F often runs from 0 to 1.
        for scale in (1.0, 255.0, _FULL_16_BIT) if mode == "F" else (255.0, _FULL_16_BIT):
            if high <= scale:
                return 0.0, scale
    return low, high if high > low else low + 1.0
