from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest
from sqlalchemy import event

from clipsearch.catalog import Batch, Catalog
from clipsearch.errors import CatalogError


def stored(catalog, after_vector_id=0, **options):
    """image id → first number of its vector, as the batches give them."""
    batches = catalog.vector_batches(1, after_vector_id, **options)
    return {
        int(image_id): float(vector[0])
        for batch in batches
        for image_id, vector in zip(batch.image_ids, batch.vectors, strict=True)
    }


def flip_a_bit(path, image_id):
    with closing(sqlite3.connect(path)) as connection, connection:
        (blob,) = connection.execute(
            "SELECT vector FROM vectors WHERE image_id = ?", (image_id,)
        ).fetchone()
        connection.execute(
            "UPDATE vectors SET vector = ? WHERE image_id = ?",
            (bytes([blob[0] ^ 1]) + blob[1:], image_id),
        )


def test_vectors_come_back_in_the_order_asked_for_as_float16_kept_them(catalog, add):
    rows = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    with catalog.begin() as batch:
        ids = [add(batch, name) for name in (b"a", b"b", b"c")]
        batch.put_vectors(1, ids, rows)
    found, vectors = catalog.vectors_of(1, [ids[2], 99, ids[0], ids[2]])
    assert found.dtype == np.int64
    assert found.tolist() == [ids[2], ids[0]]
    assert vectors.dtype == np.float32
    np.testing.assert_array_equal(vectors, rows[[2, 0]].astype(np.float16))


def test_a_damaged_index_never_gives_an_image_the_vector_of_another(catalog, add, path):
    with catalog.begin() as batch:
        ids = [add(batch, name, 0.25 * n) for n, name in enumerate((b"a", b"b", b"c", b"d"))]
    catalog.close()
    content = path.read_bytes()
    entry = b"\x04\x01\x09\x01\x03"  # three numbers of one byte, of which the second is 1; image 3
    assert ids[2:] == [3, 4] and content.count(entry + b"\x03") == 1
    path.write_bytes(content.replace(entry + b"\x03", entry + b"\x04"))  # leads to vector 4
    with Catalog.open(path) as damaged, pytest.raises(CatalogError, match="leads to other rows"):
        damaged.vectors_of(1, [3])


def test_no_vectors_are_an_empty_array_of_the_right_width(catalog):
    ids, vectors = catalog.vectors_of(1, [])
    assert (ids.shape, vectors.shape) == ((0,), (0, 4))


def test_vectors_of_missing_images_can_still_be_had(catalog, add):
    with catalog.begin() as batch:
        image_id = add(batch, b"a", 0.5)
        batch.mark_missing([image_id])
    assert catalog.vectors_of(1, [image_id])[1].tolist() == [[0.5] * 4]


def test_a_new_vector_replaces_the_old_one_under_a_higher_vector_id(catalog, add):
    with catalog.begin() as batch:
        first, second = add(batch, b"a", 0.25), add(batch, b"b", 0.5)
    with catalog.begin() as batch:
        batch.put_vectors(1, [first], np.ones((1, 4), np.float16))
    assert catalog.last_vector_id(1) == 3
    assert catalog.counts().vectors == 2
    assert stored(catalog) == {first: 1.0, second: 0.5}
    assert stored(catalog, after_vector_id=2) == {first: 1.0}


def test_a_vector_id_is_never_given_twice(catalog, add):
    with catalog.begin() as batch:
        image_id = add(batch, b"a", 0.5)
        batch.remove_vectors([image_id])
        assert batch.last_vector_id(1) == 0
        batch.put_vectors(1, [image_id], np.ones((1, 4)))
    assert catalog.last_vector_id(1) == 2


def test_the_revision_is_the_highest_id_that_was_ever_given(catalog, add):
    assert catalog.revision() == 0
    with catalog.begin() as batch:
        first, last = add(batch, b"one", 1.0), add(batch, b"two", 2.0)
    with catalog.begin() as batch:
        batch.remove_vectors([last])
        assert batch.revision() == 2
    assert (catalog.revision(), catalog.last_vector_id(1)) == (2, 1)
    with catalog.begin() as batch:
        batch.put_vectors(1, [first], np.ones((1, 4), np.float32))
    assert catalog.revision() == 3


def test_images_with_a_vector_are_told_from_those_without(catalog, add):
    with catalog.begin() as batch:
        ids = [add(batch, b"one", 1.0), add(batch, b"two"), add(batch, b"three", 3.0)]
        batch.mark_missing([ids[2]])
    assert catalog.with_vector(1, [*ids, 99]) == {ids[0], ids[2]}
    assert catalog.with_vector(1, ids[:2]) == {ids[0]} and catalog.with_vector(2, ids) == set()


