"""Draw large JPEGs that cost what photographs cost to decode.

They have detail at every scale, and 2 to 3 MB at 12 megapixels.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

WIDTH, HEIGHT = 4000, 3000
QUALITY = 88


def write_photographs(folder: Path, count: int, seed: int = 0) -> int:
    """Write `count` JPEGs of 4000x3000 and return their total size in bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    total = 0
    for number in range(count):
        path = folder / f"{number:04d}.jpg"
        if not path.exists():
            _photograph(np.random.default_rng([seed, number])).save(path, "JPEG", quality=QUALITY)
        total += path.stat().st_size
    return total


def _photograph(random: np.random.Generator) -> Image.Image:
    """Octaves of noise whose strength falls with their fineness, as it does in nature (1/f)."""
    picture = np.zeros((HEIGHT, WIDTH, 3), np.float32)
    for octave in range(2, 12):
        cells = 2**octave
        coarse = random.standard_normal((max(2, cells * 3 // 4), cells, 3)).astype(np.float32)
        low, high = coarse.min(), coarse.max()
        image = Image.fromarray(((coarse - low) / (high - low) * 255).astype(np.uint8))
        fine = np.asarray(image.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC), np.float32)
        picture += (fine / 255 * (high - low) + low) * 60 / octave**1.1
    return Image.fromarray(np.clip(picture + 128, 0, 255).astype(np.uint8))
