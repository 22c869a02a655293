from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from clipsearch.catalog import Catalog, Counts, ModelRecord
from clipsearch.errors import CatalogError, ModelMismatch, NoLibrary

MODEL = ModelRecord("tiny", "ab" * 32, 4, {"mean": (0.5, 0.5), "size": 32}, "quick_gelu")


def test_a_new_catalog_is_empty(path):
    with Catalog.open(path, create=True) as catalog:
        assert catalog.model() is None
        assert catalog.folders() == []
        assert catalog.failures() == []
        assert catalog.counts() == Counts(present=0, missing=0, unreadable=0, vectors=0)


def test_opening_what_is_not_there_is_no_library_and_makes_nothing(path):
    with pytest.raises(NoLibrary, match=r"there is no library at .*catalog\.sqlite3"):
        Catalog.open(path)
    assert not path.parent.exists()


def test_an_empty_file_is_no_library_until_it_is_to_be_created(tmp_path):
    path = tmp_path / "catalog.sqlite3"
    path.touch()
    with pytest.raises(NoLibrary, match="is empty"):
        Catalog.open(path)
    assert path.read_bytes() == b""
    with Catalog.open(path, create=True) as catalog:
        assert catalog.counts().images == 0


def test_a_place_where_no_folder_can_be_made_is_said(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(CatalogError, match="no library can be made at"):
        Catalog.open(tmp_path / "file" / "catalog.sqlite3", create=True)


def test_a_folder_is_not_a_catalog(tmp_path):
    with pytest.raises(CatalogError, match="cannot be opened"):
        Catalog.open(tmp_path)


@pytest.mark.parametrize("name", ["a b%20c", "a?b#c", "100%", "\udcff\udcfe", "file:x", "ünï"])
def test_the_library_may_lie_in_a_folder_of_any_name(tmp_path, name):
    path = tmp_path / name / "catalog.sqlite3"
    with Catalog.open(path, create=True) as catalog:
        made = catalog.uuid
    with Catalog.open(path) as catalog:
        assert catalog.uuid == made
    assert path.is_file()


def test_what_was_written_is_there_when_the_catalog_is_opened_again(path, add):
    with Catalog.open(path, create=True) as catalog:
        catalog.set_model(MODEL)
        with catalog.begin() as batch:
            add(batch, b"a.jpg", 0.5)
        before = (catalog.uuid, catalog.created, catalog.model(), *catalog.images(1))
    with Catalog.open(path, create=True) as catalog:
        assert (catalog.uuid, catalog.created, catalog.model(), *catalog.images(1)) == before


def test_two_libraries_differ_in_their_uuid(tmp_path):
    with (
        Catalog.open(tmp_path / "1", create=True) as one,
        Catalog.open(tmp_path / "2", create=True) as two,
    ):
        assert one.uuid != two.uuid


def test_a_closed_catalog_says_so_and_closes_again_without_harm(catalog):
    catalog.close()
    catalog.close()
    with pytest.raises(CatalogError, match="is closed"):
        catalog.counts()


def test_closing_leaves_one_file(path):
    Catalog.open(path, create=True).close()
    assert [file.name for file in path.parent.iterdir()] == ["catalog.sqlite3"]


def test_the_model_is_kept_with_its_preprocessing(catalog):
    stored = catalog.model()
    assert stored.fingerprint == MODEL.fingerprint
    assert (stored.name, stored.dimension, stored.model_id) == ("tiny", 4, 1)
    assert stored.preprocessing == {"mean": [0.5, 0.5], "size": 32}


def test_the_place_of_the_model_is_kept_but_does_not_tell_models_apart(path):
    with Catalog.open(path, create=True) as catalog:
        catalog.set_model(replace(MODEL, bundle_path=b"/models/t\xff"))
        assert catalog.set_model(MODEL).bundle_path == b"/models/t\xff"
        assert catalog.model().bundle_path == b"/models/t\xff"


def test_the_same_model_may_be_set_again_under_another_name_and_precision(catalog):
    again = catalog.set_model(replace(MODEL, name="/models/tiny", dtype="bfloat16"))
    assert again == catalog.model()
    assert again.name == "tiny"


@pytest.mark.parametrize(
    "other",
    [
        replace(MODEL, sha256="cd" * 32),
        replace(MODEL, dimension=8),
        replace(MODEL, preprocessing={"mean": (0.5, 0.4), "size": 32}),
        replace(MODEL, activation="gelu"),
    ],
)
def test_another_model_is_refused_unless_it_is_to_replace(catalog, other):
    with pytest.raises(ModelMismatch, match="'tiny'"):
        catalog.set_model(other)
    assert catalog.model().fingerprint == MODEL.fingerprint
    assert catalog.set_model(other, replace=True).model_id == 2
    assert catalog.model().fingerprint == other.fingerprint


def test_a_model_that_comes_back_keeps_its_id(catalog):
    catalog.set_model(replace(MODEL, activation="gelu"), replace=True)
    assert catalog.set_model(MODEL, replace=True).model_id == 1
    assert [model.model_id for model in catalog.models()] == [1, 2]


def test_folders_are_found_by_their_bytes(catalog):
    with catalog.begin() as batch:
        first = batch.add_folder(b"/z/\xff")
        second = batch.add_folder(b"/a")
        assert batch.add_folder(b"/z/\xff") == first
    assert catalog.folders() == [second, first]
    assert catalog.folder(b"/z/\xff") == first
    assert catalog.folder(b"/z") is None
    assert first.path == Path("/z/\udcff")


def test_images_come_back_as_they_were_recorded(catalog):
    details = {"width": 640, "height": 480, "taken_at": "2024-05-01T10:00:00"}
    with catalog.begin() as batch:
        folder = batch.add_folder(b"/p")
        image_id = batch.add_image(folder.folder_id, b"x/a.jpg", 2**40, 2**62, b"h", **details)
    (record,) = catalog.images(folder.folder_id)
    assert (record.image_id, record.folder_id, record.folder_path) == (image_id, 1, b"/p")
    assert (record.relative_path, record.size, record.mtime_ns) == (b"x/a.jpg", 2**40, 2**62)
    assert (record.content_hash, record.width, record.height) == (b"h", 640, 480)
    assert (record.taken_at, record.state, record.reason) == (
        "2024-05-01T10:00:00",
        "present",
        None,
    )
    assert record.path == Path("/p/x/a.jpg")


@pytest.mark.parametrize(
    "name",
    [b"\xff\xfe.jpg", b"new\nline", b"-rf", b"100%_", b"\x1b[31m", "é".encode(), b"e\xcc\x81"],
)
def test_any_file_name_survives_the_round_trip(catalog, add, name):
    with catalog.begin() as batch:
        image_id = add(batch, name)
    record = catalog.image_at(b"/pictures/" + name)
    assert (record.image_id, record.relative_path) == (image_id, name)
    assert record.path_bytes == b"/pictures/" + name


def test_images_of_a_folder_are_streamed_by_path_in_every_state(catalog, add):
    with catalog.begin() as batch:
        add(batch, b"b", state="missing")
        add(batch, b"c", state="unreadable", reason="truncated")
        add(batch, b"a")
        add(batch, b"other", folder=b"/elsewhere")
    assert [record.relative_path for record in catalog.images(1)] == [b"a", b"b", b"c"]
    assert [record.relative_path for record in catalog.images(2)] == [b"other"]
    assert list(catalog.images(3)) == []


def test_images_may_be_read_while_a_batch_changes_them(catalog, add):
    with catalog.begin() as batch:
        for n in range(2500):
            add(batch, b"%04d" % n)
    seen = []
    for record in catalog.images(1):
        seen.append(record.relative_path)
        if len(seen) == 1:
            with catalog.begin() as batch:
                batch.mark_missing([2400])
                add(batch, b"9999")
    assert len(seen) == 2500
    assert catalog.counts() == Counts(present=2500, missing=1, unreadable=0, vectors=0)


def test_images_are_found_by_content_whatever_their_state(catalog, add):
    with catalog.begin() as batch:
        ids = [add(batch, b"a"), add(batch, b"a", folder=b"/copy", state="missing")]
        add(batch, b"b")
    found = catalog.images_with_hash([b"hash of a", b"hash of a", b"unknown"])
    assert [record.image_id for record in found] == ids
    assert catalog.images_with_hash([]) == []


def test_forty_thousand_ids_or_hashes_may_be_asked_for_at_once(catalog, add):
    with catalog.begin() as batch:
        ids = [add(batch, b"%d" % n, 0.5) for n in range(5)]
    many = [*range(40_000, 0, -1)]
    assert sorted(catalog.records(many)) == ids
    assert catalog.vectors_of(1, many)[0].tolist() == ids[::-1]
    assert len(catalog.images_with_hash(b"hash of %d" % n for n in range(40_000))) == 5


def test_records_leave_out_unknown_ids(catalog, add):
    with catalog.begin() as batch:
        image_id = add(batch, b"a")
    assert list(catalog.records([image_id, 99, -1])) == [image_id]
    assert catalog.records([image_id])[image_id].path == Path("/pictures/a")
    assert catalog.records([]) == {}


def test_the_image_at_a_path_needs_the_whole_name(catalog, add):
    with catalog.begin() as batch:
        image_id = add(batch, b"x/a.jpg")
    assert catalog.image_at(b"/pictures/x/a.jpg").image_id == image_id
    for other in (b"/pictures/x/a", b"/pictures", b"/pictures/", b"/picturesx/a.jpg", b"x/a.jpg"):
        assert catalog.image_at(other) is None


def test_where_roots_overlap_the_present_image_wins_then_the_inner_root(catalog, add):
    with catalog.begin() as batch:
        outer = add(batch, b"p/x/a.jpg", folder=b"/")
        inner = add(batch, b"a.jpg", folder=b"/p/x")
    assert catalog.image_at(b"/p/x/a.jpg").image_id == inner
    with catalog.begin() as batch:
        batch.mark_missing([inner])
    assert catalog.image_at(b"/p/x/a.jpg").image_id == outer


def test_unreadable_files_are_listed_with_their_reasons_by_path(catalog, add):
    with catalog.begin() as batch:
        add(batch, b"good.jpg")
        add(batch, b"z.jpg", state="unreadable", reason="truncated")
        add(batch, b"a.jpg", state="unreadable", reason="no picture")
    listed = [(record.relative_path, record.reason) for record in catalog.failures()]
    assert listed == [(b"a.jpg", "no picture"), (b"z.jpg", "truncated")]


def test_counts_tell_the_states_apart(catalog, add):
    with catalog.begin() as batch:
        add(batch, b"a", 0.5)
        add(batch, b"b", 0.5)
        add(batch, b"c", 0.5, state="missing")
        add(batch, b"d", state="unreadable", reason="truncated")
        batch.add_folder(b"/nothing in it")
    assert catalog.counts() == Counts(present=2, missing=1, unreadable=1, vectors=3)
    assert catalog.counts().images == 4
    assert catalog.folder_counts() == {1: 2, 2: 0}


def test_a_snapshot_keeps_to_one_committed_state(catalog, add):
    with catalog.begin() as batch:
        first = add(batch, b"a", 0.5)
    with catalog.snapshot() as snapshot:
        assert snapshot.last_vector_id(1) == 1
        with catalog.begin() as batch:
            add(batch, b"b", 0.25)
            batch.mark_missing([first])
        assert catalog.last_vector_id(1) == 2
        assert snapshot.last_vector_id(1) == 1
        assert snapshot.counts() == Counts(present=1, missing=0, unreadable=0, vectors=1)
        assert snapshot.dead_ids(1, 1).tolist() == []
    assert catalog.counts().missing == 1
