"""Nearest vectors by id, and the files that keep them.

Knows nothing of pictures, models or the catalog.
"""

from clipsearch.index.base import Neighbors, VectorIndex
from clipsearch.index.exact import NumpyIndex
from clipsearch.index.faiss import FaissIndex
from clipsearch.index.store import (
    GenerationHeader,
    Refusal,
    RefusalReason,
    generation_path,
    generations,
    load_generation,
    prune_generations,
    read_generation,
    read_header,
    remove_temporaries,
    write_generation,
)

__all__ = [
    "FaissIndex",
    "GenerationHeader",
    "Neighbors",
    "NumpyIndex",
    "Refusal",
    "RefusalReason",
    "VectorIndex",
    "generation_path",
    "generations",
    "load_generation",
    "prune_generations",
    "read_generation",
    "read_header",
    "remove_temporaries",
    "write_generation",
]