def test_images_without_a_vector_are_looked_for_where_one_asks(catalog, add):
    with catalog.begin() as batch:
        add(batch, b"a/with.png", 1)
        bare = [add(batch, name) for name in (b"a/1.png", b"b/2.png")]
        lost = add(batch, b"a/missing.png", state="missing")
        add(batch, b"a/broken.png", state="unreadable", reason="broken")
        elsewhere = add(batch, b"a/3.png", folder=b"/others")
    assert catalog.without_vector(1, 1) == {*bare, lost}
    assert catalog.without_vector(1, 1, b"a") == {bare[0], lost}
    assert catalog.without_vector(1, 2) == {elsewhere}


def test_what_has_changed_is_counted_up_to_a_limit(catalog, add):
    with catalog.begin() as batch:
        ids = [add(batch, b"%d.png" % n, n) for n in range(6)]
    through = catalog.revision()
    assert catalog.changes_at_most(1, through, 100) == 0
    with catalog.begin() as batch:
        add(batch, b"new.png", 1)
        batch.mark_missing(ids[:1])
        batch.forget(ids[1:3])
    assert catalog.changes_at_most(1, through, 100) == 2 + 1 + 2
    assert catalog.changes_at_most(1, through, 3) == 3
    assert catalog.changes_at_most(1, 0, 100) >= 4


def test_batches_hold_present_images_only_oldest_first(catalog, add):
    with catalog.begin() as batch:
        ids = [add(batch, b"%d" % n, n / 8) for n in range(7)]
        batch.mark_missing([ids[1]])
        batch.put_vectors(1, [ids[0]], np.ones((1, 4)))
    batches = list(catalog.vector_batches(1, after_vector_id=3, batch_size=2))
    assert [len(batch) for batch in batches] == [2, 2, 1]
    assert [batch.vector_ids.tolist() for batch in batches] == [[4, 5], [6, 7], [8]]
    assert [batch.image_ids.tolist() for batch in batches] == [ids[3:5], ids[5:7], [ids[0]]]
    assert batches[0].vectors.dtype == np.float16
    assert batches[0].vectors[:, 0].tolist() == [3 / 8, 4 / 8]


def test_batches_are_one_committed_state_from_first_to_last(catalog, add):
    with catalog.begin() as batch:
        ids = [add(batch, b"%d" % n, n / 8) for n in range(4)]
    batches = catalog.vector_batches(1, batch_size=2)
    seen = next(batches).image_ids.tolist()
    with catalog.begin() as batch:
        batch.put_vectors(1, ids[:1], np.ones((1, 4)))
        batch.mark_missing(ids[3:])
    seen += [image_id for later in batches for image_id in later.image_ids.tolist()]
    assert seen == ids


def test_models_have_vectors_of_their_own(catalog, add):
    other = catalog.set_model(replace(catalog.model(), dimension=2), replace=True)
    with catalog.begin() as batch:
        image_id = add(batch, b"a", 0.5)
        batch.put_vectors(other.model_id, [image_id], np.ones((1, 2)))
    assert catalog.vectors_of(1, [image_id])[1].shape == (1, 4)
    assert catalog.vectors_of(2, [image_id])[1].shape == (1, 2)
    assert (catalog.last_vector_id(1), catalog.last_vector_id(2)) == (1, 2)
    assert (catalog.vector_count(1), catalog.counts().vectors) == (1, 2)


@pytest.mark.parametrize(
    ("ids", "vectors", "words"),
    [
        ([1], np.ones((1, 5)), r"shape \[n, 4\], not \(1, 5\)"),
        ([1], np.ones(4), r"not \(4,\)"),
        ([1], np.full((1, 4), np.nan), "NaN"),
        ([1], np.full((1, 4), 1e6), "too large"),
        ([1, 1], np.ones((2, 4)), "different images"),
        ([1], np.ones((2, 4)), "2 vectors"),
        ([77], np.ones((1, 4)), "FOREIGN KEY"),
    ],
)
def test_vectors_that_do_not_fit_are_refused(catalog, add, ids, vectors, words):
    with pytest.raises(CatalogError, match=words), catalog.begin() as batch:
        add(batch, b"a")
        batch.put_vectors(1, ids, vectors)
    assert catalog.counts().vectors == 0


def test_an_unknown_model_has_no_vectors(catalog):
    with pytest.raises(CatalogError, match="no model with the id 9"):
        catalog.vectors_of(9, [1])
    with pytest.raises(CatalogError, match="no model with the id 9"), catalog.begin() as batch:
        batch.put_vectors(9, [], np.ones((0, 4)))


def test_nothing_may_be_put(catalog):
    with catalog.begin() as batch:
        batch.put_vectors(1, [], np.ones((0, 4)))
    assert catalog.counts().vectors == 0


