"""Measure how many of the ten nearest an approximate index finds, and how hard it has to search.

In: a sample of the library's vectors, then all of them, batch by batch. Out: an Effort and the
recall@10 with it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clipsearch.index.ivf import Effort, IvfIndex
from clipsearch.vectors import FloatArray, IdArray, normalise

N_QUERIES = 100  # of each kind: with ten hits each, an error of about 0.3 points at 0.99
N_HITS = 10
DEPTH = 16  # hits that a query looks for at least, see query/search.py
TARGET = 0.99
_N_FOR_MEAN = 4096
# The margin is what so many of the right answers need, and a little more, because the most that a
# few hundred questions need is not yet the most that there is.
_MARGIN_SHARE = 0.998
_MARGIN_SPARE = 1.1
_NO_DISTANCE = 1e-6
_ANY = float(np.finfo(np.float32).max)
# In the order of what they cost. A list holds some hundred vectors.
LADDER = (
    Effort(32, 200),
    Effort(64, 200),
    Effort(64, 400),
    Effort(128, 400),
    Effort(256, 400),
    Effort(256, 600),
    Effort(256, 800),
    Effort(512, 800),
    Effort(512, 1600),
    Effort(1024, 3200),
)


@dataclass(frozen=True)
class Measured:
    """The recall@10 for pictures of the library, and for questions unlike any of them."""

    effort: Effort
    recall: float
    recall_unlike: float


class Examination:
    """Questions whose right answers are gathered while the vectors go by."""

    def __init__(self, sample: FloatArray) -> None:
        alike = sample[:N_QUERIES]
        # Some thousand tell the common mean; all of a large sample would cost gigabytes.
        other = unlike(sample[:_N_FOR_MEAN])[: len(alike)]
        self.queries: FloatArray = np.concatenate([alike, other])
        n = len(self.queries)
        self._scores: FloatArray = np.full((n, DEPTH), -np.inf, dtype=np.float32)
        self._ids: IdArray = np.full((n, DEPTH), -1, dtype=np.int64)

    def see(self, ids: IdArray, vectors: FloatArray) -> None:
        """Take these vectors into account."""
        scores = self.queries @ vectors.T  # [queries, vectors]
        better = scores > self._scores[:, -1:]
        for row in np.flatnonzero(better.any(axis=1)):
            new = np.flatnonzero(better[row])
            every = np.concatenate([self._scores[row], scores[row, new]])
            best = np.argsort(-every, kind="stable")[:DEPTH]
            self._scores[row] = every[best]
            self._ids[row] = np.concatenate([self._ids[row], ids[new]])[best]

    def least_effort(self, index: IvfIndex) -> Measured:
        """The cheapest step of the ladder that reaches the target, else the last; now in use."""
        steps = [
            effort
            for lower, effort in zip((None, *LADDER), LADDER, strict=False)
            if lower is None or lower.n_probes < index.n_lists or lower.n_candidates < len(index)
        ]
        # The harder the search, the more is found: half of the steps are out after each look.
        low, high, measured = 0, len(steps) - 1, dict[int, Measured]()
        while low < high or high not in measured:
            middle = (low + high) // 2
            index.effort = steps[middle]
            measured[middle] = found = self._measure(index)
            if min(found.recall, found.recall_unlike) >= TARGET:
                high = middle
            else:
                low = min(middle + 1, high)
        index.effort = measured[high].effort
        return measured[high]

    def _measure(self, index: IvfIndex) -> Measured:
        needs = [self._needs(index, row) for row in range(len(self.queries))]
        # Where every vector is a candidate, too few of them are unlikely to tell by how much.
        is_few = len(index) <= index.effort.n_candidates
        margin = None if is_few else _margin(np.concatenate(needs))
        index.effort = replace(index.effort, margin=margin)
        enough = _ANY if margin is None else margin
        found = np.array([_mean(need <= enough) for need in needs])
        half = len(found) // 2
        return Measured(index.effort, _mean(found[:half]), _mean(found[half:]))

    def _needs(self, index: IvfIndex, row: int) -> NDArray[np.float64]:
        """For each right answer the margin with which it cannot be missed; infinite where it is no
        candidate.

        A query stops where so many of the scores that it has seen are above an estimate and its
        margin. Never sooner, then, than if it had seen the best of all.
        """
        right = self._ids[row, :N_HITS]
        right, best = right[right >= 0], self._scores[row][self._ids[row] >= 0]
        ids, estimates, distance = index.estimated(self.queries[row], N_HITS)
        is_right = np.isin(ids, right)
        needs = (best.min(initial=1.0) - estimates[is_right]) / max(distance, _NO_DISTANCE)
        return np.concatenate([needs, np.full(right.size - needs.size, np.inf)])


def _margin(needs: NDArray[np.float64]) -> float:
    """Enough for nearly all of the answers that are candidates at all, and some more."""
    finite = needs[np.isfinite(needs)]
    if not finite.size:
        return 0.0
    return _MARGIN_SPARE * max(0.0, float(np.quantile(finite, _MARGIN_SHARE)))


def unlike(sample: FloatArray) -> FloatArray:
    """Questions as far from the vectors as words are from pictures: `[m, dim]` → `[m, dim]`.

    Each is a mixture of what sets two vectors apart from the common mean, around a centre of its
    own at a right angle to that mean. Words lie like that in CLIP's space: all at a cosine of some
    0.2 to every picture, and it is the small differences that count.
    """
    mean = sample.mean(axis=0)
    mean = mean / max(float(np.linalg.norm(mean)), 1e-12)
    apart = sample - np.outer(sample @ mean, mean)
    draw = np.random.default_rng(len(sample))
    centre = draw.standard_normal(sample.shape[1])
    centre -= (centre @ mean) * mean
    centre /= max(float(np.linalg.norm(centre)), 1e-12)
    mixed = apart + apart[draw.permutation(len(sample))]
    lengths = np.maximum(np.linalg.norm(mixed, axis=1, keepdims=True), 1e-6)
    return normalise(0.5 * mixed / lengths + 0.85 * centre + 0.2 * mean)


def _mean(values: NDArray[Any]) -> float:
    return float(values.mean()) if values.size else 1.0
