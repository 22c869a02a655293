"""Whatever is wrong with a library is found, and nothing is found where nothing is wrong."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import threading
import zlib
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clipsearch.care.report import MAX_LISTED, Kind
from clipsearch.errors import CatalogTooNew, NoLibrary
from clipsearch.indexer.merge import merge, use_recipe
from clipsearch.library import Library
from tests.care.conftest import Ruin
from tests.conftest import Paint
from tests.fakes import ColourEncoder

# As after going back to a copy.
OLDER = (
    "DELETE FROM vectors WHERE vector_id > 5; "
    "UPDATE sqlite_sequence SET seq = 5 WHERE name = 'vectors'"
)


def kinds(library: Library, read_data: float = 0.0) -> set[str]:
    return {str(finding.kind) for finding in library.check(read_data).findings}


def index_file(library: Library) -> Path:
    (path,) = (library.path / "index").glob("base-*.idx")
    return path


def test_a_sound_library_is_clean(sound: Library) -> None:
    found = sound.check(read_data=1)
    assert found.is_clean and found.findings == ()
    assert (found.n_images, found.n_vectors, found.n_index_files) == (10, 9, 1)
    assert found.n_pictures_read == 8


def test_a_library_that_was_just_made_is_clean(library: Library, paint: Paint) -> None:
    paint("red.png")
    library.index(paint("blue.png", "blue").parent)
    assert library.check().is_clean


def test_a_check_changes_nothing(sound: Library) -> None:
    sound.close()
    before = {path: path.read_bytes() for path in sound.path.rglob("*") if path.is_file()}
    assert Library(sound.path).check(read_data=1).is_clean
    assert before == {path: path.read_bytes() for path in sound.path.rglob("*") if path.is_file()}


def test_without_a_library_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(NoLibrary):
        Library(tmp_path / "none").check()


def test_a_newer_library_is_not_judged(sound: Library, ruin: Ruin) -> None:
    ruin("UPDATE alembic_version SET version_num = '0099'")
    with pytest.raises(CatalogTooNew):
        sound.check()


@pytest.mark.parametrize(
    ("statement", "kind"),
    [
        ("UPDATE vectors SET crc32 = crc32 + 1 WHERE vector_id = 3", Kind.VECTOR),
        ("UPDATE vectors SET vector = x'0000' WHERE vector_id = 3", Kind.VECTOR),
        ("UPDATE images SET state = 'odd' WHERE image_id = 2", Kind.CONTRADICTION),
        ("UPDATE images SET reason = 'x' WHERE state = 'present'", Kind.CONTRADICTION),
        ("UPDATE images SET reason = NULL WHERE state = 'unreadable'", Kind.CONTRADICTION),
        ("DELETE FROM vectors WHERE vector_id = 3", Kind.CONTRADICTION),
        ("DELETE FROM images WHERE image_id = 2", Kind.REFERENCE),
        ("DELETE FROM folders", Kind.REFERENCE),
        ("DROP INDEX ix_images_state", Kind.SCHEMA),
        ("ALTER TABLE images DROP COLUMN width", Kind.SCHEMA),
        ("DROP TABLE vectors", Kind.SCHEMA),
        ("DELETE FROM alembic_version", Kind.CATALOG),
        ("UPDATE library SET value = 'another' WHERE key = 'uuid'", Kind.INDEX_FOREIGN),
        (OLDER, Kind.INDEX_STALE),
    ],
)
def test_what_is_wrong_in_the_catalog_is_found(
    sound: Library, ruin: Ruin, statement: str, kind: Kind
) -> None:
    ruin(statement)
    assert kind in kinds(sound)


def test_a_model_that_is_not_there_is_found(sound: Library, ruin: Ruin) -> None:
    ruin("DELETE FROM models")
    assert {Kind.REFERENCE, Kind.VECTOR, Kind.CONTRADICTION} <= kinds(sound)


@pytest.mark.parametrize("value", [0.5, np.nan, np.inf, 0.0])
def test_a_vector_that_is_none_is_found_though_its_checksum_is_right(
    sound: Library, value: float
) -> None:
    blob = np.full(4, value * 1.01, np.float16).tobytes()
    with closing(sqlite3.connect(sound.path / "catalog.sqlite3")) as connection, connection:
        values = (blob, zlib.crc32(blob))
        connection.execute("UPDATE vectors SET vector = ?, crc32 = ? WHERE vector_id = 3", values)
    finding = sound.check().findings[0]
    assert finding.kind == Kind.VECTOR
    assert finding.where.endswith(".png") and "repair" in finding.remedy


@pytest.mark.parametrize("place", [0, 30, 200, -1])
def test_a_flipped_bit_of_an_index_file_is_found(sound: Library, place: int) -> None:
    path = index_file(sound)
    content = bytearray(path.read_bytes())
    content[place] ^= 4
    path.write_bytes(content)
    assert kinds(sound) == {Kind.INDEX_FILE}


def test_an_index_file_of_another_library_is_found(
    sound: Library, tmp_path: Path, ruin: Ruin
) -> None:
    sound.close()  # so that the change is in no log, which would be taken for another library's
    shutil.copytree(sound.path, tmp_path / "other")
    ruin("UPDATE library SET value = 'another' WHERE key = 'uuid'")
    assert kinds(sound) == {Kind.INDEX_FOREIGN}
    assert kinds(Library(tmp_path / "other")) == set()


def rewritten(library: Library, change: str) -> None:
    """Write a sound index file whose content is wrong."""
    from clipsearch.index import Source, build, generations, open_one

    catalog = library._opened()
    model = catalog.model()
    assert model is not None
    (generation,) = generations(library.path / "index")
    loaded = open_one(library.path / "index", (generation, catalog.uuid, model.sha256))
    header, index = loaded  # type: ignore[misc]
    ids, vectors = index.ids, index.vectors(index.ids)  # type: ignore[attr-defined]
    new_ids = ids + 100 if change == "ids" else ids
    new_vectors = vectors[::-1] if change == "swap" else vectors
    source = Source(len(ids), lambda n: new_vectors[:n], lambda: iter([(new_ids, new_vectors)]))
    build(library.path / "index", source, header)


@pytest.mark.parametrize("change", ["ids", "swap"])
def test_an_index_file_with_other_content_is_found(sound: Library, change: str) -> None:
    rewritten(sound, change)
    assert kinds(sound) == {Kind.INDEX_CONTENT}


def test_an_index_file_rewritten_with_the_same_content_is_clean(sound: Library) -> None:
    rewritten(sound, "nothing")
    assert kinds(sound) == set()


def test_answers_are_compared_with_an_exact_search(
    sound: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    from clipsearch.index import ExactIndex
    from clipsearch.index.base import Proposal

    propose = ExactIndex.propose

    def without_the_best(*asked: Any) -> Proposal:
        found = propose(*asked)
        return Proposal(found.ids[1:], found.at_most[1:])

    monkeypatch.setattr(ExactIndex, "propose", without_the_best)
    monkeypatch.setattr("clipsearch.care.index_files.K", 1)
    assert kinds(sound) == {Kind.INDEX_ANSWER}


@pytest.fixture
def approximate(sound: Library) -> Library:
    """The same library with an approximate index."""
    catalog = sound._opened()
    use_recipe(catalog, "ivf-rabitq")
    merge(catalog, catalog.model(), sound._files)  # type: ignore[arg-type]
    return sound


def test_an_approximate_index_file_that_is_sound_is_clean(approximate: Library) -> None:
    assert approximate.status().index.recipe == "ivf-rabitq"
    found = approximate.check()
    assert (found.n_index_files, found.findings) == (1, ())


def test_an_approximate_index_file_that_finds_little_is_found(
    approximate: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    from clipsearch.index.ivf import IvfIndex

    nothing = np.empty(0, np.int64)
    monkeypatch.setattr(IvfIndex, "propose", lambda *_: nothing, raising=True)
    assert kinds(approximate) == {Kind.INDEX_ANSWER}


def test_an_approximate_index_file_of_other_images_is_found(
    approximate: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    from clipsearch.index.ivf import IvfIndex

    ids = IvfIndex.ids.fget
    monkeypatch.setattr(IvfIndex, "ids", property(lambda self: ids(self) + 100))  # type: ignore
    assert kinds(approximate) == {Kind.INDEX_CONTENT}


def test_a_repair_builds_the_kind_of_index_that_was_asked_for(approximate: Library) -> None:
    path = index_file(approximate)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert len(approximate.repair().actions) == 2
    assert approximate.check().is_clean and approximate.status().index.recipe == "ivf-rabitq"


def test_imported_vectors_are_sound(sound: Library) -> None:
    vectors = np.eye(sound._opened().model().dimension, dtype=np.float32)  # type: ignore[union-attr]
    sound.add_vectors([f"/nowhere/{n}.jpg" for n in range(len(vectors))], vectors)
    assert sound.check(read_data=1).is_clean
    assert sound.repair().actions == ()


def test_a_rotten_bit_of_a_picture_is_found(sound: Library, photos: Path) -> None:
    picture = photos / "red.png"
    before = picture.stat()
    content = bytearray(picture.read_bytes())
    content[-20] ^= 1
    picture.write_bytes(content)
    os.utime(picture, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert kinds(sound) == set()
    (finding,) = sound.check(read_data=1).findings
    assert (finding.kind, finding.where) == (Kind.PICTURE, str(picture))


def test_a_picture_that_somebody_changed_is_no_finding(
    sound: Library, paint: Paint, photos: Path
) -> None:
    paint("red.png", "blue", size=(40, 40))
    (photos / "green.png").unlink()
    assert kinds(sound, read_data=1) == set()


@pytest.mark.parametrize(("share", "n_read"), [(0.5, 4), (0.01, 1), (0.25, 2)])
def test_a_share_of_the_pictures_is_read(sound: Library, share: float, n_read: int) -> None:
    assert sound.check(share).n_pictures_read == n_read


def test_a_catalog_of_noise_never_ends_in_anything_but_findings(sound: Library) -> None:
    sound.close()
    file = sound.path / "catalog.sqlite3"
    content, rng = file.read_bytes(), random.Random(4)
    for _ in range(60):
        damaged = bytearray(content)
        place = rng.randrange(len(content))
        damaged[place : place + 64] = rng.randbytes(len(damaged[place : place + 64]))
        file.write_bytes(damaged)
        with suppress(CatalogTooNew, NoLibrary):
            Library(sound.path).check()


@pytest.mark.parametrize("content", [b"hi", b"no database " * 1000, b"\0" * 8192])
def test_a_file_that_is_no_database_is_a_finding(sound: Library, content: bytes) -> None:
    sound.close()
    (sound.path / "catalog.sqlite3").write_bytes(content)
    assert kinds(Library(sound.path)) == {Kind.CATALOG}


def test_findings_without_end_are_counted_and_not_listed(sound: Library, ruin: Ruin) -> None:
    ruin(
        "WITH RECURSIVE n(i) AS (SELECT 100 UNION ALL SELECT i + 1 FROM n WHERE i < 400) "
        "INSERT INTO images (image_id, folder_id, relative_path, size, mtime_ns, state) "
        "SELECT i, 1, CAST(i AS BLOB), 1, 1, 'present' FROM n"
    )
    found = sound.check()
    assert (len(found.findings), found.n_found) == (MAX_LISTED, 301)


def test_the_log_of_another_library_is_found(sound: Library, tmp_path: Path, paint: Paint) -> None:
    sound.close()
    file = sound.path / "catalog.sqlite3"
    with Library(tmp_path / "other", encoder=sound._models.given) as other:
        other.index(tmp_path / "photos")
        other._opened().counts()
        log = (other.path / "catalog.sqlite3-wal").read_bytes()
    file.with_name("catalog.sqlite3-wal").write_bytes(log)
    assert Kind.FOREIGN_LOG in kinds(Library(sound.path))


def test_progress_is_told(sound: Library) -> None:
    told: list[str] = []
    sound.check(1, on_progress=lambda now: told.append(now.stage))
    assert list(dict.fromkeys(told)) == ["catalog", "vectors", "index files", "pictures"]


def test_a_check_is_clean_at_any_moment_of_indexing_and_merging(
    sound: Library, paint: Paint, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clipsearch.indexer.merge.can_be_due", lambda *_: True)
    monkeypatch.setattr("clipsearch.indexer.merge.is_merge_due", lambda *_: True)

    def write() -> None:
        with Library(sound.path, encoder=ColourEncoder()) as writer:
            for n in range(12):
                paint(f"more{n}.png", (20 * n, 1, 1))
                writer.index(photos)

    thread = threading.Thread(target=write)
    thread.start()
    reports = []
    while thread.is_alive():
        reports.append(sound.check(1))
    thread.join()
    assert len(reports) > 2
    assert [report.findings for report in reports] == [()] * len(reports)
    assert sound.check(1).n_images == 22
