"""Approximate search by FAISS: an inverted file of RaBitQ codes, one bit a dimension.

In: unit vectors under ids. Out: proposals. Knows nothing of files; bytes go through a function.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import faiss
import numpy as np
from numpy.typing import NDArray

from clipsearch.errors import VectorIndexError
from clipsearch.index.base import (
    checked_dimension,
    checked_ids,
    checked_k,
    checked_new_ids,
    checked_query,
    checked_vectors,
)
from clipsearch.vectors import FloatArray, IdArray

RECIPE = "ivf-rabitq"
# Measured on clustered unit vectors: fewer points for each centroid cost recall, more iterations
# do not buy any.
POINTS_PER_LIST = 32
ITERATIONS = 10
_MIN_POINTS_PER_LIST = 8
_BYTES_AT_ONCE = 1 << 22
_faiss: Any = faiss  # much of it is made at run time, where no type checker sees it


@dataclass(frozen=True)
class Effort:
    """How hard to search: how many lists are read, and how many candidates come out."""

    n_probes: int
    n_candidates: int


def list_count(n_vectors: int) -> int:
    """How many lists n vectors are spread over: as many as keep finding and reading them even."""
    return max(1, min(int(4 * math.sqrt(n_vectors)), n_vectors // _MIN_POINTS_PER_LIST))


class IvfIndex:
    """A VectorIndex that reads a few lists. `effort` may be changed at any time."""

    recipe = RECIPE

    def __init__(self, index: Any, effort: Effort, memory: object = None) -> None:
        self.effort = effort
        self._index = index
        self._memory = memory  # what the index looks into must live as long as it does
        self.dimension = int(index.d)

    @classmethod
    def trained(cls, sample: FloatArray, n_lists: int) -> Self:
        """An empty index whose lists are made for vectors like a sample `[m, dim]`."""
        dimension = checked_dimension(sample.shape[1])
        index = _faiss.index_factory(dimension, f"IVF{n_lists},RaBitQ", faiss.METRIC_INNER_PRODUCT)
        index.cp.niter = ITERATIONS
        index.cp.min_points_per_centroid = 1  # a small library that asks for this recipe gets it
        index.train(checked_vectors(sample, dimension))
        return cls(index, Effort(n_lists, 1))

    @classmethod
    def from_payload(
        cls, payload: NDArray[np.uint8], effort: Effort, *, to_change: bool = False
    ) -> Self:
        """The index that `write` wrote. Looks into `payload`, or copies it if it is `to_change`.

        Only for content whose digest has been checked: FAISS does not notice a changed vector, and
        a crafted file can make it write where it should not. Raises VectorIndexError.
        """
        try:
            if to_change:
                loaded, reader = faiss.deserialize_index(payload), None
            else:
                reader = _faiss.ZeroCopyIOReader(_faiss.swig_ptr(payload), payload.size)
                loaded = faiss.read_index(reader)
        except (RuntimeError, ValueError, MemoryError) as error:
            raise VectorIndexError(f"the bytes are not a FAISS index ({_words(error)})") from error
        is_ours = isinstance(loaded, faiss.IndexIVFRaBitQ)
        if not is_ours or loaded.metric_type != faiss.METRIC_INNER_PRODUCT:
            raise VectorIndexError("the bytes are a FAISS index of another kind; build it anew")
        return cls(loaded, effort, (payload, reader))

    def write(self, write: Callable[[bytes], int]) -> None:
        """Pass the whole index on, piece by piece, for `from_payload`."""
        faiss.write_index(self._index, _faiss.PyCallbackIOWriter(write, _BYTES_AT_ONCE))

    def __len__(self) -> int:
        return int(self._index.ntotal)

    @property
    def n_lists(self) -> int:
        return int(self._index.nlist)

    @property
    def ids(self) -> IdArray:
        lists = self._index.invlists
        sizes = [int(lists.list_size(n)) for n in range(self.n_lists)]
        found: IdArray = np.empty(sum(sizes), dtype=np.int64)
        start = 0
        for n, size in enumerate(sizes):
            if size:
                found[start : start + size] = faiss.rev_swig_ptr(lists.get_ids(n), size)
            start += size
        return found

    def add(self, ids: IdArray, vectors: FloatArray) -> None:
        """Add `[n, dim]` unit vectors under n ids that it does not have."""
        new = checked_vectors(vectors, self.dimension)
        self._index.add_with_ids(new, checked_new_ids(ids, len(new)))

    def remove(self, ids: IdArray) -> int:
        """Take ids out; those that are not there do not matter. Returns how many were."""
        return int(self._index.remove_ids(faiss.IDSelectorBatch(checked_ids(ids))))

    def propose(
        self,
        query: FloatArray,
        k: int,
        allowed: IdArray | None = None,
        excluded: IdArray | None = None,
    ) -> IdArray:
        query, k = checked_query(query, self.dimension), checked_k(k)
        selector, reachable = self._selection(allowed, excluded)
        if not reachable:
            return np.empty(0, dtype=np.int64)
        n_candidates = min(self._candidates(k), len(self))
        n_probes = self._probes(n_candidates, reachable)
        while True:
            # A new object for each call: FAISS keeps a search's state in it, and threads search
            # at once.
            parameters = _faiss.IVFRaBitQSearchParameters(nprobe=n_probes, sel=selector)
            _, found = self._index.search(query[None], n_candidates, params=parameters)
            ids: IdArray = found[0][found[0] >= 0]
            if ids.size >= min(k, reachable) or n_probes == self.n_lists:
                return ids
            n_probes = min(4 * n_probes, self.n_lists)

    def _candidates(self, k: int) -> int:
        """As many for five hits as for fifteen, so that the exact scores decide among the same."""
        n_candidates = self.effort.n_candidates
        while n_candidates < 2 * k:
            n_candidates *= 2
        return n_candidates

    def _probes(self, n_candidates: int, reachable: int) -> int:
        """More lists for more candidates, and where few of the vectors in them are allowed."""
        wider = max(1.0, n_candidates / self.effort.n_candidates)
        rarer = max(1.0, len(self) / reachable)
        return min(math.ceil(self.effort.n_probes * wider * rarer), self.n_lists)

    def _selection(self, allowed: IdArray | None, excluded: IdArray | None) -> tuple[Any, int]:
        """What may be found (None: everything), and how many that are at most."""
        unwanted = None if excluded is None else checked_ids(excluded, "excluded")
        if allowed is not None:
            wanted = np.unique(checked_ids(allowed, "allowed"))
            if unwanted is not None:
                wanted = np.setdiff1d(wanted, unwanted)
            return faiss.IDSelectorBatch(wanted), min(wanted.size, len(self))
        if unwanted is not None and unwanted.size:
            return faiss.IDSelectorNot(faiss.IDSelectorBatch(unwanted)), len(self)
        return None, len(self)


def _words(error: Exception) -> str:
    """FAISS's message without the place in its source that it begins with."""
    return re.sub(r"^Error in .*?\.(cpp|h):\d+: ", "", str(error))[:160] or type(error).__name__
