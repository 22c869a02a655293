"""A disk that is full costs the batch under way and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from clipsearch.errors import CatalogError
from clipsearch.library import Library
from clipsearch.settings import Settings
from tests.conftest import Paint
from tests.fakes import COLOURS, ColourEncoder

ROOT = Path(__file__).resolve().parents[2]
N_IMAGES = 40


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if os.getuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("only root may mount a small disk")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def fill(disk: Path, keep: int = 0) -> Path:
    """Take all space but `keep` bytes."""
    path = disk / "filler"
    with open(path, "ab", buffering=0) as file:
        try:
            while True:
                file.write(b"\0" * 4096)
        except OSError:
            pass
        file.truncate(max(0, file.tell() - keep))
    return path


@pytest.fixture
def shades(paint: Paint, photos: Path) -> Path:
    for n in range(N_IMAGES):
        paint(f"{n:02}.png", (6 * n, 0, 0))
    return photos


def open_library(path: Path) -> Library:
    return Library(path, settings=Settings(batch_size=4), encoder=ColourEncoder())


def test_a_full_disk_is_named_and_a_run_after_space_was_freed_does_the_rest(
    disk: Path, shades: Path, paint: Paint
) -> None:
    paint("before/red.png")
    with open_library(disk / "l") as library:
        library.index(shades / "before")
        filler = fill(disk, keep=16384)
        with pytest.raises(CatalogError, match=r"disk is full.*bytes free") as raised:
            library.index(shades)
        assert str(disk / "l") in str(raised.value)
        n_done = library.status().n_images
        assert library.status().n_vectors == n_done < N_IMAGES
        assert len(library.query("red", k=100)) == n_done
        filler.unlink()
        assert library.check().is_clean
        library.index(shades)
        assert library.status().n_images == N_IMAGES + 1
        assert library.check().is_clean


def test_a_new_process_can_query_on_a_disk_without_a_single_free_byte(
    disk: Path, shades: Path
) -> None:
    with open_library(disk / "l") as library:
        library.index(shades)
        before = library.query("red", k=5)
    fill(disk)
    with open_library(disk / "l") as library:
        assert library.query("red", k=5) == before
        with pytest.raises(CatalogError, match="0 bytes free"):
            library.index(shades / "..")
        assert library.query("red", k=5) == before


def test_a_merge_without_space_costs_a_note_and_not_the_report(
    disk: Path, shades: Path, paint: Paint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clipsearch.indexer.merge.can_be_due", lambda *_: True)
    monkeypatch.setattr("clipsearch.indexer.merge.is_merge_due", lambda *_: True)
    with open_library(disk / "l") as library:
        library.index(shades)
        (old,) = (disk / "l" / "index").glob("base-*.idx")
        for n, colour in enumerate(COLOURS):
            paint(f"more{n}.png", colour)
        monkeypatch.setattr(
            "clipsearch.index.store._opening", lambda *_: b"\0" * (2 << 20), raising=True
        )
        report = library.index(shades)
        assert report.added == len(COLOURS)
        (note,) = report.notes
        assert "no space left on device" in note and "bytes free" in note
        assert list((disk / "l" / "index").iterdir()) == [old]
        assert len(library.query("red", k=100)) == N_IMAGES + len(COLOURS)


LIMITED = """
import resource, signal, sys
from pathlib import Path
from tests.care.test_full_disk import open_library
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (120_000, resource.RLIM_INFINITY))
from clipsearch.errors import CatalogError
with open_library(Path(sys.argv[1])) as library:
    try:
        library.index(sys.argv[2])
    except CatalogError as error:
        print(error)
"""


def test_a_limit_on_the_size_of_files_is_like_a_full_disk(tmp_path: Path, shades: Path) -> None:
    words = [sys.executable, "-c", LIMITED, str(tmp_path / "l"), str(shades)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert "check the disk and its free space" in done.stdout, done.stderr
    with open_library(tmp_path / "l") as library:
        assert library.check().is_clean
        library.index(shades)
        assert library.status().n_images == library.status().n_vectors == N_IMAGES
