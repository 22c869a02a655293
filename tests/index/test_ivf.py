"""The approximate index: what it may miss, what it may not, how its files are made and go on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from clipsearch.errors import VectorIndexError
from clipsearch.index import Change, GenerationHeader, Source, build, explain, extend, open_index
from clipsearch.index.base import VectorIndex
from clipsearch.index.build import Batches
from clipsearch.index.ivf import Effort, IvfIndex, list_count
from clipsearch.index.recall import DEPTH, Examination, unlike
from clipsearch.vectors import FloatArray, IdArray, normalise

DIMENSION = 32
HEADER = GenerationHeader(1, 0, DIMENSION, "library", "model", "ivf-rabitq", 1)


def clustered(n: int, seed: int = 0) -> FloatArray:
    draw = np.random.default_rng(seed)
    centres = np.random.default_rng(99).standard_normal((40, DIMENSION))
    own = 0.6 * draw.standard_normal((n, DIMENSION))
    return normalise(centres[draw.integers(40, size=n)] + own + 1)


def batches_of(ids: IdArray, vectors: FloatArray) -> Callable[[], Batches]:
    """In pieces of 500."""
    starts = range(0, len(ids), 500)
    return lambda: ((ids[n : n + 500], vectors[n : n + 500]) for n in starts)


def source_of(ids: IdArray, vectors: FloatArray) -> Source:
    sample = np.random.default_rng(0).permutation(vectors)
    return Source(len(ids), lambda n: sample[:n], batches_of(ids, vectors))


def opened(folder: Path) -> tuple[GenerationHeader, VectorIndex]:
    found = open_index(folder, library_uuid="library", model_sha256="model", on_refusal=pytest.fail)
    assert found is not None
    return found


def recall(index: VectorIndex, ids: IdArray, vectors: FloatArray, queries: FloatArray) -> float:
    """Of the ten nearest, those that a query compares even if it stops as soon as it can."""
    shares = []
    for query in queries:
        scores = vectors @ query
        right, enough = ids[np.argsort(-scores)[:10]], np.sort(scores)[-DEPTH]
        proposal = index.propose(query, 10)
        shares.append(np.isin(right, proposal.ids[proposal.at_most >= enough]).mean())
    return float(np.mean(shares))


def test_what_is_built_finds_what_its_header_says(tmp_path: Path) -> None:
    ids, vectors = np.arange(6000) * 3, clustered(6000)
    build(tmp_path, source_of(ids, vectors), HEADER)
    header, index = opened(tmp_path)
    assert (header.count, header.n_trained, len(index)) == (6000, 6000, 6000)
    assert header.recall is not None and header.recall >= 0.99
    assert header.recall_unlike is not None and header.recall_unlike >= 0.99
    assert header.n_candidates < 6000  # it need not have looked at everything
    assert recall(index, ids, vectors, clustered(100, seed=5)) >= 0.98
    assert recall(index, ids, vectors, unlike(clustered(100, seed=6))) >= 0.98


def test_the_measured_recall_is_that_of_brute_force() -> None:
    ids, vectors = np.arange(2000), clustered(2000)
    index = IvfIndex.trained(vectors, list_count(2000))
    examination = Examination(vectors)
    for some in np.array_split(ids, 7):
        index.add(some, vectors[some])
        examination.see(some, vectors[some])
    measured = examination.least_effort(index)
    n = len(examination.queries) // 2
    alike, other = examination.queries[:n], examination.queries[n:]
    assert measured.recall == pytest.approx(recall(index, ids, vectors, alike))
    assert measured.recall_unlike == pytest.approx(recall(index, ids, vectors, other))


def test_questions_unlike_the_vectors_are_far_from_all_of_them() -> None:
    vectors = clustered(500)
    cosines = unlike(vectors) @ vectors.T
    assert np.allclose(np.linalg.norm(unlike(vectors), axis=1), 1, atol=1e-6)
    assert cosines.mean() < 0.4 < (vectors @ vectors.T).mean()


def test_too_little_effort_is_said_with_the_remedy() -> None:
    header = replace(
        HEADER, count=1_000_000, n_probes=64, n_candidates=200, n_trained=900_000,
        recall=0.995, recall_unlike=0.971,
    )  # fmt: skip
    told = explain(header)
    assert "99.5 %" in told and "97.1 %" in told and "measured at 900,000" in told
    assert "--exact" in told
    assert "--exact" not in explain(replace(header, recall_unlike=0.991))
    assert explain(replace(header, recipe="exact")).startswith("every one of 1,000,000")


@pytest.mark.parametrize("n_allowed", [1, 9, 40, 2000])
def test_k_come_back_however_few_are_allowed(n_allowed: int) -> None:
    ids, vectors = np.arange(4000), clustered(4000)
    index = IvfIndex.trained(vectors, 250)
    index.add(ids, vectors)
    index.effort = Effort(1, 50)
    allowed = np.random.default_rng(n_allowed).permutation(ids)[:n_allowed]
    for query in clustered(20, seed=3):
        found = index.propose(query, 10, allowed=allowed).ids
        assert found.size >= min(10, n_allowed) and np.isin(found, allowed).all()


def test_the_likeliest_come_first_and_the_right_ones_are_hardly_above_what_is_told() -> None:
    ids, vectors = np.arange(4000), clustered(4000)
    index = IvfIndex.trained(vectors, 250)
    examination = Examination(vectors)
    index.add(ids, vectors)
    examination.see(ids, vectors)
    assert 0 < (examination.least_effort(index).effort.margin or 0) < 0.5
    for query in np.concatenate([clustered(20, seed=3), unlike(clustered(20, seed=4))]):
        proposal = index.propose(query, 10)
        assert (np.diff(proposal.at_most) <= 0).all()
        is_above = vectors[proposal.ids] @ query > proposal.at_most
        assert is_above.mean() < 0.02


def test_without_a_measured_margin_nothing_is_ruled_out() -> None:
    index = IvfIndex.trained(clustered(400), 20)
    index.add(np.arange(400), clustered(400))
    assert np.isposinf(index.propose(clustered(1, seed=3)[0], 10).at_most).all()


def test_five_are_chosen_among_the_same_candidates_as_fifteen() -> None:
    ids, vectors = np.arange(4000), clustered(4000)
    index = IvfIndex.trained(vectors, 250)
    index.add(ids, vectors)
    index.effort = Effort(4, 200)
    for query in clustered(20, seed=3):
        assert sorted(index.propose(query, 5).ids) == sorted(index.propose(query, 15).ids)
        assert index.propose(query, 1000).ids.size >= 1000


def test_an_extended_file_is_the_old_one_with_its_changes(tmp_path: Path) -> None:
    ids, vectors = np.arange(5000), clustered(5000)
    build(tmp_path, source_of(ids[:4000], vectors[:4000]), HEADER)
    old, _ = opened(tmp_path)
    gone = np.array([1, 2, 3, 77, 10**6])
    change = Change(gone, batches_of(ids[4000:], vectors[4000:]))
    extend(tmp_path, change, old, replace(HEADER, generation=2, through_vector_id=9))
    header, index = opened(tmp_path)
    assert (header.generation, header.count, header.through_vector_id) == (2, 4996, 9)
    assert (header.n_trained, header.recall) == (4000, old.recall)
    stays = ~np.isin(ids, gone)
    assert recall(index, ids[stays], vectors[stays], clustered(50, seed=8)) >= 0.98
    assert not np.isin(gone, index.propose(vectors[1], 2000).ids).any()


def test_a_damaged_file_is_not_built_on(tmp_path: Path) -> None:
    ids, vectors = np.arange(1000), clustered(1000)
    path = build(tmp_path, source_of(ids, vectors), HEADER)
    old, _ = opened(tmp_path)
    damaged = bytearray(path.read_bytes())
    damaged[-1] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(VectorIndexError, match="build it anew"):
        extend(tmp_path, Change(ids[:1], batches_of(ids[:0], vectors[:0])), old, HEADER)


@pytest.mark.parametrize("n", [1, 2, 9, 30])
def test_a_handful_of_vectors_can_have_this_kind_too(tmp_path: Path, n: int) -> None:
    ids, vectors = np.arange(n), clustered(n)
    build(tmp_path, source_of(ids, vectors), HEADER)
    header, index = opened(tmp_path)
    assert header.recall == 1 and sorted(index.propose(vectors[0], n).ids) == ids.tolist()
