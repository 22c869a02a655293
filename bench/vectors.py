"""Made-up vectors for measurements with more of them than there are pictures: clustered on the
sphere, around a common mean direction, as CLIP's are.

Clusters differ in size by a power law, directions in strength, so that a few of the 512 numbers
carry most of the variance. They are not CLIP's vectors: recall on them says what to expect, and
`clipsearch status` says what a library's own vectors gave.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]

DIMENSION = 512
BLOCK = 10_000
_COMMON, _OF_CLUSTER, _OWN = 0.7, 0.55, 0.6  # how far each part moves a vector
_DECAY = 0.6  # the nth direction is (n + 1) ** -0.6 times as strong as the first
_ZIPF = 1.3  # sizes of clusters
_PER_CLUSTER = 200


@dataclass(frozen=True)
class Clustered:
    """`count` vectors, the same ones for the same seed, in blocks that can be drawn apart."""

    count: int
    dimension: int = DIMENSION
    seed: int = 0

    def blocks(self) -> Iterator[FloatArray]:
        """All of them, float32 `[n, dim]` of unit length, at most BLOCK at a time."""
        for number, start in enumerate(range(0, self.count, BLOCK)):
            yield self._draw(number, min(BLOCK, self.count - start))

    def queries(self, n: int) -> FloatArray:
        """More of the same kind, none of which is among them: `[n, dim]`."""
        return self._draw(-1, n)

    def _draw(self, number: int, n: int) -> FloatArray:
        basis, strengths, centres = self._frame
        draw = np.random.default_rng([self.seed, 1, number + 1])
        cluster = draw.zipf(_ZIPF, size=n) % len(centres)
        own = _unit(draw.standard_normal((n, self.dimension)) * strengths)
        apart = (_OF_CLUSTER * centres[cluster] + _OWN * own).astype(np.float32) @ basis
        return _unit(apart + _COMMON * basis[0])

    @cached_property
    def _frame(self) -> tuple[FloatArray, NDArray[Any], FloatArray]:
        """The directions, their strengths, the centres of the clusters."""
        draw = np.random.default_rng([self.seed, 0])
        basis = np.linalg.qr(draw.standard_normal((self.dimension, self.dimension)))[0]
        strengths = (1.0 + np.arange(self.dimension)) ** -_DECAY
        n_centres = max(200, self.count // _PER_CLUSTER)
        centres = _unit(draw.standard_normal((n_centres, self.dimension)) * strengths)
        return basis.astype(np.float32), strengths, centres


def _unit(vectors: NDArray[Any]) -> FloatArray:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: FloatArray = (vectors / lengths).astype(np.float32)
    return unit
