"""Turn a vector into ranked hits.

In: a vector; the catalog; perhaps an index. Out: Hits, best first. Knows nothing of models.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from clipsearch.query.base import Base, QueryReads
from clipsearch.query.hits import Hit
from clipsearch.vectors import FloatArray, IdArray, distinct, widened, without

if TYPE_CHECKING:
    from clipsearch.index.base import Proposal

# So few are compared exactly, whatever the index: that is faster than looking for them in it.
FEW = 4096
# How far a product with a stored vector can be off the cosine, twice and with something to spare:
# float16 leaves a length of 1 within 2 ** -11.
STORED_ERROR = 2e-3
# So many hits are looked for at least; index/recall.py measures with as many.
LEAST_DEPTH = 16
# So many candidates are compared before the first look at whether that is enough.
_FIRST_LOOK = 64


@dataclass(frozen=True)
class Space:
    """Where to search: one state of the catalog, and an index of a part of it, if there is one."""

    catalog: QueryReads
    model_id: int
    base: Base | None = None


def search(
    vector: FloatArray,
    space: Space,
    k: int,
    leave_out: IdArray | None = None,
    allowed: IdArray | None = None,
) -> list[Hit]:
    """The k nearest present images of a unit vector `[dim]`, by exact score and then by id.

    Only of `allowed` if it is given; fewer than k come back only if there are no more.
    """
    out = np.empty(0, dtype=np.int64) if leave_out is None else leave_out
    if allowed is not None and allowed.size <= FEW:
        candidates = without(without(allowed, out), space.catalog.absent_ids())
        ids, scores = _compared(vector, space, candidates)
    else:
        # Five hits are the first five of fifteen, because as many are looked for.
        depth = max(LEAST_DEPTH, 1 << (k - 1).bit_length())
        tail = without(_from_tail(vector, space, depth + len(out), allowed), out)
        ids, scores = _nearest_of_all(vector, space, depth, tail, out, allowed)
    best = np.lexsort((ids, -scores))[:k]
    paths = space.catalog.paths_of(ids[best])
    return [
        Hit(int(ids[n]), paths[int(ids[n])], float(scores[n])) for n in best if int(ids[n]) in paths
    ]


def exact_scores(vectors: FloatArray, vector: FloatArray) -> NDArray[np.float64]:
    """Cosines `[n]` of vectors `[n, dim]` with a unit vector `[dim]`.

    Summed row by row, as einsum does, not as a matrix product, whose last digits depend on the
    other rows: equal vectors get equal scores, whatever else is scored.
    """
    wide = vectors.astype(np.float64)
    lengths = np.sqrt(np.einsum("ij,ij->i", wide, wide))
    scores = np.einsum("ij,j->i", wide, vector.astype(np.float64)) / lengths
    clipped: NDArray[np.float64] = np.clip(scores, -1.0, 1.0)
    return clipped


def _compared(
    vector: FloatArray, space: Space, candidates: IdArray
) -> tuple[IdArray, NDArray[np.float64]]:
    """Those of the ids that have a vector, ascending, and their exact scores."""
    ids, vectors = space.catalog.vectors_of(space.model_id, np.sort(candidates))
    return ids, exact_scores(vectors, vector)


def _nearest_of_all(
    vector: FloatArray, space: Space, k: int, tail: IdArray, out: IdArray, allowed: IdArray | None
) -> tuple[IdArray, NDArray[np.float64]]:
    """Ids and exact scores, among them the k best of the index and of the tail."""
    base, compared = space.base, _compared(vector, space, tail)
    if base is None or not len(base.index):
        return compared
    # To know every image that has lost its vector, as in a repair, takes a look at all of them.
    # Mostly there is none; where one is met, it may have taken the place of another.
    for gone_by in (space.catalog.masked_ids, space.catalog.dead_ids):
        gone = gone_by(space.model_id, base.through_vector_id)
        excluded = distinct(np.concatenate([gone, out])) if out.size else gone
        proposal = base.index.propose(vector, k, allowed, excluded)
        ids, scores, n_lost = _nearest(vector, space, k, proposal, compared)
        if not n_lost:
            break
    return ids, scores


def _nearest(
    vector: FloatArray,
    space: Space,
    k: int,
    proposal: Proposal,
    compared: tuple[IdArray, NDArray[np.float64]],
) -> tuple[IdArray, NDArray[np.float64], int]:
    """Ids and exact scores, among them the k best of what the index proposes and of those that have
    been compared; and how many had no vector.

    Looks at the likeliest first, and no further than one could still be among the best.
    """
    ids, scores = compared
    n_lost, start, end = 0, 0, _FIRST_LOOK
    while start < len(proposal):
        candidates = proposal.ids[start:end]
        more_ids, more_scores = _compared(vector, space, candidates)
        n_lost += candidates.size - more_ids.size
        ids, scores = np.concatenate([ids, more_ids]), np.concatenate([scores, more_scores])
        start, end = end, 2 * end
        if scores.size >= k:
            kth = np.partition(scores, -k)[-k]
            n_possible = int(np.count_nonzero(proposal.at_most >= kth))
            end = min(end, n_possible)
            if start >= n_possible:
                break
    return ids, scores, n_lost


def _from_tail(vector: FloatArray, space: Space, k: int, allowed: IdArray | None) -> IdArray:
    """Ids newer than the index, among them all of the k best."""
    kept_ids, kept_scores = np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float32)
    for ids, scores in _tail_scores(vector, space):
        is_wanted = slice(None) if allowed is None else np.isin(ids, allowed)
        kept_ids = np.concatenate([kept_ids, ids[is_wanted]])
        kept_scores = np.concatenate([kept_scores, scores[is_wanted]])
        if len(kept_scores) > k:
            kth = np.partition(kept_scores, -k)[-k]
            is_kept = kept_scores >= kth - STORED_ERROR
            kept_ids, kept_scores = kept_ids[is_kept], kept_scores[is_kept]
    return kept_ids


def _tail_scores(vector: FloatArray, space: Space) -> Iterator[tuple[IdArray, FloatArray]]:
    """Ids and scores of the newer vectors, as float16 and a matrix product give them."""
    after = space.base.through_vector_id if space.base else 0
    for batch in space.catalog.vector_batches(space.model_id, after_vector_id=after):
        is_wide = batch.vectors.dtype == np.float32
        scores: FloatArray = (batch.vectors if is_wide else widened(batch.vectors)) @ vector
        yield batch.image_ids, scores
