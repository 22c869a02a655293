"""What every VectorIndex promises, checked against one line of numpy: ids and scores."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clipsearch.errors import VectorIndexError
from clipsearch.index import ExactIndex, GenerationHeader, VectorIndex, load
from clipsearch.index.exact import ExactWriter
from clipsearch.index.ivf import Effort, IvfIndex
from clipsearch.query.search import exact_scores
from clipsearch.vectors import FloatArray, IdArray, normalise

MakeIndex = Callable[[IdArray, FloatArray], VectorIndex]
Found = list[tuple[int, float]]


def mapped(ids: IdArray, vectors: FloatArray) -> VectorIndex:
    """As a library has it: written batch by batch, and opened where it lies."""
    payload = bytearray()
    writer = ExactWriter(vectors.shape[1], payload.extend)
    writer.add(ids[:7], vectors[:7])
    writer.add(ids[7:], vectors[7:])
    writer.finish()
    header = GenerationHeader(1, len(ids), vectors.shape[1], "", "", "exact", 1)
    return load(header, np.frombuffer(bytes(payload), dtype=np.uint8))


def ivf(ids: IdArray, vectors: FloatArray) -> VectorIndex:
    """An approximate index that is told to search so hard that it must find everything."""
    sample = vectors if len(vectors) else np.eye(1, vectors.shape[1], dtype=np.float32)
    index = IvfIndex.trained(sample, max(1, len(sample) // 20))
    index.add(ids[:7], vectors[:7])
    index.add(ids[7:], vectors[7:])
    index.effort = Effort(index.n_lists, max(1, len(ids)))
    payload = bytearray()
    index.write(lambda part: payload.extend(part) or len(part))
    return IvfIndex.from_payload(np.frombuffer(bytes(payload), dtype=np.uint8), index.effort)


every_index = pytest.mark.parametrize("make", [ExactIndex.of, mapped, ivf])


def unit_vectors(n: int, dimension: int, seed: int = 0) -> FloatArray:
    return normalise(np.random.default_rng(seed).standard_normal((n, dimension)))


def some_ids(n: int, seed: int = 0) -> IdArray:
    """Ids with gaps, in no order, the largest beyond 32 bits."""
    ids = np.random.default_rng(seed).permutation(3 * n)[:n].astype(np.int64) + 5
    ids[0] = 2**40
    return ids


def truth(ids: IdArray, vectors: FloatArray, query: FloatArray, k: int) -> Found:
    """The whole sorted list, cut at k."""
    scores = exact_scores(vectors, query)
    best = sorted((-s, i) for s, i in zip(scores.tolist(), ids.tolist(), strict=True))[:k]
    return [(image_id, -score) for score, image_id in best]


def found(
    index: VectorIndex,
    stored: tuple[IdArray, FloatArray],
    query: FloatArray,
    k: int,
    allowed: IdArray | None = None,
    excluded: IdArray | None = None,
) -> Found:
    """What a query makes of the proposals: the stored vectors decide."""
    ids, vectors = stored
    proposed = index.propose(query, k, allowed, excluded).ids
    assert proposed.dtype == np.int64 and len(set(proposed.tolist())) == proposed.size
    rows = np.array([ids.tolist().index(n) for n in proposed], dtype=np.int64)
    return truth(ids[rows], vectors[rows], query, k)


@every_index
@pytest.mark.parametrize(
    ("n", "dimension", "k"), [(1, 1, 1), (10, 3, 10), (500, 64, 10), (500, 64, 7), (2000, 512, 100)]
)
def test_the_nearest_are_those_of_plain_numpy(
    make: MakeIndex, n: int, dimension: int, k: int
) -> None:
    ids, vectors = some_ids(n), unit_vectors(n, dimension)
    index = make(ids, vectors)
    assert (len(index), index.dimension) == (n, dimension)
    for query in unit_vectors(5, dimension, seed=1):
        assert found(index, (ids, vectors), query, k) == truth(ids, vectors, query, k)


@every_index
def test_a_vector_finds_itself_and_fewer_than_k_are_all(make: MakeIndex) -> None:
    ids, vectors = some_ids(300), unit_vectors(300, 32)
    index = make(ids, vectors)
    assert all(found(index, (ids, vectors), v, 1)[0][0] == n for n, v in zip(ids, vectors))  # noqa: B905
    assert sorted(index.propose(vectors[0], 999).ids) == sorted(ids)


@every_index
def test_an_empty_index_is_no_error(make: MakeIndex) -> None:
    index = make(np.empty(0, dtype=np.int64), np.empty((0, 8), dtype=np.float32))
    query = unit_vectors(1, 8)[0]
    assert len(index) == 0 and index.propose(query, 3).ids.size == 0
    assert index.propose(query, 3, allowed=np.array([1]), excluded=np.array([2])).ids.size == 0


@every_index
def test_filters_choose_before_the_k_are_counted(make: MakeIndex) -> None:
    ids, vectors = some_ids(400), unit_vectors(400, 16)
    index, half, few = make(ids, vectors), ids[::2], ids[:7]
    for query in unit_vectors(3, 16, seed=1):
        for allowed, excluded in ((half, None), (None, half), (half, few), (few, half)):
            chosen = np.ones(400, dtype=bool) if allowed is None else np.isin(ids, allowed)
            chosen &= ~np.isin(ids, np.array([] if excluded is None else excluded))
            expected = truth(ids[chosen], vectors[chosen], query, 20)
            assert found(index, (ids, vectors), query, 20, allowed, excluded) == expected


@every_index
def test_filters_may_name_unknown_ids_repeat_themselves_or_be_empty(make: MakeIndex) -> None:
    ids, vectors = np.array([3, 1, 2]), unit_vectors(3, 4)
    index, query = make(ids, vectors), unit_vectors(1, 4)[0]
    odd, nothing = np.array([1, 1, 99, -5]), np.empty(0, dtype=np.int64)
    assert index.propose(query, 3, allowed=odd).ids.tolist() == [1]
    assert sorted(index.propose(query, 3, excluded=odd).ids) == [2, 3]
    assert index.propose(query, 3, allowed=nothing).ids.size == 0
    assert sorted(index.propose(query, 3, excluded=nothing).ids) == [1, 2, 3]
    assert index.propose(query, 3, allowed=ids, excluded=ids).ids.size == 0
    assert sorted(index.propose(query, 3).ids) == [1, 2, 3]  # a filter lasts for one search


@every_index
def test_all_that_tie_are_proposed(make: MakeIndex) -> None:
    vectors = np.repeat(unit_vectors(3, 512), 300, axis=0)  # three groups of copies
    ids = some_ids(900)
    index = make(ids, vectors)
    for k in (1, 5, 299, 300, 301, 900):
        expected = truth(ids, vectors, vectors[300], k)
        assert found(index, (ids, vectors), vectors[300], k) == expected


@every_index
def test_vectors_that_rough_scores_cannot_tell_apart_are_told_apart(make: MakeIndex) -> None:
    draw = np.random.default_rng(3)
    centre = draw.standard_normal((1, 512))
    vectors = normalise(centre + 3e-6 * draw.standard_normal((400, 512)))
    ids = some_ids(400)
    index = make(ids, vectors)
    for query in normalise(centre + draw.standard_normal((10, 512))):
        for k in (1, 10, 100):
            assert found(index, (ids, vectors), query, k) == truth(ids, vectors, query, k)


@every_index
def test_half_precision_vectors_count_as_unit_length(make: MakeIndex) -> None:
    index = make(np.arange(100), unit_vectors(100, 512).astype(np.float16))
    assert 7 in index.propose(unit_vectors(100, 512)[7], 1).ids


@every_index
def test_the_callers_arrays_are_copied_and_not_changed(make: MakeIndex) -> None:
    ids, vectors = some_ids(30), unit_vectors(30, 8)
    before = ids.copy(), vectors.copy()
    index = make(ids, vectors)
    index.propose(vectors[0], 3, allowed=ids)
    assert (ids == before[0]).all() and (vectors == before[1]).all()
    vectors[:] = 0
    assert ids[0] in index.propose(before[1][0], 1).ids


@every_index
def test_threads_may_search_at_once_each_with_its_filter(make: MakeIndex) -> None:
    ids, vectors = some_ids(600), unit_vectors(600, 32)
    index = make(ids, vectors)

    def search(number: int) -> None:
        allowed = ids[number % 6 :: 6]
        chosen = np.isin(ids, allowed)
        expected = truth(ids[chosen], vectors[chosen], vectors[0], 5)
        assert found(index, (ids, vectors), vectors[0], 5, allowed) == expected

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(search, range(60)))


@pytest.mark.parametrize("make", [ExactIndex.of, mapped, ivf])
@pytest.mark.parametrize(
    ("ids", "vectors", "message"),
    [
        ([1], np.full((1, 8), np.nan), "length nan instead of 1"),
        ([1], np.full((1, 8), np.inf), "length inf instead of 1"),
        ([1], np.zeros((1, 8)), "length 0 instead of 1"),
        ([1], np.eye(8)[:1] * 1.05, r"vector 0 has length 1\.05 instead of 1; normalise"),
        ([1, 2], np.eye(8)[:1], "2 ids do not fit 1 vectors"),
        ([3, 7, 3], np.eye(8)[:3], "id 3 is given twice"),
        ([-1], np.eye(8)[:1], "cannot be negative, and -1 is"),
        ([1.5], np.eye(8)[:1], r"whole numbers, not float64"),
        ([[1]], np.eye(8)[:1], r"one axis"),
    ],
)
def test_what_does_not_fit_is_refused(
    make: MakeIndex, ids: list[int], vectors: FloatArray, message: str
) -> None:
    with pytest.raises(VectorIndexError, match=message):
        make(np.array(ids), vectors)


@every_index
def test_a_search_that_makes_no_sense_is_refused(make: MakeIndex) -> None:
    query = np.eye(8, dtype=np.float32)
    index = make(np.arange(8), query)
    for k in (0, -1):
        with pytest.raises(VectorIndexError, match=f"k is {k}"):
            index.propose(query[0], k)
    with pytest.raises(VectorIndexError, match="8 dimensions, these have 9"):
        index.propose(np.eye(9, dtype=np.float32)[0], 1)
    with pytest.raises(VectorIndexError, match="length nan"):
        index.propose(query[0] * np.nan, 1)
    with pytest.raises(VectorIndexError, match=r"1 axis \[8\], this has 2"):
        index.propose(query, 1)
    with pytest.raises(VectorIndexError, match="allowed must be one axis"):
        index.propose(query[0], 1, allowed=query)  # type: ignore[arg-type]
    with pytest.raises(VectorIndexError, match="excluded must be one axis"):
        index.propose(query[0], 1, excluded=query)  # type: ignore[arg-type]


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(0, 40),
    dimension=st.integers(1, 6),
    k=st.integers(1, 50),
    coarseness=st.integers(1, 3),
    seed=st.integers(0, 2**32 - 1),
)
def test_the_exact_kind_agrees_with_numpy_however_many_ties_there_are(
    n: int, dimension: int, k: int, coarseness: int, seed: int
) -> None:
    draw = np.random.default_rng(seed)
    grid = draw.integers(-coarseness, coarseness + 1, (n + 2, dimension)).astype(np.float64)
    grid[~grid.any(axis=1), 0] = 1
    every, ids = normalise(grid), draw.permutation(n)
    allowed = draw.permutation(n)[: draw.integers(n + 1)] if seed % 3 == 0 else None
    excluded = draw.permutation(n)[: draw.integers(n + 1)] if seed % 2 == 0 else None
    chosen = np.ones(n, dtype=bool) if allowed is None else np.isin(ids, allowed)
    chosen &= ~np.isin(ids, np.array([] if excluded is None else excluded))
    index = ExactIndex.of(ids, every[2:])
    for query in every[:2]:
        expected = truth(ids[chosen], every[2:][chosen], query, k)
        assert found(index, (ids, every[2:]), query, k, allowed, excluded) == expected
