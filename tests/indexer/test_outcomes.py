"""Every file has a recorded outcome: what cannot be used is listed, until the cause is gone."""

from __future__ import annotations

import os
import shutil
import socket
import threading
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest

from clipsearch.library import Library, Progress
from tests.conftest import Paint

Scandir = Callable[[bytes], object]


@pytest.fixture
def started(library: Library, paint: Paint, photos: Path) -> Library:
    paint("good.png", "red")
    paint("sub/deep/other.png", "blue")
    paint("sub/third.png", "green")
    library.index(photos)
    return library


def listed(library: Library, photos: Path) -> dict[str, str]:
    """Reasons by path below the photos."""
    return {str(e.path.relative_to(photos)): e.reason for e in library.errors()}


def test_links_pipes_and_sockets_are_listed_until_they_are_gone(
    started: Library, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (photos / "link.png").symlink_to("nowhere")
    (photos / "loop.png").symlink_to("loop.png")
    os.mkfifo(photos / "sub" / "pipe.jpg")
    monkeypatch.chdir(photos)  # the path of a socket must be short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket.gif")
        report = started.index(photos)
    found = listed(started, photos)
    assert set(found) == {"link.png", "loop.png", "sub/pipe.jpg", "socket.gif"}
    assert "leads nowhere" in found["link.png"] and "not a regular file" in found["sub/pipe.jpg"]
    assert len(report.skipped) == 4 and started.status().n_problems == 4
    for name in found:
        (photos / name).unlink()
    assert started.index(photos).skipped == () and started.errors() == []


def test_a_link_that_leads_somewhere_again_is_a_picture(started: Library, photos: Path) -> None:
    (photos / "link.png").symlink_to("later.bmp.txt")
    started.index(photos)
    shutil.copy(photos / "good.png", photos / "later.bmp.txt")
    assert started.index(photos).added == 1
    assert started.errors() == []


@pytest.fixture
def closed(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """The folder "deep" may not be read; gives what opens it. Root may read all, so modes do not
    serve."""
    scandir: Scandir = os.scandir

    def refusing(path: bytes) -> object:
        if os.fsencode(path).rstrip(b"/").endswith(b"deep"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr("os.scandir", refusing)
    return monkeypatch.undo


def test_a_folder_that_cannot_be_read_is_listed_and_loses_nothing(
    started: Library, photos: Path, closed: Callable[[], None]
) -> None:
    started.index(photos)
    assert list(listed(started, photos)) == ["sub/deep"]
    assert len(started.query("red")) == 3
    closed()
    started.index(photos)
    assert started.errors() == []


@pytest.mark.usefixtures("closed")
def test_a_scan_elsewhere_does_not_heal_what_it_did_not_see(
    started: Library, photos: Path, paint: Paint
) -> None:
    started.index(photos)
    started.index(paint("../elsewhere/a.png").parent)
    started.index(photos / "sub")
    assert list(listed(started, photos)) == ["sub/deep"]


def test_a_scan_of_a_part_heals_that_part(
    started: Library, photos: Path, closed: Callable[[], None]
) -> None:
    (photos / "link.png").symlink_to("nowhere")
    started.index(photos)
    assert set(listed(started, photos)) == {"link.png", "sub/deep"}
    closed()
    started.index(photos / "sub" / "deep")
    assert set(listed(started, photos)) == {"link.png"}


@pytest.mark.usefixtures("closed")
def test_problems_follow_when_a_root_is_taken_over(started: Library, photos: Path) -> None:
    started.index(photos)
    started.index(photos.parent)
    assert list(listed(started, photos)) == ["sub/deep"]


def test_a_pipe_in_the_place_of_a_picture_makes_it_missing(started: Library, photos: Path) -> None:
    (photos / "good.png").unlink()
    os.mkfifo(photos / "good.png")
    assert started.index(photos).missing == 1
    assert list(listed(started, photos)) == ["good.png"]


def test_a_bad_link_in_the_place_of_a_broken_picture_is_listed_once(
    started: Library, photos: Path
) -> None:
    (photos / "bad.png").write_bytes(b"no picture")
    started.index(photos)
    (photos / "bad.png").unlink()
    (photos / "bad.png").symlink_to("nowhere")
    started.index(photos)
    assert "leads nowhere" in listed(started, photos)["bad.png"]


def between_scan_and_reading(happens: Callable[[], object]) -> Callable[[Progress], None]:
    """A listener that lets something happen once all is scanned and nothing is read yet."""

    def listen(progress: Progress) -> None:
        if progress.stage == "encode" and not progress.n_done:
            happens()

    return listen


def test_a_file_that_vanishes_before_it_is_read_is_listed_until_the_next_run(
    started: Library, photos: Path, paint: Paint, tmp_path: Path
) -> None:
    shy, aside = paint("shy.png"), tmp_path / "aside"
    listener = between_scan_and_reading(lambda: shy.rename(aside))
    assert [each.path for each in started.index(photos, on_progress=listener).skipped] == [shy]
    assert "vanished" in listed(started, photos)["shy.png"]
    aside.rename(shy)
    assert started.index(photos).added == 1 and started.errors() == []


def test_a_known_file_that_vanishes_before_it_is_read_keeps_its_vector(
    started: Library, photos: Path, paint: Paint
) -> None:
    listener = between_scan_and_reading(paint("good.png", "blue", size=(40, 40)).unlink)
    started.index(photos, on_progress=listener)
    assert "vanished" in listed(started, photos)["good.png"]
    assert started.index(photos).missing == 1 and started.errors() == []
    assert started._opened().counts().vectors == 3


def test_a_file_that_never_keeps_still_is_listed_and_tried_again(
    started: Library, photos: Path, paint: Paint
) -> None:
    path, is_over = paint("log.bmp", "blue", size=(3000, 1000)), threading.Event()

    def write_on() -> None:
        for n in count():
            os.utime(path, ns=(0, n))
            if is_over.is_set():
                return

    writer = threading.Thread(target=write_on)
    writer.start()
    try:
        started.index(photos)
    finally:
        is_over.set()
        writer.join()
    assert "changed while it was read" in listed(started, photos)["log.bmp"]
    assert started.index(photos).updated == 1
    assert started.errors() == [] and len(started.query("blue")) == 4


def test_a_file_that_could_not_be_opened_is_tried_again(
    started: Library, photos: Path, paint: Paint, tmp_path: Path
) -> None:
    path, aside = paint("mine.png"), tmp_path / "aside"

    def put_a_pipe_in_its_place() -> None:
        path.rename(aside)
        os.mkfifo(path)

    started.index(photos, on_progress=between_scan_and_reading(put_a_pipe_in_its_place))
    assert "not a regular file" in listed(started, photos)["mine.png"]
    aside.replace(path)
    assert started.index(photos).updated == 1 and started.errors() == []


def test_a_broken_file_is_read_again_by_another_decoder_only(
    started: Library, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (photos / "bad.png").write_bytes(b"no picture")

    def stages() -> set[str]:
        told: list[Progress] = []
        assert [each.path.name for each in started.index(photos, on_progress=told.append).skipped]
        return {progress.stage for progress in told} - {"scan"}

    assert stages() == {"encode"} and stages() == set()
    monkeypatch.setattr("clipsearch.indexer.pipeline.DECODER", "Pillow 99")
    assert stages() == {"encode"} and stages() == set()
