"""What tells that a file has changed, whatever its dates say, and that a look is no encoding."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from clipsearch.catalog import ImageRecord
from clipsearch.catalog.batch import FileTimes
from clipsearch.images import Signature, signature
from clipsearch.library import IndexReport, Library
from tests.conftest import Paint
from tests.fakes import ColourEncoder

SECOND = 10**9
NOW = 1_800_000_000 * SECOND


@pytest.fixture
def one(library: Library, paint: Paint, photos: Path, encoder: ColourEncoder) -> Library:
    paint("a.bmp", "red")
    library.index(photos)
    encoder.n_encoded = 0
    return library


def record(library: Library) -> ImageRecord:
    (folder,) = library._opened().folders()
    (found,) = library._opened().images(folder.folder_id)
    return found


def set_times(library: Library, **times: int | None) -> None:
    """Change what the catalog says of its one file's dates."""
    now = record(library)
    old: FileTimes = {
        "mtime_ns": now.mtime_ns,
        "ctime_ns": now.ctime_ns,
        "unsure_since_ns": now.unsure_since_ns,
    }
    with library._opened().begin() as write:
        write.set_times({now.image_id: {**old, **times}})  # type: ignore[typeddict-item]


def repaint_in_secret(paint: Paint, path: Path, colour: str = "blue") -> None:
    """Another content of the same size and date; only the ctime can tell."""
    before = path.stat()
    paint(path.name, colour)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)


