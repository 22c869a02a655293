"""Glyphs of the Noto Color Emoji font as RGBA sprites.

In: Concepts and the font file (Debian: fonts-noto-color-emoji). Out: sprites at three sizes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from training.concepts import Concept

FONT = Path("/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf")
STRIKE_PX = 109  # the only size the bitmap font holds; its glyphs are 136x128
LEVELS = (128, 64, 32)  # halved copies, so that shrinking by more than two never aliases


@dataclass(frozen=True)
class Sprite:
    """One glyph, square, RGBA, at LEVELS."""

    levels: tuple[Image.Image, ...]

    def at_least(self, size_px: float) -> Image.Image:
        """The smallest level that needs no enlarging, else the largest."""
        enough = (level for level in reversed(self.levels) if level.width >= size_px)
        return next(enough, self.levels[0])


def draw_sprites(concepts: Sequence[Concept], font_path: Path = FONT) -> list[Sprite]:
    """Draw every concept's glyph. Raises ValueError naming the glyphs that the font lacks."""
    font = ImageFont.truetype(str(font_path), STRIKE_PX)
    blank = np.asarray(_draw(font, "\U0010fffd"))  # a private character, which no font draws
    sprites, lacking = [], []
    for concept in concepts:
        image = _draw(font, concept.glyph)
        if np.array_equal(np.asarray(image), blank):
            lacking.append(concept.name)
        sprites.append(Sprite(tuple(_shrunk(image, size) for size in LEVELS)))
    if lacking:
        raise ValueError(f"the font {font_path} lacks: {', '.join(lacking)}")
    return sprites


def tinted(image: Image.Image, colour: NDArray[np.float32]) -> Image.Image:
    """A sprite in shades of one colour (RGB, 0 to 255), its own light and dark kept."""
    pixels = np.asarray(image).astype(np.float32)
    light = pixels[..., :3].mean(-1, keepdims=True) / 255
    pixels[..., :3] = np.minimum(colour * (0.45 + 0.8 * light), 255)
    return Image.fromarray(pixels.astype(np.uint8))


def _draw(font: ImageFont.FreeTypeFont, glyph: str) -> Image.Image:
    canvas = Image.new("RGBA", (160, 160))
    ImageDraw.Draw(canvas).text((12, 16), glyph, font=font, embedded_color=True)
    box = canvas.getbbox()
    return canvas.crop(box) if box else canvas


def _shrunk(image: Image.Image, size_px: int) -> Image.Image:
    """Centre an image in a square of this side."""
    side = max(image.size)
    square = Image.new("RGBA", (side, side))
    square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    return square.resize((size_px, size_px), Image.Resampling.BICUBIC)
