"""A world of coloured squares to draw and to learn, without a font or Unicode's files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from clipsearch.clip.config import ClipConfig, TextConfig, VisionConfig
from training.bpe import count_words, learn_merges, save_merges
from training.concepts import Concept
from training.glyphs import Sprite
from training.scenes import Painter
from training.stream import CAPTIONS_PER_SCENE, SHARD, Shard

N_SQUARES = 40
CONCEPTS = [Concept("", f"thing {number}", "toys", ()) for number in range(N_SQUARES)]
IMAGE_PX, CONTEXT = 32, 16


def squares() -> list[Sprite]:
    """One sprite for each of CONCEPTS."""
    colours = np.random.default_rng(0).integers(0, 256, (N_SQUARES, 3))
    large = [Image.new("RGBA", (64, 64), (*map(int, colour), 255)) for colour in colours]
    return [Sprite((square, square.resize((32, 32)))) for square in large]


def square_painter() -> Painter:
    return Painter(squares())


def write_merges(path: Path) -> Path:
    save_merges(path, learn_merges(count_words(["thing on a background"]), 12))
    return path


def tiny_config(vocab_size: int) -> ClipConfig:
    vision = VisionConfig(IMAGE_PX, layers=(1, 1, 1, 1), width=8, patch_size=None)
    return ClipConfig(16, vision, TextConfig(CONTEXT, vocab_size, width=32, heads=1, layers=1))


def random_shards(first: int = 0, context: int = CONTEXT) -> Iterator[Shard]:
    """Noise with words; the same for the same number, as real shards are."""
    number = first
    while True:
        random = np.random.default_rng(number)
        side = IMAGE_PX * 9 // 8
        tokens = random.integers(1, 500, (SHARD, CAPTIONS_PER_SCENE, context)).astype(np.int16)
        tokens[..., -1] = 512  # the largest: the end
        concepts = np.full((SHARD, 3), -1, np.int16)
        concepts[:, 0] = random.integers(0, len(CONCEPTS), SHARD)
        pixels = random.integers(0, 256, (SHARD, side, side, 3), np.uint8)
        yield Shard(pixels, tokens, concepts)
        number += 1
