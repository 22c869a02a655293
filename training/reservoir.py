"""Batches out of a stream of shards: part new scenes, part older ones seen differently.

In: shards. Out: Batches of tensors. Knows nothing of how scenes are drawn or learned from.
Every random draw counts: another one, or another order, is another training run.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from clipsearch.clip.preprocess import OPENAI_MEAN, OPENAI_STD
from training.stream import CAPTIONS_PER_SCENE, SHARD, Shard

# Scenes kept for another showing: drawing one costs a third of learning from it.
RESERVOIR = 60_000
SHARDS_AT_FIRST = 16  # so that the first batches have something to choose from
SHARDS_REFILLED = 40  # of the latest, when a run goes on
MEAN = torch.tensor(OPENAI_MEAN)[:, None, None] * 255
STD = torch.tensor(OPENAI_STD)[:, None, None] * 255

Random = np.random.Generator
Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Batch:
    """n scenes: pixels float32 `[n, 3, s, s]`, normalised; tokens int64 `[n, T]`, one caption each;
    concepts int64 `[n, 3]` where -1 stands for none."""

    pixels: Tensor
    tokens: Tensor
    concepts: Tensor


def first_shard(step: int, fresh: int) -> int:
    """The shard to begin with: all of them are due at their steps, so a run that goes on takes up
    a little before where it was."""
    return max(0, step * fresh // SHARD - SHARDS_REFILLED)


class Reservoir:
    """The last RESERVOIR scenes of a stream that begins with shard `first`."""

    def __init__(self, stream: Iterator[Shard], image_px: int, first: int = 0) -> None:
        self.stream = stream
        self.image_px = image_px
        self.taken = first  # of the stream's shards, those before the first included
        self.filled = 0
        self.at = 0  # where the next shard goes
        self.pixels = np.empty((0, 0, 0, 3), np.uint8)
        self.tokens = np.empty((0, CAPTIONS_PER_SCENE, 0), np.int16)
        self.concepts = np.empty((0, 3), np.int16)

    def reach(self, step: int, fresh: int) -> None:
        """Take shards until every scene is there that is due at `step`, with `fresh` to a step."""
        while self.taken * SHARD < max((step + 1) * fresh, SHARDS_AT_FIRST * SHARD):
            self._take(next(self.stream))
            self.taken += 1

    def batch(self, random: Random, size: int, fresh: int) -> Batch:
        """The newest `fresh` scenes and `size - fresh` of all."""
        fresh = min(fresh, self.filled)
        newest = (self.at - 1 - np.arange(fresh)) % len(self.pixels)
        rows = np.concatenate([newest, random.integers(0, self.filled, size - fresh)])
        pixels = self._pixels(random, rows)
        tokens = self._tokens(random, rows)
        return Batch(pixels, tokens, torch.from_numpy(self.concepts[rows].astype(np.int64)))

    def _take(self, shard: Shard) -> None:
        """Put a shard in the place of the oldest."""
        if not self.filled:
            room = RESERVOIR // SHARD * SHARD
            self.pixels = np.empty((room, *shard.pixels.shape[1:]), np.uint8)
            self.tokens = np.empty((room, *shard.tokens.shape[1:]), np.int16)
            self.concepts = np.empty((room, 3), np.int16)
        end = self.at + SHARD
        self.pixels[self.at : end] = shard.pixels
        self.tokens[self.at : end] = shard.tokens
        self.concepts[self.at : end] = shard.concepts
        self.filled = max(self.filled, end)
        self.at = end % len(self.pixels)

    def _pixels(self, random: Random, rows: Rows) -> Tensor:
        """Each scene cropped somewhere and in its own light."""
        px, n = self.image_px, len(rows)
        corners = random.integers(0, self.pixels.shape[1] - px + 1, (n, 2))
        out = np.empty((n, px, px, 3), np.uint8)
        for at, (row, (top, left)) in enumerate(zip(rows, corners, strict=True)):
            out[at] = self.pixels[row, top : top + px, left : left + px]
        pixels = torch.from_numpy(out).permute(0, 3, 1, 2).float()  # [n, 3, px, px]
        light = torch.from_numpy(random.uniform(0.85, 1.15, (n, 1, 1, 1)).astype(np.float32))
        return (pixels * light - MEAN) / STD

    def _tokens(self, random: Random, rows: Rows) -> Tensor:
        """One of each scene's captions, as wide as the longest of them."""
        chosen = random.integers(0, CAPTIONS_PER_SCENE, len(rows))
        tokens = self.tokens[rows, chosen].astype(np.int64)
        longest = int((tokens.argmax(1) + 1).max())  # the end token has the largest id
        return torch.from_numpy(tokens[:, :longest])
