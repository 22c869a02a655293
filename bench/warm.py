"""`Library.query` of a vector in a large library, one thread, beside plain FAISS: the same index
file searched as hard, and its candidates rescored from float16 vectors in memory."""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.libraries import library, weights
from bench.timing import interleaved
from bench.vectors import Clustered, FloatArray
from bench.workplace import folder_of, kept, run_process

COUNT = 1_000_000
N_QUERIES = 50
REPETITIONS = 9
K = 10


def run(count: int = COUNT) -> dict[str, Any]:
    """About two minutes, without the making of the library."""
    return kept(f"warm-{count}", lambda: _in_one_thread(count))


def _in_one_thread(count: int) -> dict[str, Any]:
    """In a process of its own: how many threads there are is said before numpy is imported."""
    library(count)
    one = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    ran = run_process([sys.executable, "-m", "bench.warm", str(count)], one)
    found: dict[str, Any] = json.loads(ran.output)
    return found


def _measure(count: int) -> dict[str, Any]:
    from clipsearch.index.recall import unlike
    from clipsearch.library import Library
    from clipsearch.settings import Settings

    path, clustered = library(count), Clustered(count)
    stored = np.concatenate([block.astype(np.float16) for block in clustered.blocks()])
    alike = clustered.queries(N_QUERIES)
    # Seen from outside, as words are: clipsearch/index/recall.py says how.
    questions = {"alike": alike, "unlike": unlike(clustered.queries(4096))[:N_QUERIES]}
    settings = Settings.load(library=path, cache_dir=folder_of("cache"))
    with Library(path, model=weights(), create=False, settings=settings) as opened:
        result: dict[str, Any] = {"what": f"warm Library.query at {count:,}, one thread"}
        for kind, queries in questions.items():
            result[kind] = _side_by_side(opened, queries, stored)
        result["recall_at_10_of_status"] = opened.status().index.recall
    return result


def _side_by_side(opened: Any, queries: FloatArray, stored: NDArray[np.float16]) -> dict[str, Any]:
    import faiss

    ours = [[hit.image_id for hit in opened.query(query, K)] for query in queries]
    exact = [_exact(stored, query) for query in queries]
    loaded: Any = opened._files._loaded[1]
    raw, effort = loaded.index._index, loaded.index.effort
    parameters_of: Any = faiss.IVFRaBitQSearchParameters

    def library_queries() -> None:
        for query in queries:
            opened.query(query, K)

    def plain_faiss() -> None:
        for query in queries:
            parameters = parameters_of(nprobe=effort.n_probes)
            _, ids = raw.search(query[None], effort.n_candidates, params=parameters)
            _rescored(stored, query, ids[0])

    seconds = interleaved({"library": library_queries, "faiss": plain_faiss}, REPETITIONS)
    medians = {name: float(np.median(runs)) / N_QUERIES for name, runs in seconds.items()}
    found = [len(set(a) & set(b)) / K for a, b in zip(ours, exact, strict=True)]
    return {
        "library_ms": round(1000 * medians["library"], 2),
        "faiss_ms": round(1000 * medians["faiss"], 2),
        "share": round(medians["library"] / medians["faiss"], 2),
        "recall_at_10": round(float(np.mean(found)), 4),
        "n_probes": effort.n_probes,
        "n_candidates": effort.n_candidates,
    }


def _rescored(stored: NDArray[np.float16], query: FloatArray, ids: NDArray[np.int64]) -> Any:
    rows = stored[ids - 1].astype(np.float32)  # the first picture of a library has the id 1
    scores = rows @ query
    return ids[np.argsort(-scores)[:K]]


def _exact(stored: NDArray[np.float16], query: FloatArray) -> list[int]:
    parts = [
        stored[n : n + 10_000].astype(np.float32) @ query for n in range(0, len(stored), 10_000)
    ]
    return [int(n) + 1 for n in np.argsort(-np.concatenate(parts))[:K]]


if __name__ == "__main__":
    print(json.dumps(_measure(int(sys.argv[1]))))
