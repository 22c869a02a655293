"""Sprites: their levels and their tints. The font itself is not needed."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from training.glyphs import LEVELS, Sprite, tinted


@pytest.mark.parametrize(
    ("size_px", "width"), [(5, 32), (32, 32), (33, 64), (128, 128), (500, 128)]
)
def test_the_level_that_is_large_enough_is_the_smallest(size_px: float, width: int) -> None:
    sprite = Sprite(tuple(Image.new("RGBA", (level, level)) for level in LEVELS))
    assert sprite.at_least(size_px).width == width


def test_a_tint_keeps_light_dark_and_outline() -> None:
    image = Image.new("RGBA", (2, 1), (255, 255, 255, 255))
    image.putpixel((1, 0), (40, 40, 40, 90))
    pixels = np.asarray(tinted(image, np.asarray((200, 40, 40), np.float32))).astype(int)
    assert (pixels[..., 0] > 2 * pixels[..., 1]).all()
    assert pixels[0, 0, 0] > pixels[0, 1, 0]
    assert pixels[..., 3].tolist() == [[255, 90]]
