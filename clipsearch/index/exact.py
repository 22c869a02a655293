"""Exact search in plain numpy over a table of 16-bit numbers, which may be a file in memory.

In: unit vectors under ids. Out: proposals that miss nothing. Knows nothing of FAISS or files.

The numbers are whole ones (32,767 times the component): as exact as float16 for unit vectors, and
numpy turns them into float32 five to ten times as fast, so that this needs no other library.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

import numpy as np
from numpy.typing import NDArray

from clipsearch.errors import VectorIndexError
from clipsearch.index.base import (
    Proposal,
    checked_dimension,
    checked_ids,
    checked_k,
    checked_new_ids,
    checked_query,
    checked_vectors,
)
from clipsearch.vectors import FloatArray, IdArray

CodeArray = NDArray[np.int16]
Write = Callable[[bytes], object]

RECIPE = "exact"
_SCALE = 32767.0
CODE_ERROR = 0.5 / _SCALE
_CODE = np.dtype("<i2")
_ID = np.dtype("<i8")
_ROWS_AT_ONCE = 1024  # 2 MB of float32 at 512 dimensions: it stays in the cache


class ExactIndex:
    """A VectorIndex that looks at every vector. Holds the arrays it is given, and changes none."""

    recipe = RECIPE

    def __init__(self, ids: IdArray, codes: CodeArray) -> None:
        self.dimension = checked_dimension(codes.shape[1])
        self.ids, self._codes = ids, codes

    @classmethod
    def of(cls, ids: IdArray, vectors: FloatArray) -> Self:
        """An index in memory of vectors `[n, dim]`. Raises VectorIndexError."""
        dimension = np.shape(vectors)[-1] if np.ndim(vectors) else 0
        checked = checked_vectors(vectors, checked_dimension(dimension))
        return cls(checked_new_ids(ids, len(checked)), codes_of(checked))

    @classmethod
    def from_payload(cls, payload: NDArray[np.uint8], count: int, dimension: int) -> Self:
        """The index that an ExactWriter wrote; nothing is copied. Raises VectorIndexError."""
        n_codes = count * dimension * _CODE.itemsize
        if len(payload) != n_codes + count * _ID.itemsize:
            raise VectorIndexError(f"{len(payload)} bytes do not fit {count} vectors")
        codes = payload[:n_codes].view(_CODE).reshape(count, dimension)
        ids = np.frombuffer(payload[n_codes:].tobytes(), dtype=_ID)  # few, and rarely aligned
        return cls(ids.astype(np.int64, copy=False), codes)

    def __len__(self) -> int:
        return self.ids.size

    def vectors(self, ids: IdArray) -> FloatArray:
        """The vectors `[n, dim]` of ids that are in it, each number off by at most CODE_ERROR.

        Raises VectorIndexError for others.
        """
        wanted, order = checked_ids(ids), np.argsort(self.ids, kind="stable")
        places = np.searchsorted(self.ids, wanted, sorter=order)
        is_inside = places < self.ids.size
        is_inside[is_inside] = self.ids[order[places[is_inside]]] == wanted[is_inside]
        if not is_inside.all():
            raise VectorIndexError(f"id {wanted[~is_inside][0]} is not in the index")
        vectors: FloatArray = self._codes[order[places]].astype(np.float32) / np.float32(_SCALE)
        return vectors

    def propose(
        self,
        query: FloatArray,
        k: int,
        allowed: IdArray | None = None,
        excluded: IdArray | None = None,
    ) -> Proposal:
        query, k = checked_query(query, self.dimension), checked_k(k)
        scores = self._scores(query)
        if allowed is not None:
            scores[~np.isin(self.ids, checked_ids(allowed, "allowed"))] = -np.inf
        if excluded is not None and np.size(excluded):
            scores[np.isin(self.ids, checked_ids(excluded, "excluded"))] = -np.inf
        floor, error = np.float32(-np.inf), np.float32(_error(query))
        if scores.size > k:
            floor = np.partition(scores, -k)[-k] - 2 * error
        chosen = np.flatnonzero((scores >= floor) & np.isfinite(scores))
        chosen = chosen[np.argsort(-scores[chosen])]
        return Proposal(self.ids[chosen], scores[chosen] + error)

    def _scores(self, query: FloatArray) -> FloatArray:
        """Products with every vector, each off by at most `_error`."""
        scores = np.empty(self.ids.size, dtype=np.float32)
        wide = np.empty((_ROWS_AT_ONCE, self.dimension), dtype=np.float32)
        scaled = (query / _SCALE).astype(np.float32)
        for start in range(0, scores.size, _ROWS_AT_ONCE):
            some = self._codes[start : start + _ROWS_AT_ONCE]
            rows = wide[: len(some)]
            np.copyto(rows, some)
            np.dot(rows, scaled, out=scores[start : start + len(some)])
        return scores


class ExactWriter:
    """Writes what `ExactIndex.from_payload` reads, batch by batch: all the codes, then the ids."""

    def __init__(self, dimension: int, write: Write) -> None:
        self.dimension = checked_dimension(dimension)
        self._write = write
        self.ids: list[IdArray] = []

    def __len__(self) -> int:
        return sum(ids.size for ids in self.ids)

    def add(self, ids: IdArray, vectors: FloatArray) -> None:
        """Write the vectors `[n, dim]` of n new ids. Raises VectorIndexError."""
        checked = checked_vectors(vectors, self.dimension)
        self.ids.append(checked_new_ids(ids, len(checked)))
        self._write(codes_of(checked).tobytes())

    def finish(self) -> None:
        every = np.concatenate([np.empty(0, dtype=np.int64), *self.ids])
        self._write(checked_new_ids(every, every.size).astype(_ID).tobytes())


def codes_of(vectors: FloatArray) -> CodeArray:
    """Unit vectors → whole numbers; a component of 1.01, which rounding makes, counts as 1."""
    scaled = np.rint(np.clip(vectors, -1, 1) * np.float32(_SCALE))
    return np.ascontiguousarray(scaled.astype(_CODE))


def _error(query: FloatArray) -> float:
    """How far a product can be off: half a step a component, and the rounding of the sum."""
    of_codes = float(np.abs(query).sum(dtype=np.float64)) * CODE_ERROR
    return of_codes + query.size * float(np.finfo(np.float32).eps)
