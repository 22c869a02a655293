"""Unit-vector maths on numpy arrays, and the array types that everybody shares.

Knows nothing of models or indexes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
HalfArray = NDArray[np.float16]
IdArray = NDArray[np.int64]

# Below this length a vector has no direction that float32 could state.
MIN_LENGTH = 1e-12


def normalise(vectors: NDArray[Any]) -> FloatArray:
    """Scale vectors to unit length along the last axis: `[..., dim]` → float32 `[..., dim]`.

    Raises ValueError if a vector is zero or not finite, because it has no direction.
    """
    wide = np.asarray(vectors, dtype=np.float64)
    lengths = np.linalg.norm(wide, axis=-1, keepdims=True)
    if not np.all(np.isfinite(lengths)) or np.any(lengths < MIN_LENGTH):
        raise ValueError("a vector of length 0 or with NaN or infinity in it has no direction")
    unit: FloatArray = (wide / lengths).astype(np.float32)
    return unit


def weighted_sum(vectors: Sequence[FloatArray], weights: Sequence[float]) -> FloatArray:
    """Add unit vectors `[dim]` by their weights and scale the sum to unit length.

    Raises ValueError if they cancel out.
    """
    total = np.zeros_like(vectors[0], dtype=np.float64)
    for vector, weight in zip(vectors, weights, strict=True):
        total += weight * vector.astype(np.float64)
    return normalise(total)
