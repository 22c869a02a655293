"""What cameras wrote gets into the library with new pictures, and into old rows afterwards."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from clipsearch.catalog import Catalog, ImageRecord
from clipsearch.images import DETAILS_VERSION
from clipsearch.indexer import details
from clipsearch.indexer.report import Progress
from clipsearch.library import Library
from clipsearch.query.asking import LACKING
from tests.conftest import Paint
from tests.fakes import ColourEncoder
from tests.images.test_metadata import CAMERA, GPS, exif_with

EXPECTED = ("jpeg", "2023-06-01T12:30:05", "+05:30", "X100V", "XF 23mm", 151.2, 6, DETAILS_VERSION)
FORGET = """UPDATE images SET taken_at = NULL, zone = NULL, format = NULL, camera = NULL,
    lens = NULL, latitude = NULL, longitude = NULL, orientation = NULL, details = NULL"""


def shot(path: Path, colour: str = "red") -> Path:
    exif = exif_with(CAMERA, {271: "FUJIFILM", 272: "X100V", 274: 6}, GPS)
    path.parent.mkdir(exist_ok=True, parents=True)
    Image.new("RGB", (16, 12), colour).save(path, exif=exif)
    return path


def records(library: Library) -> list[ImageRecord]:
    with Catalog.open(library.path / "catalog.sqlite3") as catalog:
        return [r for folder in catalog.folders() for r in catalog.images(folder.folder_id)]


def facts(record: ImageRecord) -> tuple[Any, ...]:
    r = record
    camera = r.camera and r.camera.removeprefix("FUJIFILM ")
    return (r.format, r.taken_at, r.zone, camera, r.lens, r.longitude, r.orientation, r.details)


def raw(library: Library, statement: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(library.path / "catalog.sqlite3")) as connection, connection:
        return connection.execute(statement).fetchall()


def stored(library: Library) -> list[tuple[Any, ...]]:
    return raw(library, "SELECT * FROM vectors ORDER BY vector_id")


@pytest.fixture
def aged(library: Library, photos: Path, paint: Paint) -> Library:
    """A library as an older version left it: without details. Its encoder has encoded three."""
    shot(photos / "a.jpg")
    shot(photos / "deep/b.jpg", "blue")
    paint("plain.png", "green")
    library.index(photos)
    raw(library, FORGET)
    return library


def test_a_new_picture_comes_with_its_details(library: Library, photos: Path, paint: Paint) -> None:
    shot(photos / "a.jpg")
    paint("plain.png")
    library.index(photos)
    with_exif, plain = records(library)
    assert facts(with_exif) == EXPECTED and (with_exif.width, with_exif.height) == (12, 16)
    assert facts(plain) == ("png", None, None, None, None, None, 1, DETAILS_VERSION)


def test_a_later_index_fills_old_rows_in_and_touches_nothing_else(
    aged: Library, photos: Path, encoder: ColourEncoder
) -> None:
    before, vectors = records(aged), stored(aged)
    report = aged.index(photos)
    assert (report.unchanged, report.updated, report.n_encoded) == (3, 0, 0)
    assert encoder.n_encoded == 3 and stored(aged) == vectors
    found = records(aged)
    assert [facts(record) for record in found[:2]] == [EXPECTED, EXPECTED]
    assert facts(found[2])[0] == "png" and found[2].details == DETAILS_VERSION
    stat = [(r.image_id, r.mtime_ns, r.ctime_ns, r.content_hash, r.width) for r in before]
    assert stat == [(r.image_id, r.mtime_ns, r.ctime_ns, r.content_hash, r.width) for r in found]


def test_a_filter_that_finds_too_little_says_what_is_not_known_yet(
    aged: Library, photos: Path
) -> None:
    assert aged.query("red", filters="type:jpg").notes == (LACKING,)
    assert aged.query("red", filters="min-width:1").notes == ()
    aged.index(photos)
    found = aged.query("red", filters="type:jpg")
    assert len(found) == 2 and found.notes == ()


def test_of_pictures_that_nobody_has_seen_nothing_is_lacking(library: Library) -> None:
    library.add_vectors(["/nowhere/a.jpg"], np.ones((1, 4)))
    assert library.query("red", filters="type:jpg").notes == ()


def test_filled_rows_are_not_read_again(
    aged: Library, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    aged.index(photos)

    def start(*_: object) -> None:
        raise AssertionError("a worker was started")

    monkeypatch.setattr(details, "Workers", start)
    assert aged.index(photos).unchanged == 3


def test_a_lower_version_is_read_again(aged: Library, photos: Path) -> None:
    raw(aged, f"UPDATE images SET details = {DETAILS_VERSION - 1}")
    aged.index(photos)
    assert facts(records(aged)[0]) == EXPECTED


def test_a_damaged_version_is_read_again(aged: Library, photos: Path) -> None:
    raw(aged, "UPDATE images SET details = 'x' || image_id")
    aged.index(photos)
    assert facts(records(aged)[0]) == EXPECTED


def test_only_the_folder_that_is_indexed_is_filled_in(aged: Library, photos: Path) -> None:
    aged.index(photos / "deep")
    assert [record.details for record in records(aged)] == [None, DETAILS_VERSION, None]


def test_they_are_filled_in_beside_new_pictures(
    aged: Library, photos: Path, encoder: ColourEncoder
) -> None:
    shot(photos / "new.jpg", "yellow")
    assert aged.index(photos).added == 1
    assert encoder.n_encoded == 4
    assert all(record.details == DETAILS_VERSION for record in records(aged))


def test_interrupted_the_next_run_does_the_rest(
    aged: Library, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(details, "FILES_PER_BATCH", 1)

    def interrupt(progress: Progress) -> None:
        if progress.stage == "details" and progress.n_done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        aged.index(photos, on_progress=interrupt)
    filled = [record.details for record in records(aged)]
    assert filled.count(DETAILS_VERSION) == 1
    told: list[Progress] = []
    aged.index(photos, on_progress=told.append)
    assert [(p.n_done, p.n_total) for p in told if p.stage == "details"] == [(0, 2), (1, 2)]
    assert all(record.details == DETAILS_VERSION for record in records(aged))


def test_a_file_that_changed_meanwhile_is_left_to_the_next_run(aged: Library, photos: Path) -> None:
    def change(progress: Progress) -> None:
        if progress.stage == "details":
            shot(photos / "a.jpg", "magenta")

    aged.index(photos, on_progress=change)
    assert [record.details for record in records(aged)] == [None, DETAILS_VERSION, DETAILS_VERSION]
    assert aged.index(photos).updated == 1
    assert facts(records(aged)[0]) == EXPECTED


def test_a_file_whose_beginning_is_hostile_costs_itself_alone(aged: Library, photos: Path) -> None:
    path, size = photos / "a.jpg", (photos / "a.jpg").stat().st_size
    before = path.stat()
    path.write_bytes(b"\0" * size)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    raw(aged, "UPDATE images SET ctime_ns = NULL, unsure_since_ns = NULL")
    aged.index(photos)
    assert [record.details for record in records(aged)] == [None, DETAILS_VERSION, DETAILS_VERSION]


def test_what_is_missing_or_unreadable_is_not_looked_for(aged: Library, photos: Path) -> None:
    (photos / "a.jpg").rename(photos.parent / "a.jpg")
    (photos / "bad.png").write_bytes(b"no picture")
    aged.index(photos)
    bad = next(record for record in records(aged) if record.state == "unreadable")
    assert (bad.details, bad.format) == (None, None)
    (photos.parent / "a.jpg").rename(photos / "a.jpg")
    aged.index(photos)
    assert facts(records(aged)[0]) == EXPECTED


def test_a_picture_moved_or_copied_keeps_or_gets_its_details(
    library: Library, photos: Path
) -> None:
    path = shot(photos / "a.jpg")
    library.index(photos)
    path.rename(photos / "moved.jpg")
    assert library.index(photos).moved == 1
    (photos / "copy.jpg").write_bytes((photos / "moved.jpg").read_bytes())
    assert library.index(photos).added == 1
    assert [facts(record) for record in records(library)] == [EXPECTED, EXPECTED]


def test_another_picture_in_its_place_brings_its_own(library: Library, photos: Path) -> None:
    path = shot(photos / "a.jpg")
    library.index(photos)
    Image.new("RGB", (4, 4), "blue").save(path)
    assert library.index(photos).updated == 1
    (record,) = records(library)
    assert facts(record) == ("jpeg", None, None, None, None, None, 1, DETAILS_VERSION)
    assert record.latitude is None


@pytest.fixture
def hostile_exif(photos: Path) -> Iterator[Path]:
    path = photos / "a.jpg"
    Image.new("RGB", (9, 9), "red").save(path, exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff" * 9)
    yield path


def test_damaged_exif_costs_neither_picture_nor_run(
    library: Library, photos: Path, hostile_exif: Path
) -> None:
    assert library.index(photos).added == 1
    (record,) = records(library)
    assert (record.state, record.format, record.camera) == ("present", "jpeg", None)
    raw(library, FORGET)
    library.index(photos)
    assert facts(records(library)[0]) == facts(record)