def test_a_flipped_bit_is_noticed_and_the_file_named(catalog, path, add):
    with catalog.begin() as batch:
        good, bad = add(batch, b"good.jpg", 0.5), add(batch, b"bad.jpg", 0.5)
    flip_a_bit(path, bad)
    assert catalog.vectors_of(1, [good])[0].tolist() == [good]
    with pytest.raises(CatalogError, match=r"image 2 \(/pictures/bad\.jpg\) is damaged"):
        catalog.vectors_of(1, [good, bad])
    with pytest.raises(CatalogError, match=r"bad\.jpg"):
        list(catalog.vector_batches(1))


def test_a_blob_of_the_wrong_length_is_noticed_even_if_its_checksum_fits(catalog, path, add):
    with catalog.begin() as batch:
        add(batch, b"a.jpg", 0.5)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE vectors SET vector = x'', crc32 = 0")
    with pytest.raises(CatalogError, match="is damaged"):
        catalog.vectors_of(1, [1])


def test_the_dead_are_those_that_an_older_index_must_not_return(catalog, add):
    with catalog.begin() as batch:
        same, missing, again, unreadable, stripped = (
            add(batch, b"%d" % n, n / 8) for n in range(5)
        )
    base = catalog.last_vector_id(1)
    assert catalog.dead_ids(1, base).tolist() == []
    with catalog.begin() as batch:
        batch.mark_missing([missing])
        batch.put_vectors(1, [again], np.ones((1, 4)))
        batch.update_image(unreadable, state="unreadable", reason="truncated")
        batch.remove_vectors([unreadable, stripped])
        new = add(batch, b"new", 0.5)
    assert catalog.dead_ids(1, base).tolist() == [missing, again, unreadable, stripped, new]
    assert catalog.dead_ids(1, base).dtype == np.int64
    assert stored(catalog, base) == {again: 1.0, new: 0.5}
    assert same not in catalog.dead_ids(1, base)


@pytest.mark.parametrize("way", ["mark_present", "update_image"])
def test_an_image_that_was_missing_when_the_index_was_built_is_found_when_it_is_back(
    catalog, add, way
):
    with catalog.begin() as batch:
        gone = add(batch, b"gone", 0.5)
        batch.mark_missing([gone])
        add(batch, b"there", 0.25)
    base = catalog.last_vector_id(1)
    with catalog.begin() as batch:
        bring_back(batch, gone, way)
    assert stored(catalog, base) == {gone: 0.5}
    assert catalog.dead_ids(1, base).tolist() == [gone]


def bring_back(batch: Batch, image_id: int, way: str) -> None:
    if way == "mark_present":
        batch.mark_present([image_id])
    else:
        batch.update_image(image_id, relative_path=b"moved", state="present")


def test_marking_a_present_image_present_leaves_its_vector_as_it_is(catalog, add):
    with catalog.begin() as batch:
        image_id = add(batch, b"a", 0.5)
        batch.mark_present([image_id])
        batch.update_image(image_id, state="present")
    assert catalog.last_vector_id(1) == 1


def plans(catalog, ask):
    """What SQLite says that it does to answer the question, one text per statement."""
    asked = []

    @event.listens_for(catalog._engine, "before_cursor_execute")
    def note(connection, cursor, statement, parameters, context, many):
        asked.append((statement, parameters))

    ask(catalog)
    with closing(sqlite3.connect(catalog.path)) as connection:
        return [
            str(connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters).fetchall())
            for statement, parameters in asked
            if statement.startswith("SELECT")
        ]


@pytest.mark.parametrize(
    "ask",
    [
        lambda catalog: list(catalog.vector_batches(1, 5)),
        lambda catalog: catalog.last_vector_id(1),
        lambda catalog: list(catalog.images(1)),
    ],
)
def test_what_is_streamed_in_order_comes_from_an_index_in_order(catalog, ask):
    found = plans(catalog, ask)
    assert found
    assert not any("TEMP B-TREE" in plan for plan in found)


@pytest.mark.parametrize(
    "ask",
    [
        lambda catalog: catalog.vector_count(1),
        lambda catalog: catalog.dead_ids(1, 5),
        lambda catalog: catalog.records([1, 2]),
        lambda catalog: catalog.vectors_of(1, [1, 2]),
        lambda catalog: catalog.images_with_hash([b"h"]),
        lambda catalog: catalog.failures(),
        lambda catalog: catalog.image_at(b"/p/x"),
    ],
)
def test_a_question_about_a_few_images_does_not_look_at_all(catalog, add, ask):
    with catalog.begin() as batch:
        add(batch, b"a", 0.5, folder=b"/p")
    found = plans(catalog, ask)
    assert found
    assert not any("SCAN images" in plan or "SCAN vectors" in plan for plan in found)
