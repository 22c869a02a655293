"""Which kind of index a library gets, and why, in words.

In: how many vectors of how many dimensions, and the machine's memory. Out: a recipe's name.
"""

from __future__ import annotations

import os

from clipsearch.errors import VectorIndexError
from clipsearch.index.store import GenerationHeader

AUTO, EXACT, IVF = "auto", "exact", "ivf-rabitq"
RECIPES = {
    AUTO: "chosen by how many pictures there are",
    EXACT: "every vector is looked at, 2 bytes a dimension",
    IVF: "the likeliest vectors are looked at, 1 bit a dimension, then compared exactly",
}
# Looking at this many bytes takes about 20 ms on one core; beyond, approximation is much faster.
EXACT_MAX_BYTES = 128 * 2**20
# The system's memory has other uses than this one file.
_MEMORY_SHARE = 1 / 8
_RECALL_WANTED = 0.99


def checked_recipe(name: str) -> str:
    """Raises VectorIndexError, naming the recipes, for one that is not known."""
    if name not in RECIPES:
        raise VectorIndexError(f'there is no index recipe "{name}": use {", ".join(RECIPES)}')
    return name


def choose_recipe(
    count: int, dimension: int, wanted: str = AUTO, memory_bytes: int | None = None
) -> str:
    """The recipe for that many vectors: the one wanted, or exact search while it is fast."""
    if checked_recipe(wanted) != AUTO:
        return wanted
    memory_bytes = memory_bytes or installed_memory()
    limit = min(EXACT_MAX_BYTES, memory_bytes * _MEMORY_SHARE)
    return EXACT if 2 * count * dimension <= limit else IVF


def installed_memory() -> int:
    """Bytes of memory that the machine has; where it does not say, enough."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 1 << 40


def explain(header: GenerationHeader) -> str:
    """A sentence on how an index file finds what it finds."""
    if header.recipe == EXACT:
        return f"every one of {header.count:,} vectors is compared with the question"
    told = (
        f"of {header.count:,} vectors the {header.n_candidates:,} likeliest in {header.n_probes:,} "
        "lists are compared exactly"
    )
    if header.recall is None or header.recall_unlike is None:
        return told
    recall = min(header.recall, header.recall_unlike)
    told += (
        f"; of the ten nearest {100 * header.recall:.1f} % were found for pictures of the library "
        f"and {100 * header.recall_unlike:.1f} % for questions unlike them"
    )
    if header.n_trained != header.count:
        told += f" (measured at {header.n_trained:,})"
    if recall < _RECALL_WANTED:
        told += "; --exact, or index --index exact, finds all of them"
    return told
