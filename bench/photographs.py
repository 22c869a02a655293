"""Draw JPEGs that cost what photographs cost to decode.

They have detail at every scale; at 12 megapixels they are 2 to 3 MB, at 500x375 about 60 KB.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

LARGE = (4000, 3000)  # width and height of a camera's 12 megapixels
SMALL = (500, 375)  # of pictures made for the web
QUALITY = 88


def write_photographs(folder: Path, count: int, size: tuple[int, int] = LARGE) -> int:
    """Write `count` JPEGs and return their total size in bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    total = 0
    for number in range(count):
        path = folder / f"{number:05d}.jpg"
        if not path.exists():
            _photograph(np.random.default_rng(number), size).save(path, "JPEG", quality=QUALITY)
        total += path.stat().st_size
    return total


def _photograph(random: np.random.Generator, size: tuple[int, int]) -> Image.Image:
    """Octaves of noise whose strength falls with their fineness, as it does in nature (1/f)."""
    width, height = size
    picture = np.zeros((height, width, 3), np.float32)
    for octave in range(2, width.bit_length()):
        cells = 2**octave
        coarse = random.standard_normal((max(2, cells * 3 // 4), cells, 3)).astype(np.float32)
        low, high = coarse.min(), coarse.max()
        image = Image.fromarray(((coarse - low) / (high - low) * 255).astype(np.uint8))
        fine = np.asarray(image.resize(size, Image.Resampling.BICUBIC), np.float32)
        picture += (fine / 255 * (high - low) + low) * 60 / octave**1.1
    return Image.fromarray(np.clip(picture + 128, 0, 255).astype(np.uint8))
