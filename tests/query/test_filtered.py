"""Filters inside the search: the k best of what a filter allows, whenever there are k."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from clipsearch.catalog import QuickCatalog
from clipsearch.indexer.merge import merge, use_recipe
from clipsearch.query import search as searching
from clipsearch.query.search import Space, search
from tests.catalog.test_matching import (
    ROOTS,
    matches,
    random_details,
    random_filter,
    random_name,
)
from tests.query.test_search import Shelf, kind, random_vectors

__all__ = ["kind"]  # a fixture

N_QUERIES = 1000


@pytest.fixture
def shelf(tmp_path: Path, kind: str) -> Iterator[Shelf]:
    """1,500 images with odd names and facts: most in the index, some newer, some gone again."""
    shelf, rnd = Shelf(tmp_path), random.Random(3)
    ids = add(shelf, rnd, 1200)
    use_recipe(shelf.catalog, kind)
    merge(shelf.catalog, shelf.model, shelf.files)
    add(shelf, rnd, 300)
    with shelf.catalog.begin() as write:
        write.mark_missing(rnd.sample(ids, 100))
        write.remove_vectors(rnd.sample(ids, 20))
        write.put_vectors(shelf.model.model_id, ids[5:50], random_vectors(45))
        write.forget(rnd.sample(ids, 10))
    yield shelf
    shelf.catalog.close()


def add(shelf: Shelf, rnd: random.Random, n: int) -> list[int]:
    with shelf.catalog.begin() as write:
        ids = []
        for _ in range(n):
            shelf.n += 1
            root = write.add_folder(rnd.choice(ROOTS)).folder_id
            name = random_name(rnd, rnd.randint(1, 3)) + b"/%d.jpg" % shelf.n
            details = random_details(rnd) | {"state": "present", "reason": None}
            ids.append(write.add_image(root, name, 1, 1, b"%016d" % shelf.n, **details))
        write.put_vectors(shelf.model.model_id, ids, random_vectors(n))
    return ids


def test_a_thousand_filtered_queries_are_those_of_brute_force(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the index itself, because as few as these would be compared without it."""
    monkeypatch.setattr(searching, "FEW", 10)
    rows = [r for folder in shelf.catalog.folders() for r in shelf.catalog.images(folder.folder_id)]
    every, vectors = shelf.catalog.vectors_of(shelf.model.model_id, [r.image_id for r in rows])
    wide = vectors.astype(np.float64)
    wide /= np.linalg.norm(wide, axis=1, keepdims=True)
    quick = QuickCatalog.open(shelf.catalog.path)
    assert quick is not None
    rnd, n_found = random.Random(4), []
    for vector in random_vectors(N_QUERIES):
        wanted, k = random_filter(rnd), rnd.choice((1, 3, 10, 40))
        allowed = {r.image_id for r in rows if matches(r, wanted)}
        scored = zip(-(wide @ vector.astype(np.float64)), every.tolist(), strict=True)
        expected = [pair for pair in sorted(scored) if pair[1] in allowed][:k]
        with quick.snapshot() as state:
            space = Space(state, shelf.model.model_id, shelf.files.base(state, shelf.model))
            assert space.base is not None
            hits = search(vector, space, k, allowed=state.matching_ids(wanted))
        assert [hit.image_id for hit in hits] == [image_id for _, image_id in expected], wanted
        np.testing.assert_allclose([h.score for h in hits], [-s for s, _ in expected], atol=1e-6)
        n_found.append(len(hits))
    quick.close()
    assert sum(n == 0 for n in n_found) < N_QUERIES / 3 and max(n_found) == 40


def test_a_filter_that_allows_nothing_finds_nothing(shelf: Shelf) -> None:
    base = shelf.files.base(shelf.catalog, shelf.model)
    space = Space(shelf.catalog, shelf.model.model_id, base)
    nothing = np.empty(0, dtype=np.int64)
    assert search(random_vectors(1)[0], space, 5, allowed=nothing) == []
