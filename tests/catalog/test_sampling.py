from __future__ import annotations

import sqlite3
from contextlib import closing

import numpy as np

from clipsearch.catalog import Catalog
from tests.catalog.conftest import AddImage


def values(catalog: Catalog, size: int) -> list[float]:
    """The numbers of the sampled vectors, each of which tells its picture."""
    return [float(vector[0]) for vector in catalog.vector_sample(1, size).vectors]


def fill(catalog: Catalog, add: AddImage, n: int) -> list[int]:
    with catalog.begin() as write:
        return [add(write, b"%d.jpg" % at, (at + 1) / 1024) for at in range(n)]


def soundly(catalog: Catalog, n: int) -> None:
    """Give every picture a vector of unit length, as all have that a model made."""
    with catalog.begin() as write:
        ids = list(range(1, n + 1))
        angles = np.linspace(0, 1.5, n)
        unit = np.stack([np.cos(angles), np.sin(angles), 0 * angles, 0 * angles], axis=1)
        write.put_vectors(1, ids, unit.astype(np.float32))


def test_a_small_library_is_its_own_sample(catalog: Catalog, add: AddImage) -> None:
    fill(catalog, add, 5)
    soundly(catalog, 5)
    sample = catalog.vector_sample(1, 100)
    assert sample.vectors.shape == (5, 4) and sample.n_vectors == 5


def test_a_sample_comes_from_all_over_the_library(catalog: Catalog, add: AddImage) -> None:
    fill(catalog, add, 100)
    soundly(catalog, 100)
    found = values(catalog, 10)
    assert len(found) == 10 and catalog.vector_sample(1, 10).n_vectors == 100
    assert found[0] > 0.99 and found[-1] < 0.08
    assert found == values(catalog, 10)


def test_gaps_leave_the_sample_as_large(catalog: Catalog, add: AddImage) -> None:
    ids = fill(catalog, add, 100)
    soundly(catalog, 100)
    with closing(sqlite3.connect(catalog.path)) as connection, connection:
        connection.execute("DELETE FROM vectors WHERE vector_id % 10 != 0")
    assert ids and len(values(catalog, 10)) == 10


def test_missing_pictures_are_no_part_of_it(catalog: Catalog, add: AddImage) -> None:
    ids = fill(catalog, add, 6)
    soundly(catalog, 6)
    with catalog.begin() as write:
        write.mark_missing(ids[:4])
    assert len(values(catalog, 100)) == 2


def test_the_few_that_are_left_of_many_are_all_of_it(catalog: Catalog, add: AddImage) -> None:
    ids = fill(catalog, add, 100)
    soundly(catalog, 100)
    with catalog.begin() as write:
        write.mark_missing([image_id for image_id in ids if image_id not in ids[50:53]])
    sample = catalog.vector_sample(1, 10)
    assert sample.vectors.shape == (3, 4) and sample.n_vectors == 3
    with catalog.begin() as write:
        write.mark_missing(ids)
    sample = catalog.vector_sample(1, 10)
    assert sample.vectors.shape == (0, 4) and sample.n_vectors == 0


def test_gaps_are_no_pictures(catalog: Catalog, add: AddImage) -> None:
    fill(catalog, add, 40)
    soundly(catalog, 40)
    with closing(sqlite3.connect(catalog.path)) as connection, connection:
        connection.execute("UPDATE vectors SET vector_id = vector_id + 100000 WHERE image_id > 20")
    sample = catalog.vector_sample(1, 10)
    assert sample.vectors.shape == (10, 4) and sample.n_vectors == 40


def test_a_damaged_vector_is_passed_over(catalog: Catalog, add: AddImage) -> None:
    fill(catalog, add, 6)
    soundly(catalog, 6)
    with closing(sqlite3.connect(catalog.path)) as connection, connection:
        connection.execute("UPDATE vectors SET crc32 = crc32 + 1 WHERE image_id = 3")
    assert len(values(catalog, 100)) == 5


def test_a_library_without_vectors_has_an_empty_sample(catalog: Catalog) -> None:
    sample = catalog.vector_sample(1, 100)
    assert sample.vectors.shape == (0, 4) and sample.n_vectors == 0
