"""Exact search in plain numpy, quick enough for some thousands of vectors.

The other indexes are tested against it. Knows nothing of FAISS or files.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from clipsearch.index.base import (
    Neighbors,
    best_first,
    checked_dimension,
    checked_ids,
    checked_k,
    checked_new_ids,
    checked_vectors,
    exact_scores,
    refuse_known,
    score_slack,
)
from clipsearch.vectors import FloatArray, IdArray

_QUERIES_AT_ONCE = 16  # bounds the table of scores: 16 x 1,000,000 x 4 bytes = 64 MB


class NumpyIndex:
    """A VectorIndex that scores every vector for every query."""

    def __init__(self, dimension: int) -> None:
        self.dimension = checked_dimension(dimension)
        self._ids: IdArray = np.empty(0, dtype=np.int64)
        self._vectors: FloatArray = np.empty((0, self.dimension), dtype=np.float32)

    def __len__(self) -> int:
        return self._ids.size

    def add(self, ids: IdArray, vectors: FloatArray) -> None:
        new = checked_vectors(vectors, self.dimension)
        new_ids = checked_new_ids(ids, len(new))
        refuse_known(self._ids, new_ids)
        self._ids = np.concatenate([self._ids, new_ids])
        self._vectors = np.concatenate([self._vectors, new])

    def remove(self, ids: IdArray) -> int:
        stays = ~np.isin(self._ids, checked_ids(ids))
        self._ids, self._vectors = self._ids[stays], self._vectors[stays]
        return int(stays.size - self._ids.size)

    def search(
        self,
        queries: FloatArray,
        k: int,
        allowed: IdArray | None = None,
        excluded: IdArray | None = None,
    ) -> Neighbors:
        queries, k = checked_vectors(queries, self.dimension), checked_k(k)
        ids, vectors = self._selected(allowed, excluded)
        return best_first(self._candidates(queries, k, ids, vectors), len(queries), k)

    def _selected(
        self, allowed: IdArray | None, excluded: IdArray | None
    ) -> tuple[IdArray, FloatArray]:
        chosen = np.ones(self._ids.size, dtype=np.bool_)
        if allowed is not None:
            chosen &= np.isin(self._ids, checked_ids(allowed, "allowed"))
        if excluded is not None:
            chosen &= ~np.isin(self._ids, checked_ids(excluded, "excluded"))
        if chosen.all():
            return self._ids, self._vectors  # without a copy
        return self._ids[chosen], self._vectors[chosen]

    def _candidates(
        self, queries: FloatArray, k: int, ids: IdArray, vectors: FloatArray
    ) -> Iterator[tuple[IdArray, FloatArray]]:
        """For each query all that can be among its k best, with exact scores."""
        slack = score_slack(self.dimension)
        for start in range(0, len(queries), _QUERIES_AT_ONCE):
            block = queries[start : start + _QUERIES_AT_ONCE]
            rough = block @ vectors.T  # [queries, vectors] float32
            for query, scores in zip(block, rough, strict=True):
                if scores.size > k:
                    rows = np.flatnonzero(scores >= np.partition(scores, -k)[-k] - slack)
                else:
                    rows = np.arange(scores.size)
                yield ids[rows], exact_scores(query, vectors[rows])