def forbid_reading(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("clipsearch.indexer.confirm.content_hash", None)
    patch.setattr("clipsearch.indexer.run.encoded_batches", None)


def outcome(report: IndexReport) -> tuple[int, int, int]:
    return report.unchanged, report.updated, report.n_encoded


# ---- the rule, without files


@pytest.mark.parametrize("mtime", [NOW, NOW - SECOND, NOW + 1, 4_300_000_000 * SECOND, 2**63 - 1])
def test_a_file_as_young_as_the_clocks_tick_is_looked_at_again(mtime: int) -> None:
    assert Signature(1, mtime, 5).unsure_since(NOW) == NOW
    assert Signature(1, 5, mtime).unsure_since(NOW) == NOW


@pytest.mark.parametrize("mtime", [0, -(10**18), -(2**63) + 1, NOW - 3 * SECOND])
def test_an_older_file_is_not(mtime: int) -> None:
    assert Signature(1, mtime, mtime).unsure_since(NOW) is None


def test_a_date_in_the_future_is_believed_once_it_was_seen_for_longer_than_a_tick() -> None:
    future = Signature(1, NOW + 10**18, 5)
    assert future.unsure_since(NOW + SECOND, NOW) == NOW
    assert future.unsure_since(NOW + 3 * SECOND, NOW) is None


def test_a_clock_that_goes_back_begins_anew() -> None:
    assert Signature(1, NOW, NOW).unsure_since(NOW - 100 * SECOND, NOW) == NOW - 100 * SECOND


# ---- with files


def test_a_change_that_keeps_size_and_mtime_is_seen(
    one: Library, photos: Path, paint: Paint
) -> None:
    set_times(one, unsure_since_ns=None, ctime_ns=1)  # read long ago
    repaint_in_secret(paint, photos / "a.bmp")
    assert outcome(one.index(photos)) == (0, 1, 1)
    assert one.query("blue", k=1)[0].score > 0.99


def test_a_change_within_the_clocks_tick_is_seen(one: Library, photos: Path, paint: Paint) -> None:
    assert record(one).unsure_since_ns is not None
    repaint_in_secret(paint, photos / "a.bmp")
    set_times(one, ctime_ns=(photos / "a.bmp").stat().st_ctime_ns)  # as if in the same tick
    assert outcome(one.index(photos)) == (0, 1, 1)
    assert one.query("blue", k=1)[0].score > 0.99


def test_what_no_date_tells_is_found_by_verifying(one: Library, photos: Path, paint: Paint) -> None:
    repaint_in_secret(paint, photos / "a.bmp")
    ctime_ns = (photos / "a.bmp").stat().st_ctime_ns
    set_times(one, unsure_since_ns=None, ctime_ns=ctime_ns)
    assert outcome(one.index(photos)) == (1, 0, 0)
    assert outcome(one.index(photos, verify=True)) == (0, 1, 1)
    assert one.query("blue", k=1)[0].score > 0.99


def test_verifying_encodes_nothing_that_is_the_same(one: Library, photos: Path) -> None:
    assert outcome(one.index(photos, verify=True)) == (1, 0, 0)


def test_other_dates_of_the_same_content_are_kept_and_not_asked_about_again(
    one: Library, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.utime(photos / "a.bmp", ns=(7, 7))
    (photos / "a.bmp").chmod(0o640)
    assert outcome(one.index(photos)) == (1, 0, 0)
    found = record(one)
    now = signature((photos / "a.bmp").stat())
    assert (found.mtime_ns, found.ctime_ns) == (now.mtime_ns, now.ctime_ns) and now.mtime_ns == 7
    set_times(one, unsure_since_ns=None)
    forbid_reading(monkeypatch)
    assert outcome(one.index(photos)) == (1, 0, 0)


def test_a_doubt_ends_with_a_look_after_the_tick(
    one: Library, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_times(one, unsure_since_ns=time.time_ns() - 10 * SECOND)
    assert outcome(one.index(photos)) == (1, 0, 0)
    assert record(one).unsure_since_ns is None
    forbid_reading(monkeypatch)
    assert outcome(one.index(photos)) == (1, 0, 0)


@pytest.mark.parametrize(
    "seconds", [0, -1, 2**31, 4_294_967_296 + 10**6], ids=["1970", "1969", "2038", "2106"]
)
def test_any_date_is_read_again_at_most_until_it_is_certain(
    one: Library, photos: Path, seconds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.utime(photos / "a.bmp", ns=(0, seconds * SECOND))
    assert outcome(one.index(photos)) == (1, 0, 0)
    set_times(one, unsure_since_ns=time.time_ns() - 10 * SECOND)
    assert outcome(one.index(photos)) == (1, 0, 0)
    forbid_reading(monkeypatch)
    assert outcome(one.index(photos)) == (1, 0, 0)


def test_an_unknown_ctime_is_filled_in_and_nothing_is_read(
    one: Library, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_times(one, ctime_ns=None, unsure_since_ns=None)  # as after a migration
    forbid_reading(monkeypatch)
    for _ in range(2):
        assert outcome(one.index(photos)) == (1, 0, 0)
    assert record(one).ctime_ns == (photos / "a.bmp").stat().st_ctime_ns


def test_a_file_that_is_replaced_by_an_older_one_of_equal_size_is_seen(
    one: Library, photos: Path, paint: Paint, tmp_path: Path
) -> None:
    paint("../other.bmp", "blue")
    before = (photos / "a.bmp").stat().st_mtime_ns
    os.utime(tmp_path / "other.bmp", ns=(before, before))
    (tmp_path / "other.bmp").replace(photos / "a.bmp")
    assert outcome(one.index(photos)) == (0, 1, 1)


def test_the_model_is_not_loaded_for_a_look(
    one: Library, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.utime(photos / "a.bmp", ns=(7, 7))
    monkeypatch.setattr(Library, "_loaded", None)
    assert outcome(one.index(photos)) == (1, 0, 0)


def test_a_touched_broken_file_is_not_decoded_again(
    library: Library, photos: Path, paint: Paint, monkeypatch: pytest.MonkeyPatch
) -> None:
    paint("a.png")
    (photos / "broken.jpg").write_bytes(b"no picture")
    first = library.index(photos)
    os.utime(photos / "broken.jpg", ns=(1, 1))
    monkeypatch.setattr("clipsearch.indexer.run.encoded_batches", None)
    for verify in (False, True):
        again = library.index(photos, verify=verify)
        assert (again.unchanged, again.skipped) == (1, first.skipped)


def test_many_doubtful_files_are_confirmed(library: Library, photos: Path, paint: Paint) -> None:
    content = paint("0.bmp").read_bytes()
    for n in range(1, 1200):  # more than two batches
        (photos / f"{n}.bmp").write_bytes(content)
    library.index(photos)
    paint("700.bmp", "blue")
    report = library.index(photos, verify=True)
    assert (report.unchanged, report.updated, report.n_encoded) == (1199, 1, 1)
