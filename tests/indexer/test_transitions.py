"""Every way from one state of a file to another, seen from the outside."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from clipsearch.errors import FolderError
from clipsearch.library import IndexReport, Library
from tests.conftest import Paint
from tests.fakes import ColourEncoder

COUNTS = ("added", "updated", "moved", "missing", "returned", "unchanged")


def counts(report: IndexReport) -> dict[str, int]:
    return {name: n for name in COUNTS if (n := getattr(report, name))}


def found(library: Library, words: str = "red") -> set[str]:
    return {hit.path.name for hit in library.query(words, k=100)}


def best(library: Library, words: str) -> Path:
    return library.query(words, k=1)[0].path


@pytest.fixture
def two(library: Library, paint: Paint, photos: Path, encoder: ColourEncoder) -> Library:
    """A library with a red and a blue picture, and an encoder that counts from here on."""
    paint("red.png", "red")
    paint("sub/blue.png", "blue")
    assert counts(library.index(photos)) == {"added": 2}
    encoder.n_encoded = 0
    return library


def test_a_second_run_has_nothing_to_do(two: Library, photos: Path, encoder: ColourEncoder) -> None:
    assert counts(two.index(photos)) == {"unchanged": 2}
    assert encoder.n_encoded == 0


def test_a_new_file_is_added(two: Library, photos: Path, paint: Paint) -> None:
    paint("green.png", "green")
    assert counts(two.index(photos)) == {"added": 1, "unchanged": 2}
    assert best(two, "green").name == "green.png"


def test_a_changed_file_gets_a_new_vector_and_keeps_its_id(
    two: Library, photos: Path, paint: Paint
) -> None:
    old = two.query("red", k=1)[0]
    paint("red.png", (0, 255, 0))
    report = two.index(photos)
    assert counts(report) == {"updated": 1, "unchanged": 1} and report.n_encoded == 1
    new = two.query("green", k=1)[0]
    assert (new.image_id, new.path) == (old.image_id, old.path)
    assert new.score > 0.99


def test_a_touched_file_is_not_encoded_again(
    two: Library, photos: Path, encoder: ColourEncoder
) -> None:
    os.utime(photos / "red.png", ns=(1, 1))
    for _ in range(2):
        assert counts(two.index(photos)) == {"unchanged": 2}
    assert encoder.n_encoded == 0


@pytest.mark.parametrize("target", ["crimson.png", "deep/down/red.png", "sub/red.png"])
def test_a_moved_file_keeps_its_id_and_vector(
    two: Library, photos: Path, encoder: ColourEncoder, target: str
) -> None:
    old = two.query("red", k=1)[0]
    (photos / target).parent.mkdir(parents=True, exist_ok=True)
    (photos / "red.png").rename(photos / target)
    assert counts(two.index(photos)) == {"moved": 1, "unchanged": 1}
    new = two.query("red", k=1)[0]
    assert (new.image_id, new.path, new.score) == (old.image_id, photos / target, old.score)
    assert encoder.n_encoded == 0


def test_a_moved_folder_moves_its_files(two: Library, photos: Path, encoder: ColourEncoder) -> None:
    (photos / "sub").rename(photos / "other")
    assert counts(two.index(photos)) == {"moved": 1, "unchanged": 1}
    assert encoder.n_encoded == 0


def test_a_file_can_move_to_another_root(
    two: Library, photos: Path, tmp_path: Path, encoder: ColourEncoder
) -> None:
    archive = tmp_path / "archive"
    archive.mkdir()
    (photos / "red.png").rename(archive / "red.png")
    assert counts(two.index(archive)) == {"moved": 1}
    assert best(two, "red") == archive / "red.png"
    assert counts(two.index(photos)) == {"unchanged": 1}
    assert encoder.n_encoded == 0


def test_a_copy_is_added_without_encoding(
    two: Library, photos: Path, encoder: ColourEncoder
) -> None:
    shutil.copy(photos / "red.png", photos / "copy.png")
    assert counts(two.index(photos)) == {"added": 1, "unchanged": 2}
    assert encoder.n_encoded == 0
    first, second = two.query("red", k=2)
    assert first.score == second.score and first.image_id != second.image_id


def test_equal_new_files_are_encoded_once(
    library: Library, paint: Paint, photos: Path, encoder: ColourEncoder
) -> None:
    for n in range(5):
        paint(f"{n}.png", "red")
    assert counts(library.index(photos)) == {"added": 5}
    assert encoder.n_encoded == 1
    assert len(library.query("red")) == 5


def test_a_file_moved_and_copied_is_one_move_and_one_addition(
    two: Library, photos: Path, encoder: ColourEncoder
) -> None:
    shutil.copy(photos / "red.png", photos / "a.png")
    (photos / "red.png").rename(photos / "b.png")
    assert counts(two.index(photos)) == {"moved": 1, "added": 1, "unchanged": 1}
    assert encoder.n_encoded == 0
    assert found(two) == {"a.png", "b.png", "blue.png"}


def test_a_file_put_over_another_replaces_it(
    two: Library, photos: Path, encoder: ColourEncoder
) -> None:
    (photos / "sub" / "blue.png").rename(photos / "red.png")
    assert counts(two.index(photos)) == {"updated": 1, "missing": 1}
    assert best(two, "blue") == photos / "red.png"
    assert len(two.query("red")) == 1 and encoder.n_encoded == 0


def test_files_that_swapped_names_swap_vectors(two: Library, photos: Path) -> None:
    red, blue, aside = photos / "red.png", photos / "sub" / "blue.png", photos / "aside"
    red.rename(aside)
    blue.rename(red)
    aside.rename(blue)
    assert counts(two.index(photos)) == {"updated": 2}
    assert best(two, "blue") == red and best(two, "red") == blue


def test_a_deleted_file_goes_missing_once(two: Library, photos: Path) -> None:
    (photos / "red.png").unlink()
    assert counts(two.index(photos)) == {"missing": 1, "unchanged": 1}
    assert counts(two.index(photos)) == {"unchanged": 1}
    assert found(two) == {"blue.png"}


def test_a_missing_file_that_comes_back_is_healed(
    two: Library, photos: Path, tmp_path: Path, encoder: ColourEncoder
) -> None:
    aside = tmp_path / "aside.png"
    (photos / "red.png").rename(aside)
    two.index(photos)
    aside.rename(photos / "red.png")
    assert counts(two.index(photos)) == {"returned": 1, "unchanged": 1}
    assert encoder.n_encoded == 0 and best(two, "red").name == "red.png"


def test_a_missing_file_that_comes_back_with_a_new_date_is_not_encoded_again(
    two: Library, photos: Path, encoder: ColourEncoder
) -> None:
    content = (photos / "red.png").read_bytes()
    (photos / "red.png").unlink()
    two.index(photos)
    (photos / "red.png").write_bytes(content)
    assert counts(two.index(photos)) == {"returned": 1, "unchanged": 1}
    assert encoder.n_encoded == 0 and best(two, "red").name == "red.png"


def test_a_missing_file_that_comes_back_different_is_encoded(
    two: Library, photos: Path, paint: Paint
) -> None:
    (photos / "red.png").unlink()
    two.index(photos)
    paint("red.png", "green")
    assert counts(two.index(photos)) == {"updated": 1, "unchanged": 1}
    assert best(two, "green").name == "red.png"


def test_a_missing_file_that_comes_back_elsewhere_has_moved(
    two: Library, photos: Path, encoder: ColourEncoder
) -> None:
    content = (photos / "red.png").read_bytes()
    (photos / "red.png").unlink()
    two.index(photos)
    (photos / "crimson.png").write_bytes(content)
    assert counts(two.index(photos)) == {"moved": 1, "unchanged": 1}
    assert encoder.n_encoded == 0 and best(two, "red").name == "crimson.png"


# ---- unreadable files


def test_a_broken_file_costs_only_itself(two: Library, photos: Path) -> None:
    (photos / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 cut off")
    report = two.index(photos)
    assert counts(report) == {"unchanged": 2}
    assert [file.path.name for file in report.skipped] == ["broken.jpg"]


def test_a_broken_file_is_reported_again_but_not_decoded_again(
    two: Library, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (photos / "broken.jpg").write_bytes(b"no picture")
    first = two.index(photos)
    monkeypatch.setattr("clipsearch.indexer.run.Workers", None)
    assert two.index(photos).skipped == first.skipped


def test_a_broken_file_that_is_repaired_is_added_to_the_answers(
    two: Library, photos: Path, paint: Paint
) -> None:
    (photos / "green.png").write_bytes(b"no picture")
    two.index(photos)
    paint("green.png", "green")
    assert counts(two.index(photos)) == {"updated": 1, "unchanged": 2}
    assert best(two, "green").name == "green.png" and not two.errors()


def test_a_good_file_that_breaks_leaves_the_answers(two: Library, photos: Path) -> None:
    (photos / "red.png").write_bytes(b"no picture")
    report = two.index(photos)
    assert len(report.skipped) == 1 and counts(report) == {"unchanged": 1}
    assert found(two) == {"blue.png"} and len(two.errors()) == 1
    # Its old vector under its new content would be given to the next file of that content.
    assert two._opened().counts().vectors == 1


def test_a_file_that_could_not_even_be_read_is_tried_again(
    tmp_path: Path, photos: Path, paint: Paint
) -> None:
    from clipsearch.settings import Settings

    paint("red.png"), paint("blue.png", "blue")
    os.truncate(photos / "red.png", 70 << 20)  # readers do not mind what follows a picture
    little = Settings(decode_memory=128)
    with Library(tmp_path / "l", settings=little, encoder=ColourEncoder()) as library:
        (skipped,) = library.index(photos).skipped
        assert "red.png needs more than 128 MB to decode" in skipped.reason
    with Library(tmp_path / "l", encoder=ColourEncoder()) as library:
        assert counts(library.index(photos)) == {"updated": 1, "unchanged": 1}
        assert best(library, "red").name == "red.png"


def test_a_broken_file_that_goes_and_comes_back_is_still_broken(
    two: Library, photos: Path, tmp_path: Path
) -> None:
    broken, aside = photos / "broken.jpg", tmp_path / "aside"
    broken.write_bytes(b"no picture")
    two.index(photos)
    broken.rename(aside)
    assert counts(two.index(photos)) == {"missing": 1, "unchanged": 2} and not two.errors()
    aside.rename(broken)
    assert len(two.index(photos).skipped) == 1 and len(two.errors()) == 1
    assert found(two) == {"red.png", "blue.png"}


def test_a_broken_file_that_is_touched_stays_broken(two: Library, photos: Path) -> None:
    (photos / "broken.jpg").write_bytes(b"no picture")
    two.index(photos)
    os.utime(photos / "broken.jpg", ns=(1, 1))
    assert len(two.index(photos).skipped) == 1 and len(two.errors()) == 1


def test_a_picture_with_too_many_pixels_is_skipped_with_the_reason(
    tmp_path: Path, paint: Paint, photos: Path
) -> None:
    from clipsearch.settings import Settings

    paint("large.png", size=(40, 30))
    paint("small.png", size=(10, 10))
    settings = Settings(max_pixels=1000)
    with Library(tmp_path / "l", settings=settings, encoder=ColourEncoder()) as library:
        (skipped,) = library.index(photos).skipped
        assert "1,200" in skipped.reason and "1,000" in skipped.reason
        assert found(library) == {"small.png"}


def test_a_picture_with_too_many_pixels_is_tried_again_when_more_are_allowed(
    tmp_path: Path, paint: Paint, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from clipsearch.settings import Settings

    paint("large.png", size=(40, 30))
    (photos / "broken.png").write_bytes(b"no picture")

    def index(max_pixels: int) -> IndexReport:
        settings = Settings(max_pixels=max_pixels)
        with Library(tmp_path / "l", settings=settings, encoder=ColourEncoder()) as library:
            return library.index(photos)

    assert len(index(1000).skipped) == 2
    with monkeypatch.context() as patch:
        patch.setattr("clipsearch.indexer.run.Workers", None)
        assert len(index(1199).skipped) == 2  # still too few, so nothing is read
    report = index(1200)
    assert [file.path.name for file in report.skipped] == ["broken.png"]
    assert counts(report) == {"updated": 1} and report.n_encoded == 1
    assert counts(index(1000)) == {"unchanged": 1}  # what is in the library stays


def test_a_picture_with_too_many_pixels_that_breaks_is_not_tried_again(
    tmp_path: Path, paint: Paint, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from clipsearch.settings import Settings

    large = paint("large.png", size=(40, 30))
    small = Settings(max_pixels=1000)
    with Library(tmp_path / "l", settings=small, encoder=ColourEncoder()) as library:
        library.index(photos)
        large.write_bytes(b"no picture")
        library.index(photos)
    monkeypatch.setattr("clipsearch.indexer.run.Workers", None)
    with Library(tmp_path / "l", encoder=ColourEncoder()) as library:
        assert "not a picture" in library.index(photos).skipped[0].reason


@pytest.mark.parametrize("mtime_ns", [2**63, 10**19, -(10**9)])
def test_a_date_far_away_stops_nothing(
    library: Library, paint: Paint, photos: Path, mtime_ns: int
) -> None:
    path = paint("red.png")
    try:
        os.utime(path, ns=(0, mtime_ns))
    except OverflowError:
        pytest.skip("the system has no such dates")
    assert counts(library.index(photos)) == {"added": 1}
    assert counts(library.index(photos)) == {"unchanged": 1}


def test_many_equal_files_move_together(library: Library, paint: Paint, photos: Path) -> None:
    for n in range(40):
        paint(f"{'kept' if n < 20 else 'old'}/{n}.png", "red")
    library.index(photos)
    (photos / "old").rename(photos / "new")
    assert counts(library.index(photos)) == {"moved": 20, "unchanged": 20}


def test_names_that_are_not_utf8_survive_the_way_through(two: Library, photos: Path) -> None:
    name = b"gr\xfcn\n.png"
    try:
        shutil.copy(photos / "red.png", photos / os.fsdecode(name))
    except OSError:
        pytest.skip("this file system wants names in UTF-8")
    two.index(photos)
    assert name in {os.fsencode(hit.path.name) for hit in two.query("red")}
    assert all(hit.path.exists() for hit in two.query("red"))


# ---- careful with what looks gone


def test_an_emptied_root_is_taken_for_an_unmounted_drive(two: Library, photos: Path) -> None:
    shutil.rmtree(photos)
    photos.mkdir()
    with pytest.raises(FolderError, match="mount the drive, or confirm"):
        two.index(photos)
    assert found(two) == {"red.png", "blue.png"}
    assert counts(two.index(photos, allow_missing=True)) == {"missing": 2}
    assert two.query("red") == []


def test_a_root_that_is_gone_marks_nothing_missing(two: Library, photos: Path) -> None:
    photos.rename(photos.with_name("elsewhere"))
    with pytest.raises(FolderError, match="photos"):
        two.index(photos)
    assert found(two) == {"red.png", "blue.png"}


def test_one_bad_folder_stops_the_run_before_anything_is_written(
    two: Library, photos: Path, paint: Paint, tmp_path: Path
) -> None:
    paint("green.png", "green")
    with pytest.raises(FolderError, match="nowhere"):
        two.index(photos, tmp_path / "nowhere")
    assert "green.png" not in found(two)


def test_files_below_an_unreadable_folder_are_not_missing(
    two: Library, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scandir = os.scandir

    def refusing(path: bytes) -> object:  # root may read everything, so modes prove nothing
        if os.fsencode(path).rstrip(b"/").endswith(b"sub"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr("os.scandir", refusing)
    (photos / "red.png").rename(photos / "crimson.png")
    report = two.index(photos)
    assert counts(report) == {"moved": 1}
    assert [file.path for file in report.skipped] == [photos / "sub"]
    assert found(two) == {"crimson.png", "blue.png"}


def test_a_file_is_not_taken_from_an_unmounted_root(
    two: Library, photos: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copies" / "red.png"
    copy.parent.mkdir()
    shutil.copy(photos / "red.png", copy)
    photos.rename(tmp_path / "drive")
    photos.mkdir()
    assert counts(two.index(copy.parent)) == {"added": 1}
    assert found(two) == {"red.png", "blue.png"} and len(two.query("red")) == 3


# ---- roots inside roots


def test_a_folder_inside_a_root_is_part_of_it(two: Library, photos: Path, paint: Paint) -> None:
    paint("sub/green.png", "green")
    paint("white.png", "white")
    assert counts(two.index(photos / "sub")) == {"added": 1, "unchanged": 1}
    assert [folder.path for folder in two.status().folders] == [photos]
    assert counts(two.index(photos)) == {"added": 1, "unchanged": 3}


def test_a_scan_of_a_part_says_nothing_of_the_rest(two: Library, photos: Path) -> None:
    (photos / "red.png").unlink()
    assert counts(two.index(photos / "sub")) == {"unchanged": 1}
    assert found(two) == {"red.png", "blue.png"}


def test_a_folder_around_a_root_takes_it_over(
    two: Library, photos: Path, encoder: ColourEncoder
) -> None:
    ids = {hit.path: hit.image_id for hit in two.query("red")}
    assert counts(two.index(photos.parent)) == {"unchanged": 2}
    assert {hit.path: hit.image_id for hit in two.query("red")} == ids
    assert [folder.path for folder in two.status().folders] == [photos.parent]
    assert counts(two.index(photos)) == {"unchanged": 2}
    assert encoder.n_encoded == 0


def test_folders_named_twice_or_inside_each_other_count_once(
    library: Library, paint: Paint, photos: Path
) -> None:
    paint("sub/red.png")
    paint("blue.png", "blue")
    (photos.parent / "link").symlink_to(photos)
    report = library.index(photos / "sub", photos, photos, photos.parent / "link")
    assert counts(report) == {"added": 2}
    assert counts(library.index(str(photos))) == {"unchanged": 2}


def test_a_root_whose_name_begins_like_another_is_its_own(
    two: Library, photos: Path, paint: Paint
) -> None:
    paint("../photos2/green.png", "green")
    assert counts(two.index(photos.with_name("photos2"))) == {"added": 1}
    assert len(two.status().folders) == 2
