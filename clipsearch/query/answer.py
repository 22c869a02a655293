"""A vector to search for → the hits that are wanted.

In: a query and its vector, one state of the catalog. Out: Hits. Puts together the search, the
cutoff and the order; knows nothing of models.
"""

from __future__ import annotations

from clipsearch.probes import Query
from clipsearch.query.hits import Hits
from clipsearch.query.search import Space, search
from clipsearch.query.wanted import Wanted
from clipsearch.vectors import FloatArray, IdArray


def answer(
    query: Query, vector: FloatArray, space: Space, wanted: Wanted, leave_out: IdArray | None
) -> Hits:
    """The hits for a unit vector `[dim]`, without the images to leave out."""
    found = search(vector, space, wanted.offset + wanted.k, leave_out)[wanted.offset :]
    if wanted.min_score is not None:
        found = [hit for hit in found if hit.score >= wanted.min_score]
    return Hits(found, query)
