"""A backup is one committed state in one file, and putting it back brings the library back."""

from __future__ import annotations

import os
import shutil
import threading
from pathlib import Path

import pytest

from clipsearch.catalog import Catalog
from clipsearch.errors import CatalogDamaged, CatalogError, NoLibrary
from clipsearch.library import Library
from tests.care.conftest import Ruin
from tests.care.test_repair import damaged
from tests.conftest import Paint
from tests.fakes import ColourEncoder


def restored(copy: Path, folder: Path) -> Library:
    """As the documentation says: into an empty folder, as catalog.sqlite3."""
    folder.mkdir()
    shutil.copy(copy, folder / "catalog.sqlite3")
    return Library(folder, encoder=ColourEncoder())


def test_a_restored_backup_answers_as_the_library_did(sound: Library, tmp_path: Path) -> None:
    before = sound.query("red", k=100)
    report = sound.backup(tmp_path / "copy")
    assert (report.n_images, report.n_vectors) == (10, 9)
    assert report.n_bytes == (tmp_path / "copy").stat().st_size
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy", "library", "photos"]
    with restored(tmp_path / "copy", tmp_path / "again") as library:
        assert library.query("red", k=100) == before
        assert library.check(1).is_clean
        assert library.index(tmp_path / "photos").unchanged == 8


def test_a_backup_while_batches_are_written_is_one_of_their_states(
    sound: Library, tmp_path: Path
) -> None:
    """Each batch adds two images at once, so every state has an even number more."""
    done = threading.Event()

    def write() -> None:
        with Catalog.open(sound.path / "catalog.sqlite3") as catalog:
            for n in range(10**6):
                if done.is_set():
                    return
                with catalog.begin() as batch:
                    for name in (b"a%d" % n, b"b%d" % n):
                        batch.add_image(1, name, 1, 1, None, state="missing")

    thread = threading.Thread(target=write)
    thread.start()
    try:
        counts = [sound.backup(tmp_path / f"copy{n}").n_images for n in range(5)]
    finally:
        done.set()
        thread.join()
    assert [(count - 10) % 2 for count in counts] == [0] * 5
    assert counts == sorted(counts) and counts[-1] > counts[0]


def test_what_is_there_is_not_written_over_unless_forced(sound: Library, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.write_text("precious")
    with pytest.raises(CatalogError, match="exists already"):
        sound.backup(copy)
    assert copy.read_text() == "precious"
    sound.backup(copy, force=True)
    assert restored(copy, tmp_path / "again").check().is_clean


@pytest.mark.parametrize("name", ["catalog.sqlite3", ".", "link"])
def test_the_library_itself_is_no_place_for_its_backup(sound: Library, name: str) -> None:
    os.symlink("catalog.sqlite3", sound.path / "link")
    with pytest.raises(CatalogError, match=r"name (another|a) file"):
        sound.backup(sound.path / name, force=True)
    assert sound.check().is_clean


def test_a_place_beside_the_log_of_another_database_is_refused(
    sound: Library, tmp_path: Path
) -> None:
    (tmp_path / "copy-wal").write_bytes(b"x")
    with pytest.raises(CatalogError, match="copy-wal belongs to a database"):
        sound.backup(tmp_path / "copy", force=True)


def test_a_stale_log_beside_a_restored_backup_is_noticed_and_repaired(
    sound: Library, tmp_path: Path, paint: Paint
) -> None:
    copy = tmp_path / "copy"
    sound.backup(copy)
    paint("newer.png", (1, 2, 3))
    sound.index(tmp_path / "photos")
    log = (sound.path / "catalog.sqlite3-wal").read_bytes()
    sound.close()
    shutil.copy(copy, sound.path / "catalog.sqlite3")
    (sound.path / "catalog.sqlite3-wal").write_bytes(log)
    with pytest.raises(CatalogDamaged, match="log of another file"):
        Library(sound.path).status()
    (finding,) = sound.check().findings
    assert finding.kind == "foreign-log"
    sound.repair()
    assert sound.check().is_clean and sound.status().n_images == 8
    (kept,) = sound.path.glob("quarantine/*/catalog.sqlite3-wal")
    assert kept.read_bytes() == log


def test_a_damaged_catalog_is_not_copied_and_says_so(sound: Library, tmp_path: Path) -> None:
    damaged(sound, "images")
    with pytest.raises(CatalogError, match=r"damaged|not sound"):
        sound.backup(tmp_path / "copy")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["library", "photos"]


def test_a_bad_vector_does_not_keep_the_rest_from_being_copied(
    sound: Library, ruin: Ruin, tmp_path: Path
) -> None:
    ruin("UPDATE vectors SET crc32 = 1 WHERE vector_id = 3")
    assert sound.backup(tmp_path / "copy").n_vectors == 9


def test_there_must_be_a_library_and_a_folder(sound: Library, tmp_path: Path) -> None:
    with pytest.raises(NoLibrary):
        Library(tmp_path / "none").backup(tmp_path / "copy")
    with pytest.raises(CatalogError):
        sound.backup(tmp_path / "no folder" / "copy")


@pytest.mark.parametrize(
    "name", ["catalog.sqlite3-wal", "catalog.sqlite3-shm", "write.lock", "index/base-1.idx"]
)
def test_a_copy_never_takes_the_place_of_a_file_of_the_library(sound: Library, name: str) -> None:
    (sound.path / "index").mkdir(exist_ok=True)
    before = sorted(sound.path.rglob("*"))
    with pytest.raises(CatalogError, match="inside the library"):
        sound.backup(sound.path / name, force=True)
    assert sorted(sound.path.rglob("*")) == before and sound.check().is_clean


def test_a_copy_never_takes_the_place_of_a_pipe_or_device(sound: Library, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(CatalogError, match="pipe is not a regular file"):
        sound.backup(tmp_path / "pipe", force=True)
    assert not (tmp_path / "pipe").is_file()


def test_a_copy_that_cannot_be_made_is_blamed_on_its_own_folder(
    sound: Library, tmp_path: Path
) -> None:
    with pytest.raises(CatalogError, match=r"there is no folder .*nowhere"):
        sound.backup(tmp_path / "nowhere" / "copy")


def test_an_empty_catalog_is_no_library_to_copy(tmp_path: Path) -> None:
    (tmp_path / "library").mkdir()
    (tmp_path / "library" / "catalog.sqlite3").touch()
    with pytest.raises(NoLibrary, match="is empty"):
        Library(tmp_path / "library").backup(tmp_path / "copy")
    assert not (tmp_path / "copy").exists()
