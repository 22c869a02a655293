"""An endless, repeatable stream of training examples, drawn in processes of their own.

In: a seed. Out: shards of scenes with captions as tokens, always the same ones in the same order,
whatever the number of processes. Knows nothing of models.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import dataclass
from itertools import count
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from clipsearch.clip.tokenizer import Tokenizer
from training.captions import caption
from training.concepts import load_concepts
from training.glyphs import draw_sprites
from training.scenes import Painter, Stream, generator

OVERSIZE = 1.5  # scenes are drawn larger and shrunk, as photographs are
MARGIN = 1 / 8  # the trainer crops at random out of this much more than it shows
CAPTIONS_PER_SCENE = 3
SHARD = 128  # scenes that travel together

T = TypeVar("T")


@dataclass(frozen=True)
class Shard:
    """n = SHARD scenes, drawn s = `stored_px` wide.

    Pixels uint8 `[n, s, s, 3]`, tokens int16 `[n, CAPTIONS_PER_SCENE, context_length]`, concepts
    int16 `[n, 3]` where -1 stands for none.
    """

    pixels: NDArray[np.uint8]
    tokens: NDArray[np.int16]
    concepts: NDArray[np.int16]


@dataclass(frozen=True)
class StreamSpec:
    """What the stream depends on. `image_px` is the model's input size."""

    seed: int
    image_px: int
    context_length: int
    merges: Path

    @property
    def stored_px(self) -> int:
        """The side of a drawn scene: MARGIN more than the model sees."""
        return round(self.image_px * (1 + MARGIN))


def shards(
    spec: StreamSpec, first: int = 0, processes: int = 1, ahead: int = 8
) -> Generator[Shard, None, None]:
    """Yield shard `first`, `first + 1`, … for ever, `ahead` of them drawn in advance.

    Whoever is done with it closes it, which ends the processes.
    """
    # Spawned and not forked: a fork of a process in which torch has started threads may hang.
    context = get_context("spawn")
    with ProcessPoolExecutor(processes, context, _start, (spec,)) as pool:
        yield from in_order(pool, _draw, first, ahead)


def in_order(
    pool: Executor, task: Callable[[int], T], first: int, ahead: int
) -> Generator[T, None, None]:
    """Yield `task(first)`, `task(first + 1)`, … for ever, `ahead` of them begun in advance."""
    waiting = deque(pool.submit(task, first + at) for at in range(ahead))
    try:
        for number in count(first + ahead):
            yield waiting.popleft().result()
            waiting.append(pool.submit(task, number))
    finally:
        for future in waiting:
            future.cancel()


class Drawer:
    """Draws any shard by its number. What one process keeps between shards."""

    def __init__(self, spec: StreamSpec) -> None:
        self.spec = spec
        self.concepts = load_concepts()
        self.painter = Painter(draw_sprites(self.concepts))
        self.tokenizer = Tokenizer.from_file(spec.merges)

    def shard(self, number: int) -> Shard:
        size = self.spec.stored_px
        pixels = np.empty((SHARD, size, size, 3), np.uint8)
        things = np.full((SHARD, 3), -1, np.int16)
        texts: list[str] = []
        for at in range(SHARD):
            random = generator(self.spec.seed, Stream.TRAIN, number * SHARD + at)
            scene, picture = self.painter.draw(random, round(OVERSIZE * size))
            pixels[at] = np.asarray(picture.resize((size, size), Image.Resampling.BICUBIC))
            things[at, : len(scene.concepts)] = scene.concepts
            texts.extend(caption(scene, self.concepts, random) for _ in range(CAPTIONS_PER_SCENE))
        tokens = self.tokenizer.tokenize(texts, self.spec.context_length, truncate=True)
        tokens = tokens.reshape(SHARD, CAPTIONS_PER_SCENE, -1)
        return Shard(pixels, tokens.astype(np.int16), things)  # the vocabulary is small


_drawer: Drawer | None = None  # of this process, if it is one that draws


def _start(spec: StreamSpec) -> None:
    global _drawer
    os.nice(5)  # whoever trains goes first
    _drawer = Drawer(spec)


def _draw(number: int) -> Shard:
    assert _drawer is not None
    return _drawer.shard(number)
