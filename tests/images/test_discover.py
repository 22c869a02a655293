"""Which files of a folder count as pictures, in what order, and what becomes of strange ones."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import threading
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipsearch.errors import FolderError
from clipsearch.images import EXTENSIONS, ImageFile, Skipped, discover, signature


def touch(root: Path, *names: str | bytes) -> None:
    for name in names:
        path = os.path.join(os.fsencode(root), os.fsencode(name))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(b"x")


def walk(root: Path) -> tuple[list[bytes], list[Skipped]]:
    problems: list[Skipped] = []
    return [file.relative_path for file in discover(root, problems.append)], problems


def test_pictures_are_found_in_every_folder_and_nothing_else_is(tmp_path: Path) -> None:
    touch(tmp_path, "b.png", "notes.txt", "trip/a.JPG", "trip/day 2/c.webp", "jpg", "x.svg")
    assert walk(tmp_path) == ([b"b.png", b"trip/a.JPG", b"trip/day 2/c.webp"], [])


@pytest.mark.parametrize("extension", sorted(e.decode() for e in EXTENSIONS))
def test_every_extension_is_found_in_either_case(tmp_path: Path, extension: str) -> None:
    touch(tmp_path, f"a{extension}", f"b{extension.upper()}")
    assert len(walk(tmp_path)[0]) == 2


def test_an_image_file_says_where_how_large_and_how_old(tmp_path: Path) -> None:
    touch(tmp_path, "sub/a.jpg")
    path = tmp_path / "sub" / "a.jpg"
    os.utime(path, ns=(5, 1_234_567_890_123_456_789))
    found = list(discover(tmp_path, pytest.fail))
    assert found == [ImageFile(path, b"sub/a.jpg", signature(path.stat()))]
    assert (found[0].signature.size, found[0].signature.mtime_ns) == (1, path.stat().st_mtime_ns)


def test_the_order_is_that_of_whole_relative_paths(tmp_path: Path) -> None:
    touch(tmp_path, "a/x.jpg", "a.jpg", "a-b/x.jpg", "a0.jpg", "B.jpg", "a/b/c.jpg", "a/b.jpg")
    found, _ = walk(tmp_path)
    assert found == sorted(found)
    assert len(found) == 7


@given(st.lists(st.text("ab.-0/", min_size=1, max_size=8), max_size=12))
def test_any_tree_comes_out_sorted(
    tmp_path_factory: pytest.TempPathFactory, names: list[str]
) -> None:
    root = tmp_path_factory.mktemp("tree")
    for name in names:
        parts = [part for part in name.split("/") if part.strip(".")]
        touch(root, "/".join([*("d" + part for part in parts), "f.jpg"]))
    found, problems = walk(root)
    assert found == sorted(found) and not problems
    assert len(found) == sum(len(files) for _, _, files in os.walk(root))


def test_hidden_things_and_libraries_are_passed_over(tmp_path: Path) -> None:
    touch(tmp_path, ".a.jpg", ".git/b.jpg", ".clipsearch/c.jpg", "mine.clipsearch/d.jpg", "e.jpg")
    assert walk(tmp_path) == ([b"e.jpg"], [])


def test_a_hidden_root_is_walked_because_it_was_named(tmp_path: Path) -> None:
    touch(tmp_path, ".photos/a.jpg")
    assert walk(tmp_path / ".photos")[0] == [b"a.jpg"]


def test_a_folder_with_a_pictures_name_is_a_folder(tmp_path: Path) -> None:
    touch(tmp_path, "album.jpg/a.jpg")
    assert walk(tmp_path) == ([b"album.jpg/a.jpg"], [])


@pytest.mark.parametrize(
    "name", [b"caf\xe9.jpg", b"two\nlines.jpg", b"-rf.jpg", b"\x1b[31mred.jpg", "ü中.jpg".encode()]
)
def test_odd_names_keep_their_bytes(tmp_path: Path, name: bytes) -> None:
    touch(tmp_path, name, b"sub\xff/" + name)
    found = list(discover(tmp_path, pytest.fail))
    assert {file.relative_path for file in found} == {name, b"sub\xff/" + name}
    assert all(os.fsencode(file.path).endswith(name) for file in found)
    assert all(file.path.read_bytes() == b"x" for file in found)


def test_links_to_files_are_followed_and_links_to_folders_are_not(tmp_path: Path) -> None:
    touch(tmp_path, "root/real/a.jpg", "elsewhere/b.jpg")
    root = tmp_path / "root"
    (root / "file.jpg").symlink_to(tmp_path / "elsewhere" / "b.jpg")
    (root / "folder").symlink_to(tmp_path / "elsewhere")
    (root / "real" / "loop").symlink_to(root)
    (root / "folder.jpg").symlink_to(tmp_path / "elsewhere")
    assert walk(root) == ([b"file.jpg", b"real/a.jpg"], [])


def test_links_that_lead_nowhere_are_reported_if_they_look_like_pictures(tmp_path: Path) -> None:
    (tmp_path / "gone.jpg").symlink_to(tmp_path / "nothing")
    (tmp_path / "self.jpg").symlink_to(tmp_path / "self.jpg")
    (tmp_path / "gone.txt").symlink_to(tmp_path / "nothing")
    found, problems = walk(tmp_path)
    assert found == []
    assert [p.path.name for p in problems] == ["gone.jpg", "self.jpg"]
    assert "leads nowhere" in problems[0].reason


def test_pipes_and_sockets_are_reported_and_never_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")  # opening it would block
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(tmp_path / "socket.png"))
        found, problems = walk(tmp_path)
    assert found == []
    assert [p.path.name for p in problems] == ["pipe.jpg", "socket.png"]
    assert all("not a regular file" in p.reason for p in problems)


def test_folders_nested_deeper_than_python_recurses_are_walked(tmp_path: Path) -> None:
    folders = [tmp_path / ("d/" * depth) for depth in range(1, 1101)]
    for folder in folders:
        folder.mkdir()
    touch(folders[-1], "deep.jpg")
    found, problems = walk(tmp_path)
    (folders[-1] / "deep.jpg").unlink()
    for folder in reversed(folders):  # pytest's own cleaning up would recurse
        folder.rmdir()
    assert (found, problems) == ([b"d/" * 1100 + b"deep.jpg"], [])


def test_a_path_too_long_for_the_system_is_reported(tmp_path: Path) -> None:
    here = os.getcwd()
    try:
        os.chdir(tmp_path)
        for _ in range(20):
            os.mkdir("d" * 250)
            os.chdir("d" * 250)
    finally:
        os.chdir(here)
    _, problems = walk(tmp_path)
    assert len(problems) == 1 and "cannot be read" in problems[0].reason


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_read_is_reported_and_the_rest_goes_on(tmp_path: Path) -> None:
    touch(tmp_path, "a/x.jpg", "b/x.jpg")
    (tmp_path / "a").chmod(0)
    found, problems = walk(tmp_path)
    (tmp_path / "a").chmod(0o700)
    assert found == [b"b/x.jpg"]
    assert [p.path.name for p in problems] == ["a"]


def test_a_folder_that_goes_away_during_the_walk_is_reported(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "b/x.jpg", "c.jpg")
    problems: list[Skipped] = []
    files = discover(tmp_path, problems.append)
    assert next(files).relative_path == b"a.jpg"
    (tmp_path / "b" / "x.jpg").unlink()
    (tmp_path / "b").rmdir()
    (tmp_path / "c.jpg").unlink()
    assert list(files) == []
    assert [p.path.name for p in problems] == ["b", "c.jpg"]


def test_a_root_that_is_not_there_or_no_folder_is_an_error_at_once(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg")
    with pytest.raises(FolderError, match=r"no folder .*/missing"):
        discover(tmp_path / "missing", pytest.fail)
    with pytest.raises(FolderError, match=r"a\.jpg is not a folder"):
        discover(tmp_path / "a.jpg", pytest.fail)
    with pytest.raises(FolderError, match=r"a\\x00b is not a path"):
        discover(Path("a\0b"), pytest.fail)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_root_that_may_not_be_read_is_an_error(tmp_path: Path) -> None:
    root = tmp_path / "closed"
    root.mkdir(mode=0)
    with pytest.raises(FolderError, match="permission"):
        discover(root, pytest.fail)


def test_an_error_about_an_odd_root_can_be_printed(tmp_path: Path) -> None:
    with pytest.raises(FolderError) as caught:
        discover(Path(os.fsdecode(b"/no\xff\nwhere")), pytest.fail)
    assert r"/no\xff\nwhere" in str(caught.value)
    str(caught.value).encode("utf-8")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount")
def test_a_folder_mounted_inside_itself_is_read_once(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "in/b.jpg", "in/again/.keep")
    program = (
        "from pathlib import Path; from clipsearch.images import discover; p = []\n"
        f"print([f.relative_path for f in discover(Path({str(tmp_path)!r}), p.append)])\n"
        "print([(s.path.name, s.may_hide) for s in p])"
    )
    mounted = f'mount --bind "{tmp_path}" "{tmp_path}/in/again" && exec "$@"'
    command = ["unshare", "-m", "sh", "-c", mounted, "sh", sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if "unshare" in done.stderr or "mount:" in done.stderr:
        pytest.skip("no mounting here")
    assert done.stdout.splitlines() == ["[b'a.jpg', b'in/b.jpg']", "[('again', False)]"]


def test_a_folder_that_turns_up_below_itself_is_entered_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a broken file system or a mount makes it, here by telling wrong numbers."""
    touch(tmp_path, "x/y/a.jpg", "z/b.jpg")
    stat = os.stat

    def confused(path: bytes) -> os.stat_result:
        return stat(tmp_path / "x") if os.fsencode(path).rstrip(b"/").endswith(b"y") else stat(path)

    monkeypatch.setattr("os.stat", confused)
    found, problems = walk(tmp_path)
    assert found == [b"z/b.jpg"]
    assert [(p.path.name, p.may_hide) for p in problems] == [("y", False)]
    assert "lies inside itself" in problems[0].reason


