"""The contract of every vector index, and what all of them share: checks, exact scores, order.

In: unit vectors under ids. Out: Neighbors. Knows nothing of FAISS, files or pictures.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike

from clipsearch.errors import VectorIndexError
from clipsearch.vectors import FloatArray, IdArray

NO_ID = -1
NO_SCORE = -np.inf

# Vectors stored as float16 are off unit length by up to 0.001; what is off by more was not
# normalised.
_LENGTH_TOLERANCE = 0.01


@dataclass(frozen=True)
class Neighbors:
    """The best k for each of n queries, best first; equal scores in the order of their ids."""

    ids: IdArray  # [n, k], -1 where fewer than k were found
    scores: FloatArray  # [n, k] inner products, -inf where the id is -1


class VectorIndex(Protocol):
    """Unit vectors under ids that the caller chooses; finds those with the largest inner product.

    Searching changes nothing, so threads may search at once; `add` and `remove` need the index to
    themselves. Every method raises VectorIndexError for input that does not fit.
    """

    @property
    def dimension(self) -> int: ...

    def __len__(self) -> int: ...

    def add(self, ids: IdArray, vectors: FloatArray) -> None:
        """Add `[n, dim]` unit vectors under n new ids, 0 or larger.

        An id that is there already is an error.
        """

    def remove(self, ids: IdArray) -> int:
        """Take ids out; those that are not there do not matter. Returns how many were."""

    def search(
        self,
        queries: FloatArray,
        k: int,
        allowed: IdArray | None = None,
        excluded: IdArray | None = None,
    ) -> Neighbors:
        """The k best for each of `[n, dim]` queries, among `allowed` if given, without `excluded`.

        Scores are exact to float32 and depend neither on the kind of index nor on what else is
        asked.
        """


def best_first(candidates: Iterable[tuple[IdArray, FloatArray]], n: int, k: int) -> Neighbors:
    """Order each query's candidate ids and exact scores, keep k, fill up with -1 and -inf."""
    ids = np.full((n, k), NO_ID, dtype=np.int64)
    scores = np.full((n, k), NO_SCORE, dtype=np.float32)
    for row, (row_ids, row_scores) in enumerate(candidates):
        order = np.lexsort((row_ids, -row_scores))[:k]
        ids[row, : order.size] = row_ids[order]
        scores[row, : order.size] = row_scores[order]
    return Neighbors(ids, scores)


def exact_scores(query: FloatArray, vectors: FloatArray) -> FloatArray:
    """Inner products of `[dim]` with each of `[m, dim]`, summed in float64, as float32 `[m]`.

    einsum adds up every row in the same order, so equal vectors get equal scores; matrix products
    do not.
    """
    wide = np.einsum("ij,j->i", vectors.astype(np.float64), query.astype(np.float64))
    return np.asarray(wide, dtype=np.float32)


def score_slack(dimension: int) -> float:
    """How far two float32 scores of unit vectors can be out of order for all of rounding.

    A sum of `dimension` products is off by at most dimension * 2**-24, whatever the order of
    adding; twice that for two sums, and a little for lengths that are not quite 1.
    """
    return float(dimension * np.finfo(np.float32).eps * (1 + 4 * _LENGTH_TOLERANCE))


def checked_dimension(dimension: int) -> int:
    if dimension < 1:
        raise VectorIndexError(f"an index cannot have {dimension} dimensions; give at least 1")
    return int(dimension)


def checked_k(k: int) -> int:
    if k < 1:
        raise VectorIndexError(f"k is {k}; ask for at least 1 neighbour")
    return int(k)


def checked_vectors(vectors: ArrayLike, dimension: int) -> FloatArray:
    """Float32, contiguous, `[n, dimension]`, finite and of unit length; else VectorIndexError."""
    try:
        array = np.ascontiguousarray(vectors, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise VectorIndexError(f"vectors must be a table of numbers ({error})") from error
    if array.ndim != 2:
        raise VectorIndexError(
            f"vectors must have 2 axes [n, {dimension}], these have {array.ndim}: {array.shape}"
        )
    if array.shape[1] != dimension:
        raise VectorIndexError(
            f"the index holds vectors of {dimension} dimensions, these have {array.shape[1]}; "
            "they come from another model"
        )
    lengths = np.sqrt(np.einsum("ij,ij->i", array, array))
    # Written so that NaN, which is near to nothing, counts as wrong.
    wrong = np.flatnonzero(~(np.abs(lengths - 1) <= _LENGTH_TOLERANCE))
    if wrong.size:
        raise VectorIndexError(
            f"vector {wrong[0]} has length {lengths[wrong[0]]:g} instead of 1; normalise it first"
        )
    return array


def checked_ids(ids: ArrayLike, name: str = "ids") -> IdArray:
    """Int64 `[n]`; else VectorIndexError."""
    array: np.ndarray[Any, Any] = np.asarray(ids)
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise VectorIndexError(
            f"{name} must be one axis of whole numbers, not {array.dtype} {array.shape}"
        )
    return np.ascontiguousarray(array, dtype=np.int64)


def checked_new_ids(ids: ArrayLike, n_vectors: int) -> IdArray:
    """As checked_ids; also one for each vector, none negative (-1 means nothing), none twice."""
    array = checked_ids(ids)
    if array.size != n_vectors:
        raise VectorIndexError(f"{array.size} ids do not fit {n_vectors} vectors; give one each")
    if array.size and array.min() < 0:
        raise VectorIndexError(f"an id cannot be negative, and {array.min()} is")
    unique, counts = np.unique(array, return_counts=True)
    if unique.size < array.size:
        raise VectorIndexError(f"id {unique[counts > 1][0]} is given twice; give each id once")
    return array


def refuse_known(known: IdArray, new: IdArray) -> None:
    """Raise VectorIndexError if one of the new ids is known already."""
    both = new[np.isin(new, known)]
    if both.size:
        raise VectorIndexError(f"id {both[0]} is in the index already; remove it first")
