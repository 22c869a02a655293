from __future__ import annotations

import sqlite3
from contextlib import closing

import numpy as np
import pytest

from clipsearch.catalog import Counts
from clipsearch.errors import CatalogError


def state_of(catalog, image_id):
    record = catalog.records([image_id])[image_id]
    return record.state, record.reason


def test_an_exception_rolls_the_whole_batch_back(catalog, add):
    with catalog.begin() as batch:
        kept = add(batch, b"kept", 0.5)
    with pytest.raises(KeyboardInterrupt), catalog.begin() as batch:
        add(batch, b"lost", 0.5)
        batch.mark_missing([kept])
        batch.put_vectors(1, [kept], np.ones((1, 4), np.float32))
        raise KeyboardInterrupt
    assert [record.relative_path for record in catalog.images(1)] == [b"kept"]
    assert state_of(catalog, kept) == ("present", None)
    assert catalog.vectors_of(1, [kept])[1].tolist() == [[0.5] * 4]


def test_a_batch_reads_what_it_has_written(catalog, add):
    with catalog.begin() as batch:
        image_id = add(batch, b"a", 0.5)
        assert batch.counts().present == 1
        assert batch.image_at(b"/pictures/a").image_id == image_id
        assert catalog.counts().present == 0


def test_a_path_is_recorded_once(catalog, add):
    twice = pytest.raises(CatalogError, match=r"contradicts .*UNIQUE.*relative_path")
    with twice, catalog.begin() as batch:
        add(batch, b"a")
        add(batch, b"a", state="missing")
    assert catalog.counts() == Counts(0, 0, 0, 0)
    with catalog.begin() as batch:
        add(batch, b"a")
        add(batch, b"a", folder=b"/other")
    assert catalog.counts().present == 2


def test_an_image_needs_a_known_folder(catalog):
    with pytest.raises(CatalogError, match="FOREIGN KEY"), catalog.begin() as batch:
        batch.add_image(7, b"a", 1, 2, b"h")


def test_a_root_goes_only_when_it_is_empty(catalog, add):
    with catalog.begin() as batch:
        image_id = add(batch, b"x/a", folder=b"/p")
        outer = batch.add_folder(b"/")
    with pytest.raises(CatalogError, match="FOREIGN KEY"), catalog.begin() as batch:
        batch.remove_folder(1)
    with catalog.begin() as batch:
        batch.update_image(image_id, folder_id=outer.folder_id, relative_path=b"p/x/a")
        batch.remove_folder(1)
    assert catalog.folders() == [outer]


@pytest.mark.parametrize(
    ("state", "reason"), [("present", "why"), ("unreadable", None), ("lost", None)]
)
def test_a_state_and_a_reason_that_contradict_each_other_are_refused(catalog, add, state, reason):
    with pytest.raises(CatalogError, match="CHECK"), catalog.begin() as batch:
        add(batch, b"a", state=state, reason=reason)


def test_a_moved_image_keeps_its_id_and_its_vector(catalog, add):
    with catalog.begin() as batch:
        image_id = add(batch, b"a", 0.5)
        folder = batch.add_folder(b"/new")
    with catalog.begin() as batch:
        batch.update_image(image_id, folder_id=folder.folder_id, relative_path=b"x/b")
    assert catalog.image_at(b"/new/x/b").image_id == image_id
    assert catalog.image_at(b"/pictures/a") is None
    assert catalog.last_vector_id(1) == 1


def test_a_root_takes_over_the_images_of_a_root_inside_it(catalog, add):
    with catalog.begin() as batch:
        ids = [
            add(batch, b"one", 1.0, folder=b"/a/b\xff"),
            add(batch, b"sub/tw\xfc\n", folder=b"/a/b\xff", state="missing"),
        ]
        other = add(batch, b"one", folder=b"/c")
        batch.take_over(batch.add_folder(b"/a/b\xff"), batch.add_folder(b"/a"))
    records = catalog.records([*ids, other])
    assert [records[n].path_bytes for n in ids] == [b"/a/b\xff/one", b"/a/b\xff/sub/tw\xfc\n"]
    assert {records[n].folder_path for n in ids} == {b"/a"}
    assert [record.state for record in records.values()] == ["present", "missing", "present"]
    assert records[other].path_bytes == b"/c/one" and catalog.last_vector_id(1) == 1
    assert catalog.image_at(b"/a/b\xff/one") == records[ids[0]]


def test_the_root_of_everything_takes_over_any_root(catalog, add):
    with catalog.begin() as batch:
        image_id = add(batch, b"one", folder=b"/a/b")
        batch.take_over(batch.add_folder(b"/a/b"), batch.add_folder(b"/"))
    assert catalog.records([image_id])[image_id].relative_path == b"a/b/one"


def test_an_update_changes_what_it_names_and_nothing_else(catalog, add):
    with catalog.begin() as batch:
        image_id, other = add(batch, b"a", width=5), add(batch, b"b")
        batch.update_image(image_id, size=1, mtime_ns=2, content_hash=b"new", height=3)
        batch.update_image(image_id)
    record = catalog.records([image_id])[image_id]
    assert (record.size, record.mtime_ns, record.content_hash) == (1, 2, b"new")
    assert (record.width, record.height, record.relative_path) == (5, 3, b"a")
    assert catalog.records([other])[other].size == 10


def test_an_unknown_image_cannot_be_updated(catalog):
    with pytest.raises(CatalogError, match="no image with the id 5"), catalog.begin() as batch:
        batch.update_image(5, size=1)


