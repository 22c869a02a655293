"""Files that look gone: what is believed, what stops the run, and that nothing was written then."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from clipsearch.errors import FolderError
from clipsearch.indexer.merge import merge
from clipsearch.library import Library
from tests.conftest import Paint

SHADES = 9


@pytest.fixture
def nine(library: Library, paint: Paint, photos: Path) -> Library:
    """A library of nine shades of red, four of them in a folder below."""
    for n in range(SHADES):
        paint(f"{'sub/' if n > 4 else ''}{n}.png", (100 + 10 * n, 0, 0))
    library.index(photos)
    return library


def state(library: Library) -> object:
    """All that the catalog says, row by row."""
    catalog = library._opened()
    records = [r for folder in catalog.folders() for r in catalog.images(folder.folder_id)]
    return records, catalog.failures(), catalog.counts(), catalog.revision()


def remove(photos: Path, *numbers: int) -> None:
    for n in numbers:
        (photos / f"{'sub/' if n > 4 else ''}{n}.png").unlink()


def test_half_of_the_files_may_go(nine: Library, photos: Path) -> None:
    remove(photos, 0, 1, 2, 3)
    assert nine.index(photos).missing == 4


def test_when_more_than_half_are_gone_nothing_is_written(nine: Library, photos: Path) -> None:
    remove(photos, 0, 1, 2, 3, 4)
    (photos / "new.png").write_bytes(b"no picture")
    before = state(nine)
    with pytest.raises(FolderError, match=r"of the 9 files .* 5 are not there .*--yes"):
        nine.index(photos)
    assert state(nine) == before
    assert nine.index(photos, allow_missing=True).missing == 5
    assert nine.status().n_missing == 5


def test_pictures_whose_vectors_were_imported_are_not_lost(nine: Library, photos: Path) -> None:
    vectors = np.tile(np.eye(4, dtype=np.float32), (5, 1))
    nine.add_vectors([photos / f"elsewhere/{n}.jpg" for n in range(20)], vectors)
    assert nine.index(photos).missing == 0
    remove(photos, 0, 1, 2, 3)
    assert nine.index(photos).missing == 4
    remove(photos, 4, 5, 6)  # of the five that are left, and not of 25
    with pytest.raises(FolderError, match="of the 5 files"):
        nine.index(photos)
    assert nine.status().n_images == 25 and nine.errors() == []


def test_what_was_missing_before_is_not_lost_again(nine: Library, photos: Path) -> None:
    remove(photos, 0, 1, 2, 3)
    nine.index(photos)
    remove(photos, 4, 5)  # two of five
    assert nine.index(photos).missing == 2


def test_a_part_is_judged_by_its_own_files(nine: Library, photos: Path) -> None:
    shutil.rmtree(photos / "sub")
    (photos / "sub").mkdir()
    with pytest.raises(FolderError, match=r"of the 4 files .*/sub, 4 are not there"):
        nine.index(photos / "sub")
    assert nine.index(photos).missing == 4  # of nine


def test_files_that_moved_inside_the_folder_are_not_lost(nine: Library, photos: Path) -> None:
    for path in photos.glob("*.png"):
        path.rename(photos / "sub" / f"was {path.name}")
    report = nine.index(photos)
    assert (report.moved, report.missing, report.n_encoded) == (5, 0, 0)


def test_files_that_moved_to_another_folder_of_the_run_are_not_lost(
    nine: Library, photos: Path, tmp_path: Path
) -> None:
    archive = tmp_path / "archive"
    photos.rename(archive)
    photos.mkdir()
    with pytest.raises(FolderError, match="9 are not there"):
        nine.index(photos)
    report = nine.index(photos, archive)
    assert (report.moved, report.missing, report.n_encoded) == (9, 0, 0)


def test_one_file_cannot_stand_for_many_that_are_gone(
    library: Library, paint: Paint, photos: Path
) -> None:
    for n in range(9):
        os.utime(paint(f"{n}.bmp", (100 + 10 * n, 0, 0)), ns=(5, 5))  # of one size, too
    library.index(photos)
    for n in range(6):
        (photos / f"{n}.bmp").rename(photos / "moved.bmp")
    with pytest.raises(FolderError, match=r"of the 9 files .* 5 are not there"):
        library.index(photos)


def test_an_emptied_root_stops_and_what_comes_back_is_there_at_once(
    nine: Library, photos: Path, tmp_path: Path
) -> None:
    hits = nine.query("red", k=20)
    photos.rename(tmp_path / "drive")
    photos.mkdir()  # as an unmounted drive leaves its mount point
    with pytest.raises(FolderError, match="mount the drive"):
        nine.index(photos)
    assert nine.query("red", k=20) == hits
    assert nine.index(photos, allow_missing=True).missing == 9
    assert nine.query("red", k=20) == []
    photos.rmdir()
    (tmp_path / "drive").rename(photos)
    report = nine.index(photos)
    assert (report.returned, report.n_encoded) == (9, 0)
    assert nine.query("red", k=20) == hits


@pytest.mark.parametrize("allow_missing", [False, True])
def test_a_root_that_is_not_there_is_an_error_whatever_is_allowed(
    nine: Library, photos: Path, tmp_path: Path, allow_missing: bool
) -> None:
    photos.rename(tmp_path / "renamed")
    before = state(nine)
    with pytest.raises(FolderError, match="there is no folder"):
        nine.index(photos, allow_missing=allow_missing)
    assert state(nine) == before


def test_a_known_folder_that_stays_empty_is_no_error(nine: Library, photos: Path) -> None:
    shutil.rmtree(photos)
    photos.mkdir()
    nine.index(photos, allow_missing=True)
    assert nine.index(photos).missing == 0


def test_an_unknown_folder_without_pictures_is_an_error(nine: Library, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(FolderError, match="has no pictures in it"):
        nine.index(tmp_path / "empty")


def test_losing_most_of_an_index_file_stops_too(nine: Library, photos: Path) -> None:
    catalog = nine._opened()
    merge(catalog, catalog.model(), nine._files)  # type: ignore[arg-type]
    remove(photos, *range(8))
    with pytest.raises(FolderError, match="8 are not there"):
        nine.index(photos)
    assert len(nine.query("red", k=20)) == 9
