"""The contract of every vector index, and the checks that all of them share.

In: unit vectors under ids. Out: the ids that may be among the nearest. Knows nothing of FAISS,
files or pictures.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clipsearch.errors import VectorIndexError
from clipsearch.vectors import FloatArray, IdArray

# Vectors stored as float16 are off unit length by up to 0.001; what is off by more was not
# normalised.
_LENGTH_TOLERANCE = 0.01


@dataclass(frozen=True)
class Proposal:
    """Ids `[n]`, each once, and a score `[n]` that the exact one of each is hardly above.

    The likeliest first: once k scores are above an id's `at_most`, it and all after it are out. An
    exact index promises that, an approximate one as far as its recall says.
    """

    ids: IdArray
    at_most: FloatArray

    @classmethod
    def nothing(cls) -> Self:
        return cls(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float32))

    def __len__(self) -> int:
        return self.ids.size


class VectorIndex(Protocol):
    """Unit vectors under ids that the caller chose. It proposes; whoever has the vectors decides.

    Searching changes nothing, so threads may search at once. VectorIndexError for input that does
    not fit.
    """

    @property
    def recipe(self) -> str:
        """How it is built, a name of `recipes.py`."""

    @property
    def dimension(self) -> int: ...

    @property
    def ids(self) -> IdArray:
        """Every id in it, in no order."""

    def __len__(self) -> int: ...

    def propose(
        self,
        query: FloatArray,
        k: int,
        allowed: IdArray | None = None,
        excluded: IdArray | None = None,
    ) -> Proposal:
        """Ids among which the k nearest of a unit vector `[dim]` are, the likeliest first.

        Only of `allowed` if given, never of `excluded`. At least k where there are as many. An
        exact index leaves none of the k best out, whatever rounding does, nor any that ties with
        the kth; an approximate one does so as seldom as its recall says.
        """


def checked_dimension(dimension: int) -> int:
    if dimension < 1:
        raise VectorIndexError(f"an index cannot have {dimension} dimensions; give at least 1")
    return int(dimension)


def checked_k(k: int) -> int:
    if k < 1:
        raise VectorIndexError(f"k is {k}; ask for at least 1 neighbour")
    return int(k)


def checked_query(query: ArrayLike, dimension: int) -> FloatArray:
    """Float32 `[dimension]` of unit length; else VectorIndexError."""
    array = np.asarray(query)
    if array.ndim != 1:
        raise VectorIndexError(
            f"a query must have 1 axis [{dimension}], this has {array.ndim}: {array.shape}"
        )
    checked: FloatArray = checked_vectors(array[None], dimension)[0]
    return checked


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
    array: NDArray[Any] = np.asarray(ids)
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