def test_a_missing_image_comes_back_present(catalog, add):
    with catalog.begin() as batch:
        image_id = add(batch, b"a", 0.5)
        batch.mark_missing([image_id])
    assert state_of(catalog, image_id) == ("missing", None)
    with catalog.begin() as batch:
        batch.mark_present([image_id])
    assert state_of(catalog, image_id) == ("present", None)
    assert catalog.vector_count(1) == 1


def test_an_unreadable_image_that_went_missing_comes_back_unreadable(catalog, add):
    with catalog.begin() as batch:
        image_id = add(batch, b"a", state="unreadable", reason="truncated")
        batch.mark_missing([image_id])
        assert state_of(batch, image_id) == ("missing", "truncated")
        batch.mark_present([image_id])
    assert state_of(catalog, image_id) == ("unreadable", "truncated")


def test_becoming_present_forgets_the_reason(catalog, add):
    with catalog.begin() as batch:
        image_id = add(batch, b"a", state="unreadable", reason="truncated")
        batch.update_image(image_id, state="present", content_hash=b"repaired")
    assert state_of(catalog, image_id) == ("present", None)


def test_an_image_that_becomes_unreadable_loses_its_vector(catalog, add):
    with catalog.begin() as batch:
        image_id, other = add(batch, b"a", 0.5), add(batch, b"b", 0.5)
    with catalog.begin() as batch:
        batch.update_image(image_id, state="unreadable", reason="truncated")
        batch.remove_vectors([image_id])
    assert catalog.vectors_of(1, [image_id, other])[0].tolist() == [other]
    assert catalog.counts() == Counts(present=1, missing=0, unreadable=1, vectors=1)


def test_a_reason_may_quote_a_name_that_is_not_utf8(catalog, add):
    with catalog.begin() as batch:
        image_id = add(batch, b"a", state="unreadable", reason="'\udcff.jpg' is truncated")
    assert state_of(catalog, image_id)[1] == r"'\udcff.jpg' is truncated"


def test_no_image_id_is_given_twice(catalog, path, add):
    with catalog.begin() as batch:
        first = add(batch, b"a")
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DELETE FROM images")
    with catalog.begin() as batch:
        assert add(batch, b"b") > first


def test_many_may_go_missing_and_come_back_at_once(catalog, add):
    with catalog.begin() as batch:
        image_id = add(batch, b"a", 0.5)
        batch.mark_missing(range(40_000))
        assert batch.counts().missing == 1
        batch.mark_present(np.arange(40_000))
    assert state_of(catalog, image_id) == ("present", None)


def test_dates_change_without_anything_else(catalog, add):
    with catalog.begin() as batch:
        first, second = add(batch, b"a", 0.5), add(batch, b"b", 0.5)
        batch.set_times({first: {"mtime_ns": 7, "ctime_ns": 8, "unsure_since_ns": 9}})
    found = catalog.records([first, second])
    assert (found[first].mtime_ns, found[first].ctime_ns) == (7, 8)
    assert (found[first].unsure_since_ns, found[first].state) == (9, "present")
    assert (found[second].mtime_ns, found[second].ctime_ns) == (20, None)


def test_forgetting_leaves_nothing_but_dead_ids(catalog, add):
    with catalog.begin() as batch:
        first, second, bare = add(batch, b"a", 0.5), add(batch, b"b", 0.5), add(batch, b"c")
    with catalog.begin() as batch:
        batch.forget([first, bare, 99])
    assert list(catalog.records([first, second, bare])) == [second]
    assert catalog.counts().vectors == 1
    assert catalog.dead_ids(1, 2).tolist() == [first, bare] and catalog.forgotten_count() == 2
    with catalog.begin() as batch:
        batch.clear_forgotten(batch.forgotten_ids())
        assert add(batch, b"a", 0.5) > bare  # its id is never given again
    assert catalog.forgotten_count() == 0


def test_becoming_present_forgets_what_could_not_decode_it(catalog, add):
    with catalog.begin() as batch:
        image_id = add(batch, b"a", state="unreadable", reason="truncated", decoder="Pillow 1")
    assert catalog.records([image_id])[image_id].decoder == "Pillow 1"
    with catalog.begin() as batch:
        batch.update_image(image_id, state="present")
    assert catalog.records([image_id])[image_id].decoder is None


def test_problems_are_replaced_where_a_scan_has_looked(catalog, add):
    with catalog.begin() as batch:
        add(batch, b"bad.jpg", state="unreadable", reason="truncated")
        batch.set_problems(1, b"", {b"a": "1", b"sub/x": "2", b"sub": "3", b"sub-x": "4"})
    with catalog.begin() as batch:
        assert batch.set_problems(1, b"sub", {b"sub/y\xff": "a\udcff"}) == 2
        batch.add_problems(1, {b"bad.jpg": "a pipe by now"})
    listed = [(failure.relative_path, failure.reason) for failure in catalog.failures()]
    assert listed == [
        (b"a", "1"),
        (b"bad.jpg", "a pipe by now"),
        (b"sub-x", "4"),
        (b"sub/y\xff", "a\\udcff"),
    ]
    assert catalog.counts().problems == 4


def test_the_images_of_a_place_are_those_at_and_below_it(catalog, add):
    names = [b"a", b"a%", b"a%/x", b"a-b/x", b"a/b/c", b"a/x", b"a0", b"\xff/x"]
    with catalog.begin() as batch:
        for name in names:
            add(batch, name)
    for place, inside in ((b"a", 3), (b"a%", 2), (b"a/b", 1), (b"\xff", 1), (b"b", 0), (b"", 8)):
        found = [record.relative_path for record in catalog.images(1, place)]
        assert found == sorted(found) and len(found) == inside
