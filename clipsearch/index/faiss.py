"""Exact search by FAISS.

In: unit vectors under ids. Out: Neighbors; the whole index as bytes and back.

Knows nothing of files: FAISS's own way of writing them loses errors and overwrites in place, see
store.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Self

import faiss
import numpy as np

from clipsearch.errors import VectorIndexError
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

# FAISS is asked for this many more than k, so that in most searches all that could tie with the kth
# are there.
_SPARE = 16
_GROWTH = 4

# What may be searched: the selector (None for everything) and how many ids it lets through at most.
Selection = tuple[Any, int]

_SearchParameters: Any = faiss.SearchParameters  # its keywords are known at run time only


class FaissIndex:
    """A VectorIndex over a flat FAISS index with an id map.

    FAISS proposes, exact_scores decides.
    """

    recipe = "flat"

    def __init__(self, dimension: int) -> None:
        self.dimension = checked_dimension(dimension)
        self._index: Any = faiss.IndexIDMap2(faiss.IndexFlatIP(self.dimension))

    @classmethod
    def from_bytes(cls, content: bytes | bytearray | memoryview) -> Self:
        """The index that `to_bytes` was called on. Raises VectorIndexError if it is none.

        Only for content whose digest has been checked: FAISS does not notice a changed vector, and
        a crafted file can make it write where it should not.
        """
        try:
            loaded = faiss.deserialize_index(np.frombuffer(content, dtype=np.uint8))
        except (RuntimeError, ValueError, MemoryError) as error:
            raise VectorIndexError(f"the bytes are not a FAISS index ({_words(error)})") from error
        flat = faiss.downcast_index(loaded.index) if isinstance(loaded, faiss.IndexIDMap2) else None
        if not isinstance(flat, faiss.IndexFlat) or flat.metric_type != faiss.METRIC_INNER_PRODUCT:
            raise VectorIndexError("the bytes are a FAISS index of another kind; build it anew")
        index = cls(loaded.d)
        index._index = loaded
        return index

    def to_bytes(self) -> bytes:
        """The whole index, for `from_bytes`. Takes its size in memory twice more while it works."""
        return bytes(faiss.serialize_index(self._index).tobytes())

    def __len__(self) -> int:
        return int(self._index.ntotal)

    @property
    def ids(self) -> IdArray:
        """Every id in it, in the order of adding."""
        found: IdArray = faiss.vector_to_array(self._index.id_map)
        return found

    def vectors(self, ids: IdArray) -> FloatArray:
        """The vectors `[n, dim]` of ids that are in it. Raises VectorIndexError for others."""
        wanted = checked_ids(ids)
        if not wanted.size:
            return np.empty((0, self.dimension), dtype=np.float32)
        try:
            found: FloatArray = self._index.reconstruct_batch(wanted)
        except RuntimeError as error:
            raise VectorIndexError(f"an id is not in the index ({_words(error)})") from error
        return found

    def add(self, ids: IdArray, vectors: FloatArray) -> None:
        new = checked_vectors(vectors, self.dimension)
        new_ids = checked_new_ids(ids, len(new))
        refuse_known(faiss.vector_to_array(self._index.id_map), new_ids)
        self._index.add_with_ids(new, new_ids)

    def remove(self, ids: IdArray) -> int:
        return int(self._index.remove_ids(faiss.IDSelectorBatch(checked_ids(ids))))

    def search(
        self,
        queries: FloatArray,
        k: int,
        allowed: IdArray | None = None,
        excluded: IdArray | None = None,
    ) -> Neighbors:
        queries, k = checked_vectors(queries, self.dimension), checked_k(k)
        selection = self._selection(allowed, excluded)
        return best_first(self._candidates(queries, k, selection), len(queries), k)

    def _selection(self, allowed: IdArray | None, excluded: IdArray | None) -> Selection:
        unwanted = None if excluded is None else checked_ids(excluded, "excluded")
        if allowed is not None:
            wanted = np.unique(checked_ids(allowed, "allowed"))
            if unwanted is not None:
                wanted = np.setdiff1d(wanted, unwanted, assume_unique=False)
            return faiss.IDSelectorBatch(wanted), min(wanted.size, len(self))
        if unwanted is not None and unwanted.size:
            return faiss.IDSelectorNot(faiss.IDSelectorBatch(unwanted)), len(self)
        return None, len(self)

    def _candidates(
        self, queries: FloatArray, k: int, selection: Selection
    ) -> Iterator[tuple[IdArray, FloatArray]]:
        """For each query all that can be among its k best, with exact scores."""
        proposals = self._proposals(queries, k, selection)
        for query, ids in zip(queries, proposals, strict=True):
            vectors: FloatArray = np.empty((0, self.dimension), dtype=np.float32)
            if ids.size:
                vectors = self._index.reconstruct_batch(ids)
            yield ids, exact_scores(query, vectors)

    def _proposals(self, queries: FloatArray, k: int, selection: Selection) -> list[IdArray]:
        """The ids whose rough score is not below the kth by more than rounding explains.

        FAISS cuts ties off anywhere; so the search is repeated wider until the last score is
        clearly below the kth.
        """
        selector, reachable = selection
        found: list[IdArray] = [np.empty(0, dtype=np.int64) for _ in queries]
        # A new object for each call: FAISS keeps per-search state in it, and threads search at
        # once.
        parameters = _SearchParameters(sel=selector) if selector is not None else None
        open_rows = np.arange(len(queries) if reachable else 0)
        width = min(k + _SPARE, reachable)
        while open_rows.size:
            scores, ids = self._index.search(queries[open_rows], width, params=parameters)
            floor = scores[:, min(k, width) - 1] - score_slack(self.dimension)  # [rows]
            is_done = (scores[:, -1] < floor) | (ids[:, -1] < 0) | (width >= reachable)
            for place in np.flatnonzero(is_done):
                likely = (ids[place] >= 0) & (scores[place] >= floor[place])
                found[open_rows[place]] = ids[place][likely]
            open_rows = open_rows[~is_done]
            width = min(width * _GROWTH, reachable)
        return found


def _words(error: Exception) -> str:
    """FAISS's message without the place in its source that it begins with."""
    return re.sub(r"^Error in .*?\.(cpp|h):\d+: ", "", str(error))[:160] or type(error).__name__
