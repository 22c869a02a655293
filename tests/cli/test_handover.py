"""Copies and links in a folder: nothing is overwritten, what has gone is told."""

from __future__ import annotations

import errno
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from clipsearch.cli import handover
from clipsearch.cli.handover import (
    Handover,
    check_folder,
    copy_all,
    link_all,
    open_with_viewer,
    viewer_command,
)
from clipsearch.errors import ClipsearchError

Take = Callable[[list[Path], Path], Handover]
each_way = pytest.mark.parametrize("take", [copy_all, link_all])
HERE = {"DISPLAY": ":0"}


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    """Two files of one name in two folders, and one with another name."""
    paths = [tmp_path / "a" / "sea.jpg", tmp_path / "b" / "sea.jpg", tmp_path / "b" / "sky.jpg"]
    for number, path in enumerate(paths):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"picture %d" % number)
        os.utime(path, ns=(10**18, 10**18 + number))
    return paths


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@each_way
def test_files_of_one_name_stand_side_by_side(
    take: Take, pictures: list[Path], tmp_path: Path
) -> None:
    done = take(pictures, tmp_path / "new" / "folder")
    assert done == Handover(3, 0, ())
    assert contents(tmp_path / "new" / "folder") == {
        "sea.jpg": b"picture 0",
        "sea (2).jpg": b"picture 1",
        "sky.jpg": b"picture 2",
    }


@each_way
def test_what_was_there_stays_as_it_is(take: Take, pictures: list[Path], tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    (folder / "sky.jpg").mkdir(parents=True)
    (folder / "sea.jpg").write_bytes(b"mine")
    (folder / "sea (2).jpg").symlink_to("nowhere")
    assert take(pictures, folder).n_new == 3
    assert (folder / "sea.jpg").read_bytes() == b"mine"
    assert os.readlink(folder / "sea (2).jpg") == "nowhere"
    assert (folder / "sea (4).jpg").read_bytes() == b"picture 1"
    assert (folder / "sky (2).jpg").read_bytes() == b"picture 2"


@each_way
def test_doing_it_again_adds_nothing(take: Take, pictures: list[Path], tmp_path: Path) -> None:
    take(pictures, tmp_path / "new")
    before = contents(tmp_path / "new")
    assert take(pictures, tmp_path / "new") == Handover(0, 3, ())
    assert contents(tmp_path / "new") == before


def test_copies_are_files_of_their_own_and_keep_their_times(
    pictures: list[Path], tmp_path: Path
) -> None:
    copy_all(pictures, tmp_path / "new")
    pictures[0].unlink()
    copy = tmp_path / "new" / "sea.jpg"
    assert not copy.is_symlink()
    assert copy.stat().st_mtime_ns == 10**18


def test_links_are_absolute(
    pictures: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    link_all([Path("a/sea.jpg")], Path("links"))
    assert os.readlink("links/sea.jpg") == str(pictures[0])


@each_way
def test_vanished_files_are_told_and_passed_over(
    take: Take, pictures: list[Path], tmp_path: Path
) -> None:
    pictures[0].unlink()
    os.mkfifo(tmp_path / "pipe.jpg")
    done = take([*pictures, tmp_path / "pipe.jpg"], tmp_path / "new")
    assert done.n_new == 2
    assert "sea.jpg cannot be opened" in done.lost[0]
    assert "pipe.jpg is not a regular file" in done.lost[1]


@each_way
@pytest.mark.parametrize(
    "name", [b"caf\xe9.jpg", b"\n\x1b[31m.jpg", b"-rf.jpg", b"L" * 251 + b".jpg"]
)
def test_odd_names_keep_their_bytes(take: Take, name: bytes, tmp_path: Path) -> None:
    paths = [tmp_path / folder / os.fsdecode(name) for folder in "ab"]
    for path in paths:
        path.parent.mkdir()
        path.write_text(str(path.parent))
    assert take(paths, tmp_path / "new").n_new == 2
    names = sorted(os.listdir(os.fsencode(tmp_path / "new")), key=len)
    assert name in names and all(len(each) <= 255 for each in names)


@each_way
def test_a_file_in_the_place_of_the_folder_is_one_sentence(
    take: Take, pictures: list[Path], tmp_path: Path
) -> None:
    for folder in (pictures[0], pictures[0] / "below"):
        with pytest.raises(ClipsearchError, match="is a file"):
            check_folder(folder)
        with pytest.raises(ClipsearchError, match="is a file"):
            take(pictures, folder)


def test_a_full_disk_is_one_sentence_and_leaves_no_half_picture(
    pictures: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = shutil.copyfileobj

    def fills_up(source: object, target: object) -> None:
        whole(source, target)  # type: ignore[misc]
        if len(os.listdir(tmp_path / "new")) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "copyfileobj", fills_up)
    with pytest.raises(ClipsearchError, match=r"after 1 of 3 pictures \(no space left on device"):
        copy_all(pictures, tmp_path / "new")
    assert os.listdir(tmp_path / "new") == ["sea.jpg"]


def test_the_viewer_gets_a_list_of_arguments() -> None:
    odd = Path("/p/$(reboot); a b.jpg")
    assert viewer_command(odd, HERE, "linux") == ["xdg-open", str(odd)]
    assert viewer_command(odd, {}, "darwin") == ["open", "--", str(odd)]
    assert viewer_command(odd, {}, "win32") is None


def test_without_a_display_there_is_one_sentence() -> None:
    with pytest.raises(ClipsearchError, match="--open needs a display"):
        viewer_command(Path("/p/a.jpg"), {}, "linux")


def viewer(folder: Path, script: str) -> None:
    program = folder / "xdg-open"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


@pytest.mark.skipif(sys.platform != "linux", reason="xdg-open is what Linux has")
def test_a_viewer_is_started_and_its_failure_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    viewer(tmp_path, f'printf %s "$1" > {tmp_path}/opened')
    open_with_viewer(Path("/p/a b;c.jpg"), HERE)
    assert (tmp_path / "opened").read_text() == "/p/a b;c.jpg"
    viewer(tmp_path, "exit 3")
    with pytest.raises(ClipsearchError, match=r"could not open /p/a.jpg"):
        open_with_viewer(Path("/p/a.jpg"), HERE)
    monkeypatch.setenv("PATH", str(tmp_path / "none"))
    with pytest.raises(ClipsearchError, match="xdg-open, which is not installed"):
        open_with_viewer(Path("/p/a.jpg"), HERE)


@pytest.mark.skipif(sys.platform != "linux", reason="xdg-open is what Linux has")
def test_a_viewer_that_stays_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(handover, "OPENING_SECONDS", 0.1)
    viewer(tmp_path, "exec sleep 2")
    open_with_viewer(Path("/p/a.jpg"), HERE)