def test_hard_links_are_files_of_their_own(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "sub/x.txt")
    os.link(tmp_path / "a.jpg", tmp_path / "sub" / "b.jpg")
    assert walk(tmp_path)[0] == [b"a.jpg", b"sub/b.jpg"]


def test_the_longest_path_that_the_system_takes_is_found(tmp_path: Path) -> None:
    longest = os.pathconf(tmp_path, "PC_PATH_MAX") - 1
    room = longest - len(os.fsencode(tmp_path)) - 1
    folders = b"/".join([b"d" * 200] * (room // 201 - 1))
    name = b"n" * (room - len(folders) - 1 - 4)
    name = b"e" * (len(name) // 2) + b"/" + name[len(name) // 2 + 1 :] + b".jpg"
    relative = folders + b"/" + name
    touch(tmp_path, relative)
    assert len(os.path.join(os.fsencode(tmp_path), relative)) == longest
    assert walk(tmp_path) == ([relative], [])


def test_many_files_in_one_folder_need_little_memory(tmp_path: Path) -> None:
    for n in range(20_000):
        os.mknod(tmp_path / f"{n:06}.jpg")
    tracemalloc.start()
    n_found = sum(1 for _ in discover(tmp_path, pytest.fail))
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    shutil.rmtree(tmp_path)
    assert n_found == 20_000
    assert peak_bytes < 3 * 2**20  # their names alone are 1 MB


def test_files_that_vanish_while_the_walk_goes_on_never_stop_it(tmp_path: Path) -> None:
    names = [f"{n % 10}/{n}.jpg" for n in range(400)]
    touch(tmp_path, *names)

    def remove() -> None:
        for name in reversed(names):
            (tmp_path / name).unlink()

    problems: list[Skipped] = []
    files = discover(tmp_path, problems.append)
    found = [next(files)]
    remover = threading.Thread(target=remove)
    remover.start()
    found += files
    remover.join()
    assert all("went away" in problem.reason for problem in problems)
    assert len({file.path for file in found} | {p.path for p in problems}) <= 400
