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

from clipsearch.cores import available_cores
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

RECIPE = "ivf-rabitq"
# Measured on clustered unit vectors: fewer points for each centroid cost recall, more iterations
# do not buy any.
POINTS_PER_LIST = 32
ITERATIONS = 10
_MIN_POINTS_PER_LIST = 8
_BYTES_AT_ONCE = 1 << 22
# Estimates are as uncertain as the question is far from the lists that it is compared with. Not the
# nearest alone: that can be a single vector, the very one that is asked for.
_NEAR_LISTS = 8
_faiss: Any = faiss  # much of it is made at run time, where no type checker sees it


@dataclass(frozen=True)
class Effort:
    """How hard to search: how many lists are read, how many candidates come out, and how far above
    its estimate a score may be, as a share of the question's distance to the lists."""

    n_probes: int
    n_candidates: int
    margin: float | None = None  # anything is possible


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
        if _faiss.omp_get_max_threads() > available_cores():  # it sees the machine, not our share
            _faiss.omp_set_num_threads(available_cores())
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
    ) -> Proposal:
        ids, estimates, distance = self.estimated(query, k, allowed, excluded)
        margin = self.effort.margin
        above = math.inf if margin is None or not distance else margin * distance
        return Proposal(ids, estimates + np.float32(above))

    def estimated(
        self,
        query: FloatArray,
        k: int,
        allowed: IdArray | None = None,
        excluded: IdArray | None = None,
    ) -> tuple[IdArray, FloatArray, float]:
        """As `propose`, but with the estimated scores, and the question's distance to the lists
        near it, which their errors are proportional to."""
        query, k = checked_query(query, self.dimension), checked_k(k)
        selector, reachable = self._selection(allowed, excluded)
        if not reachable:
            return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float32), 0.0
        n_candidates = min(self._candidates(k), len(self))
        n_probes = self._probes(n_candidates, reachable)
        while True:
            cosines, lists = self._index.quantizer.search(query[None], n_probes)
            ids, estimates = self._read(query, n_candidates, (lists, cosines), selector)
            if ids.size >= min(k, reachable) or n_probes == self.n_lists:
                near = float(cosines[0, min(_NEAR_LISTS, n_probes) - 1])
                return ids, estimates, math.sqrt(max(2 - 2 * near, 0.0))
            n_probes = min(4 * n_probes, self.n_lists)

    def _read(
        self, query: FloatArray, n: int, lists: tuple[IdArray, FloatArray], selector: Any
    ) -> tuple[IdArray, FloatArray]:
        """The n of the largest estimates in some lists, given with their cosines."""
        estimates, ids = np.empty(n, dtype=np.float32), np.empty(n, dtype=np.int64)
        # A new object for each call: FAISS keeps a search's state in it, and threads search at
        # once.
        parameters = _faiss.IVFRaBitQSearchParameters(nprobe=lists[0].size, sel=selector)
        pointers = [_faiss.swig_ptr(each) for each in (*lists, estimates, ids)]
        # The wrapper that takes arrays takes no parameters.
        self._index.search_preassigned_c(1, _faiss.swig_ptr(query), n, *pointers, False, parameters)
        is_found = ids >= 0
        return ids[is_found], estimates[is_found]

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
