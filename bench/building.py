"""Building the index file of a large library, beside plain FAISS that trains and adds the same
vectors to the same kind of index, from memory."""

from __future__ import annotations

import resource
import time
from pathlib import Path
from typing import Any

import numpy as np

from bench.libraries import library
from bench.vectors import Clustered
from bench.workplace import kept

COUNT = 1_000_000


def run(count: int = COUNT) -> dict[str, Any]:
    """About 10 minutes at a million on two cores, without the making of the library."""
    return kept(f"build-{count}", lambda: _measure(count))


def _measure(count: int) -> dict[str, Any]:
    path = library(count)
    ours, peak_mb = _ours(path)  # first, because the peak of a process never falls
    plain = _plain_faiss(Clustered(count))
    return {
        "what": f"build of the index of {count:,} vectors",
        "clipsearch_seconds": round(ours, 1),
        "clipsearch_peak_mb": round(peak_mb),
        "faiss_seconds": round(plain, 1),
        "share": round(ours / plain, 2),
    }


def _ours(path: Path) -> tuple[float, float]:
    from clipsearch.catalog import Catalog
    from clipsearch.index import prune_generations
    from clipsearch.indexer.merge import merge
    from clipsearch.query.base import BaseFiles

    files = BaseFiles(path / "index")
    with Catalog.open(path / "catalog.sqlite3") as catalog:
        model = catalog.model()
        assert model is not None
        prune_generations(files.folder, keep=())
        began = time.perf_counter()
        merge(catalog, model, files)
        seconds = time.perf_counter() - began
    return seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _plain_faiss(clustered: Clustered) -> float:
    import faiss

    from clipsearch.index.ivf import ITERATIONS, POINTS_PER_LIST, list_count

    n_lists = list_count(clustered.count)
    vectors = np.concatenate([block.astype(np.float16) for block in clustered.blocks()])
    draw = np.random.default_rng(0)
    chosen = np.sort(draw.choice(len(vectors), POINTS_PER_LIST * n_lists, replace=False))
    index: Any = faiss.index_factory(
        clustered.dimension, f"IVF{n_lists},RaBitQ", faiss.METRIC_INNER_PRODUCT
    )
    index.cp.niter = ITERATIONS
    began = time.perf_counter()
    index.train(vectors[chosen].astype(np.float32))
    for start in range(0, len(vectors), 65_536):
        some = vectors[start : start + 65_536].astype(np.float32)
        index.add_with_ids(some, np.arange(start, start + len(some)))
    return time.perf_counter() - began
