"""What only the FAISS index does: becoming bytes and coming back."""

from __future__ import annotations

import faiss
import numpy as np
import pytest

from clipsearch.errors import VectorIndexError
from clipsearch.index import FaissIndex
from clipsearch.vectors import normalise


def filled(n: int = 100, dimension: int = 16) -> FaissIndex:
    index = FaissIndex(dimension)
    vectors = normalise(np.random.default_rng(0).standard_normal((n, dimension)))
    index.add(np.arange(n) * 3, vectors)
    return index


@pytest.mark.parametrize("n", [1, 100])
def test_an_index_comes_back_from_its_bytes_as_it_was(n: int) -> None:
    index = filled(n)
    loaded = FaissIndex.from_bytes(index.to_bytes())
    query = normalise(np.ones((1, 16)))
    assert (len(loaded), loaded.dimension) == (n, 16)
    assert loaded.search(query, 9).ids.tolist() == index.search(query, 9).ids.tolist()
    assert loaded.search(query, 9).scores.tolist() == index.search(query, 9).scores.tolist()


def test_an_empty_index_comes_back_too() -> None:
    assert len(FaissIndex.from_bytes(FaissIndex(16).to_bytes())) == 0


def test_a_loaded_index_can_be_changed_and_leaves_its_bytes_alone() -> None:
    content = bytearray(filled().to_bytes())
    before = bytes(content)
    loaded = FaissIndex.from_bytes(content)
    content[:] = bytes(len(content))
    loaded.add(np.array([1]), normalise(np.ones((1, 16))))
    assert loaded.remove(np.array([0, 3])) == 2
    assert loaded.search(normalise(np.ones((1, 16))), 1).ids.item() == 1
    assert FaissIndex.from_bytes(before).to_bytes() == before


def test_truncated_bytes_are_refused() -> None:
    content = filled().to_bytes()
    for length in range(0, len(content), 7):
        with pytest.raises(VectorIndexError, match="not a FAISS index"):
            FaissIndex.from_bytes(content[:length])


@pytest.mark.parametrize(
    "other",
    [
        faiss.IndexFlatIP(4),
        faiss.IndexIDMap2(faiss.IndexFlatL2(4)),
        faiss.IndexIDMap2(faiss.IndexHNSWFlat(4, 8, faiss.METRIC_INNER_PRODUCT)),
        faiss.IndexIDMap(faiss.IndexFlatIP(4)),
    ],
)
def test_another_kind_of_index_is_refused(other: faiss.Index) -> None:
    with pytest.raises(VectorIndexError, match="another kind; build it anew"):
        FaissIndex.from_bytes(faiss.serialize_index(other).tobytes())
