"""What every VectorIndex promises, checked against one line of numpy: ids and scores."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clipsearch.errors import VectorIndexError
from clipsearch.index import FaissIndex, Neighbors, NumpyIndex, VectorIndex
from clipsearch.vectors import FloatArray, IdArray, normalise

MakeIndex = Callable[[int], VectorIndex]
every_index = pytest.mark.parametrize("make", [NumpyIndex, FaissIndex])


def unit_vectors(n: int, dimension: int, seed: int = 0) -> FloatArray:
    return normalise(np.random.default_rng(seed).standard_normal((n, dimension)))


def some_ids(n: int, seed: int = 0) -> IdArray:
    """Ids with gaps, in no order, the largest beyond 32 bits."""
    ids = np.random.default_rng(seed).permutation(3 * n)[:n].astype(np.int64) + 5
    ids[0] = 2**40
    return ids


def truth(
    ids: IdArray, vectors: FloatArray, queries: FloatArray, k: int, chosen: np.ndarray | None = None
) -> Neighbors:
    """The whole sorted list, cut at k."""
    scores = (queries.astype(np.float64) @ vectors.T.astype(np.float64)).astype(np.float32)
    chosen = np.ones(ids.size, dtype=bool) if chosen is None else chosen
    found = Neighbors(
        np.full((len(queries), k), -1), np.full((len(queries), k), -np.inf, dtype=np.float32)
    )
    for row, row_scores in enumerate(scores):
        best = sorted((-s, i) for s, i in zip(row_scores[chosen], ids[chosen], strict=True))[:k]
        for column, (score, image_id) in enumerate(best):
            found.ids[row, column], found.scores[row, column] = image_id, -score
    return found


def assert_same(found: Neighbors, expected: Neighbors) -> None:
    assert found.ids.dtype == np.int64 and found.scores.dtype == np.float32
    assert found.ids.tolist() == expected.ids.tolist()
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-7)


@every_index
@pytest.mark.parametrize(
    ("n", "dimension", "k", "n_queries"),
    [(1, 1, 1, 1), (10, 3, 10, 1), (500, 64, 10, 1), (500, 64, 7, 50), (2000, 512, 100, 3)],
)
def test_the_nearest_are_those_of_plain_numpy(
    make: MakeIndex, n: int, dimension: int, k: int, n_queries: int
) -> None:
    ids, vectors = some_ids(n), unit_vectors(n, dimension)
    queries = unit_vectors(n_queries, dimension, seed=1)
    index = make(dimension)
    index.add(ids, vectors)
    assert (len(index), index.dimension) == (n, dimension)
    assert_same(index.search(queries, k), truth(ids, vectors, queries, k))


@every_index
def test_a_vector_finds_itself_with_score_one(make: MakeIndex) -> None:
    ids, vectors = some_ids(300), unit_vectors(300, 32)
    index = make(32)
    index.add(ids, vectors)
    found = index.search(vectors, 1)
    assert found.ids[:, 0].tolist() == ids.tolist()
    np.testing.assert_allclose(found.scores[:, 0], 1, atol=1e-6)


@every_index
def test_fewer_than_k_are_filled_up(make: MakeIndex) -> None:
    ids, vectors = np.array([4, 2]), unit_vectors(2, 8)
    index = make(8)
    index.add(ids, vectors)
    found = index.search(vectors, 5)
    assert found.ids.shape == found.scores.shape == (2, 5)
    assert (found.ids[:, 2:] == -1).all() and np.isneginf(found.scores[:, 2:]).all()
    assert_same(found, truth(ids, vectors, vectors, 5))


@every_index
def test_an_empty_index_and_no_queries_are_no_error(make: MakeIndex) -> None:
    index, queries = make(8), unit_vectors(2, 8)
    assert (index.search(queries, 3).ids == -1).all()
    assert index.search(queries[:0], 3).ids.shape == (0, 3)
    assert index.search(queries, 3, allowed=np.array([1]), excluded=np.array([2])).ids.max() == -1
    assert index.remove(np.array([1])) == 0
    index.add(np.empty(0, dtype=np.int64), np.empty((0, 8), dtype=np.float32))
    assert len(index) == 0


@every_index
def test_filters_choose_before_the_k_are_counted(make: MakeIndex) -> None:
    ids, vectors, queries = some_ids(400), unit_vectors(400, 16), unit_vectors(3, 16, seed=1)
    index = make(16)
    index.add(ids, vectors)
    half, few = ids[::2], ids[:7]
    both = np.isin(ids, half) & ~np.isin(ids, few)
    assert_same(
        index.search(queries, 20, allowed=half),
        truth(ids, vectors, queries, 20, np.isin(ids, half)),
    )
    assert_same(
        index.search(queries, 20, excluded=half),
        truth(ids, vectors, queries, 20, ~np.isin(ids, half)),
    )
    assert_same(
        index.search(queries, 20, allowed=half, excluded=few),
        truth(ids, vectors, queries, 20, both),
    )


@every_index
def test_filters_may_name_unknown_ids_repeat_themselves_or_be_empty(make: MakeIndex) -> None:
    ids, vectors = np.array([3, 1, 2]), unit_vectors(3, 4)
    index = make(4)
    index.add(ids, vectors)
    odd = np.array([1, 1, 99, -5])
    nothing = np.empty(0, dtype=np.int64)
    assert sorted(index.search(vectors[:1], 3, allowed=odd).ids[0]) == [-1, -1, 1]
    assert sorted(index.search(vectors[:1], 3, excluded=odd).ids[0]) == [-1, 2, 3]
    assert (index.search(vectors[:1], 3, allowed=nothing).ids == -1).all()
    assert sorted(index.search(vectors[:1], 3, excluded=nothing).ids[0]) == [1, 2, 3]
    assert (index.search(vectors[:1], 3, allowed=ids, excluded=ids).ids == -1).all()


@every_index
def test_a_filter_lasts_for_one_search(make: MakeIndex) -> None:
    ids, vectors = some_ids(50), unit_vectors(50, 8)
    index = make(8)
    index.add(ids, vectors)
    index.search(vectors[:2], 5, allowed=ids[:3], excluded=ids[:1])
    assert_same(index.search(vectors[:2], 5), truth(ids, vectors, vectors[:2], 5))


@every_index
def test_removed_ids_are_gone_and_may_come_back_with_another_vector(make: MakeIndex) -> None:
    ids, vectors, queries = some_ids(200), unit_vectors(200, 16), unit_vectors(2, 16, seed=1)
    index = make(16)
    index.add(ids, vectors)
    assert index.remove(np.concatenate([ids[:50], ids[:5], [10**9]])) == 50
    assert len(index) == 150
    assert_same(index.search(queries, 30), truth(ids[50:], vectors[50:], queries, 30))
    index.add(ids[:1], vectors[7:8])
    assert index.search(vectors[7:8], 1).ids.item() == ids[0]


@every_index
def test_equal_scores_come_in_the_order_of_their_ids(make: MakeIndex) -> None:
    vectors = np.repeat(unit_vectors(3, 512), 300, axis=0)  # three groups of copies
    ids = some_ids(900)
    index = make(512)
    index.add(ids, vectors)
    queries = unit_vectors(3, 512)[[1, 1, 2]]
    for k in (1, 5, 299, 300, 301, 900):
        found = index.search(queries, k)
        for row, group in enumerate((1, 1, 2)):
            expected = sorted(ids[300 * group : 300 * group + 300])[:k]
            assert found.ids[row, : len(expected)].tolist() == expected
            assert len(set(found.scores[row, : len(expected)].tolist())) == 1


@every_index
def test_vectors_that_rough_scores_cannot_tell_apart_are_told_apart(make: MakeIndex) -> None:
    draw = np.random.default_rng(3)
    centre = draw.standard_normal((1, 512))
    vectors = normalise(centre + 3e-6 * draw.standard_normal((400, 512)))
    ids, queries = some_ids(400), normalise(centre + draw.standard_normal((40, 512)))
    index = make(512)
    index.add(ids, vectors)
    for k in (1, 10, 100):
        assert_same(index.search(queries, k), truth(ids, vectors, queries, k))


@every_index
def test_a_longer_list_begins_with_the_shorter_one(make: MakeIndex) -> None:
    index = make(64)
    index.add(some_ids(500), unit_vectors(500, 64))
    query = unit_vectors(1, 64, seed=1)
    longest = index.search(query, 500)
    for k in (1, 2, 50, 499):
        assert index.search(query, k).ids.tolist() == longest.ids[:, :k].tolist()
        assert index.search(query, k).scores.tolist() == longest.scores[:, :k].tolist()


@every_index
def test_scores_do_not_depend_on_what_else_is_asked(make: MakeIndex) -> None:
    ids, vectors, queries = some_ids(300), unit_vectors(300, 512), unit_vectors(40, 512, seed=1)
    index = make(512)
    index.add(ids, vectors)
    together = index.search(queries, 10)
    for row, query in enumerate(queries):
        alone = index.search(query[None], 10, allowed=together.ids[row])
        assert alone.scores[0].tolist() == together.scores[row].tolist()


@every_index
def test_any_float_type_order_and_id_type_will_do(make: MakeIndex) -> None:
    ids, vectors = some_ids(60), unit_vectors(60, 16)
    index = make(16)
    index.add(ids[:20].astype(np.uint64), np.asfortranarray(vectors[:20].astype(np.float64)))
    index.add(ids[20:40][::-1], vectors[20:40][::-1])
    index.add(ids[40:].tolist(), vectors[40:].tolist())  # type: ignore[arg-type]
    found = index.search(np.repeat(vectors[:4], 2, axis=1)[:, ::2], np.int64(5))  # type: ignore[arg-type]
    assert_same(found, truth(ids, vectors, vectors[:4], 5))


@every_index
def test_half_precision_vectors_count_as_unit_length(make: MakeIndex) -> None:
    index = make(512)
    index.add(np.arange(100), unit_vectors(100, 512).astype(np.float16))
    assert index.search(unit_vectors(1, 512), 1).ids.item() == 0


@every_index
def test_the_callers_arrays_are_copied_and_not_changed(make: MakeIndex) -> None:
    ids, vectors = some_ids(30), unit_vectors(30, 8)
    before = ids.copy(), vectors.copy()
    index = make(8)
    index.add(ids, vectors)
    index.search(vectors, 3, allowed=ids)
    assert (ids == before[0]).all() and (vectors == before[1]).all()
    vectors[:] = 0
    assert index.search(before[1][:1], 1).ids.item() == ids[0]


@every_index
def test_threads_may_search_at_once_each_with_its_filter(make: MakeIndex) -> None:
    ids, vectors = some_ids(600), unit_vectors(600, 32)
    index = make(32)
    index.add(ids, vectors)
    expected = [
        truth(ids, vectors, vectors[:2], 5, np.arange(600) % 6 == part) for part in range(6)
    ]

    def search(number: int) -> None:
        part = number % 6
        assert_same(index.search(vectors[:2], 5, allowed=ids[part::6]), expected[part])

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(search, range(120)))


@every_index
@pytest.mark.parametrize(
    ("ids", "vectors", "message"),
    [
        ([1], np.ones((1, 3)), "8 dimensions, these have 3"),
        ([1], np.ones(8), r"\[n, 8\], these have 1: \(8,\)"),
        ([1], np.full((1, 8), np.nan), "length nan instead of 1"),
        ([1], np.full((1, 8), np.inf), "length inf instead of 1"),
        ([1], np.zeros((1, 8)), "length 0 instead of 1"),
        ([1], np.eye(8)[:1] * 1.05, r"vector 0 has length 1\.05 instead of 1; normalise"),
        ([1], [["x"] * 8], "table of numbers"),
        ([1, 2], np.eye(8)[:1], "2 ids do not fit 1 vectors"),
        ([3, 7, 3], np.eye(8)[:3], "id 3 is given twice"),
        ([-1], np.eye(8)[:1], "cannot be negative, and -1 is"),
        ([1.5], np.eye(8)[:1], r"whole numbers, not float64"),
        ([[1]], np.eye(8)[:1], r"one axis"),
        ([50], np.eye(8)[:1], "id 50 is in the index already"),
    ],
)
def test_what_does_not_fit_is_refused_and_changes_nothing(
    make: MakeIndex, ids: list[int], vectors: FloatArray, message: str
) -> None:
    index = make(8)
    index.add(np.array([50]), np.eye(8, dtype=np.float32)[:1])
    with pytest.raises(VectorIndexError, match=message):
        index.add(ids, vectors)  # type: ignore[arg-type]
    assert len(index) == 1
    assert index.search(np.eye(8, dtype=np.float32)[:1], 2).ids.tolist() == [[50, -1]]


@every_index
def test_a_search_that_makes_no_sense_is_refused(make: MakeIndex) -> None:
    index, query = make(8), np.eye(8, dtype=np.float32)[:1]
    for k in (0, -1):
        with pytest.raises(VectorIndexError, match=f"k is {k}"):
            index.search(query, k)
    with pytest.raises(VectorIndexError, match="8 dimensions, these have 9"):
        index.search(np.eye(9, dtype=np.float32)[:1], 1)
    with pytest.raises(VectorIndexError, match="length nan"):
        index.search(query * np.nan, 1)
    with pytest.raises(VectorIndexError, match="allowed must be one axis"):
        index.search(query, 1, allowed=query)  # type: ignore[arg-type]
    with pytest.raises(VectorIndexError, match="excluded must be one axis"):
        index.search(query, 1, excluded=query)  # type: ignore[arg-type]
    with pytest.raises(VectorIndexError, match="0 dimensions"):
        make(0)


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(0, 40),
    dimension=st.integers(1, 6),
    k=st.integers(1, 50),
    coarseness=st.integers(1, 3),
    seed=st.integers(0, 2**32 - 1),
)
def test_both_kinds_agree_to_the_bit_however_many_ties_there_are(
    n: int, dimension: int, k: int, coarseness: int, seed: int
) -> None:
    draw = np.random.default_rng(seed)
    grid = draw.integers(-coarseness, coarseness + 1, (n + 2, dimension)).astype(np.float64)
    grid[~grid.any(axis=1), 0] = 1
    vectors, ids = normalise(grid), draw.permutation(n)
    allowed = draw.permutation(n)[: draw.integers(n + 1)] if seed % 3 == 0 else None
    excluded = draw.permutation(n)[: draw.integers(n + 1)] if seed % 2 == 0 else None
    found = []
    for make in (NumpyIndex, FaissIndex):
        index = make(dimension)
        index.add(ids, vectors[2:])
        index.remove(ids[: n // 5])
        found.append(index.search(vectors[:2], k, allowed, excluded))
    assert found[0].ids.tolist() == found[1].ids.tolist()
    assert found[0].scores.tolist() == found[1].scores.tolist()
