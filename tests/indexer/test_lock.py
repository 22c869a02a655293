"""One writer at a time, across processes: others are told, or wait, and the dead hold nothing."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from clipsearch.care.leftovers import remove_leftovers
from clipsearch.errors import LibraryLocked
from clipsearch.indexer.lock import write_lock
from clipsearch.library import Library
from tests.conftest import Paint
from tests.fakes import ColourEncoder

ROOT = Path(__file__).resolve().parents[2]
HOLD = """
import sys, time
from pathlib import Path
from clipsearch.indexer.lock import write_lock
with write_lock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.readline()
"""


def holder(folder: Path) -> subprocess.Popen[str]:
    """A process that holds the lock until it reads a line or dies."""
    words = [sys.executable, "-c", HOLD, str(folder)]
    pipe = subprocess.PIPE
    child = subprocess.Popen(words, cwd=ROOT, stdin=pipe, stdout=pipe, text=True)
    assert child.stdout is not None and child.stdout.readline() == "held\n"
    return child


def test_the_second_is_told_who_holds_it_and_since_when(tmp_path: Path) -> None:
    child = holder(tmp_path)
    with pytest.raises(LibraryLocked, match=rf"process {child.pid} since 2\d\d\d-.* --wait"):
        write_lock(tmp_path).__enter__()
    child.communicate("\n")
    with write_lock(tmp_path):
        pass


def test_the_lock_dies_with_its_process(tmp_path: Path) -> None:
    child = holder(tmp_path)
    child.send_signal(signal.SIGKILL)
    child.communicate()
    with write_lock(tmp_path):
        pass


@pytest.mark.parametrize("end", ["let go", "kill"])
def test_who_waits_says_so_once_and_gets_it(tmp_path: Path, end: str) -> None:
    child, told = holder(tmp_path), []
    told_once = threading.Event()

    def on_wait(who: str) -> None:
        told.append(who)
        told_once.set()

    def release() -> None:
        told_once.wait(30)
        child.kill() if end == "kill" else child.communicate("\n")

    thread = threading.Thread(target=release)
    thread.start()
    with write_lock(tmp_path, on_wait):
        assert len(told) == 1 and f"process {child.pid} since" in told[0]
    thread.join()
    child.communicate()


def test_every_writer_takes_the_same_lock(library: Library, paint: Paint, photos: Path) -> None:
    paint("red.png")
    library.index(photos)
    with write_lock(library.path):
        for write in (
            lambda: library.index(photos),
            lambda: library.reindex(ColourEncoder("other"), photos),
            library.repair,
        ):
            with pytest.raises(LibraryLocked):
                write()
        assert library.check().is_clean  # readers never wait
        library.backup(photos.parent / "copy")
        assert len(library.query("red")) == 1


def test_what_killed_writers_left_goes_at_the_next_start_and_not_before(
    library: Library, paint: Paint, photos: Path
) -> None:
    paint("red.png")
    library.index(photos)
    (library.path / "index").mkdir(exist_ok=True)
    names = [
        "index/.base-3.idx.77.tmp",
        "catalog.sqlite3.77.part",
        "catalog.sqlite3.77.part-journal",
        "catalog.sqlite3.before-0002.77.part",
    ]
    kept = [library.path / name for name in ("index/notes.txt", "catalog.sqlite3.corrupt-1")]
    for name in names:
        (library.path / name).write_bytes(b"half")
    for path in kept:
        path.write_bytes(b"mine")
    with write_lock(library.path), pytest.raises(LibraryLocked):
        library.index(photos)
    library.query("red"), library.check()
    assert all((library.path / name).exists() for name in names)
    library.index(photos)
    assert not any((library.path / name).exists() for name in names)
    assert all(path.exists() for path in kept)
    assert remove_leftovers(library.path, library.path / "index") == []
