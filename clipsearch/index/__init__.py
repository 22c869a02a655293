"""Nearest vectors by id, and the files that keep them.

Knows nothing of pictures, models or the catalog. Loads FAISS only for an index that needs it.
"""

from clipsearch.index.base import VectorIndex
from clipsearch.index.build import Change, Source, build, extend, load, open_index, open_one
from clipsearch.index.exact import CODE_ERROR, ExactIndex
from clipsearch.index.recipes import RECIPES, checked_recipe, choose_recipe, explain
from clipsearch.index.refusal import Refusal, RefusalReason
from clipsearch.index.store import (
    GenerationHeader,
    generation_path,
    generations,
    prune_generations,
    read_header,
    remove_temporaries,
    write_generation,
)
from clipsearch.index.verified import Verified

__all__ = [
    "CODE_ERROR",
    "RECIPES",
    "Change",
    "ExactIndex",
    "GenerationHeader",
    "Refusal",
    "RefusalReason",
    "Source",
    "VectorIndex",
    "Verified",
    "build",
    "checked_recipe",
    "choose_recipe",
    "explain",
    "extend",
    "generation_path",
    "generations",
    "load",
    "open_index",
    "open_one",
    "prune_generations",
    "read_header",
    "remove_temporaries",
    "write_generation",
]
