"""Runs over folders with hostile pictures: they end, and say what could not be read, and why."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from clipsearch.library import Library
from clipsearch.settings import Settings
from tests.conftest import Paint
from tests.indexer import hostile
from tests.indexer.hostile import HostileEncoder
from tests.indexer.test_workers import ROOT, children, is_running, wait_until

SETTINGS = Settings(decode_seconds=1, decode_memory=256, decode_workers=2, batch_size=4)


@pytest.fixture
def folder(paint: Paint, photos: Path) -> Path:
    for n in range(12):
        paint(f"{n:02}.png", (20 * n, 0, 0))
    for n, act in enumerate((hostile.CRASH, hostile.HANG, hostile.SWELL, hostile.LEAVE)):
        paint(f"{3 * n:02}-bad.png", size=(act, 9))
    (photos / "05-no.png").write_bytes(b"no picture")
    return photos


def test_every_hostile_file_is_listed_with_its_reason_and_no_neighbour_is_lost(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Library(tmp_path / "l", settings=SETTINGS, encoder=HostileEncoder()) as library:
        report = library.index(folder)
        assert report.added == report.n_encoded == 12
        reasons = {file.path.name: file.reason for file in library.errors()}
        assert {name: reason.partition(";")[0] for name, reason in reasons.items()} == {
            "00-bad.png": "00-bad.png made the decoder crash (SIGABRT)",
            "03-bad.png": "03-bad.png took longer than 2 seconds to decode",
            "05-no.png": "05-no.png is not a picture of a kind that can be read (JPEG, PNG, WEBP,"
            " GIF, BMP, TIFF, JPEG2000, PPM)",
            "06-bad.png": "06-bad.png needs more than 256 MB to decode",
            "09-bad.png": "09-bad.png made the decoder end with status 7",
        }
        monkeypatch.setattr("clipsearch.indexer.run.Workers", None)
        again = library.index(folder)  # nothing has changed, so nothing is decoded
        assert again.unchanged == 12 and {f.path.name for f in again.skipped} == set(reasons)
    assert not children()


def test_ctrl_c_while_pictures_are_decoded_ends_the_run_and_its_workers(
    tmp_path: Path, paint: Paint
) -> None:
    for n in range(8):
        paint(f"{n}.png", size=(hostile.HANG, n + 1))
    program = (
        "import sys, threading, time; from tests.indexer import test_hostile_run as t\n"
        "def tell():\n"
        "    while len(t.children()) < 2: time.sleep(0.01)\n"
        "    time.sleep(0.5); print(*t.children(), flush=True)\n"
        "threading.Thread(target=tell).start()\n"
        "library = t.Library(sys.argv[1], settings=t.Settings(decode_workers=2),"
        " encoder=t.HostileEncoder())\n"
        "try:\n    library.index(sys.argv[2])\n"
        "except KeyboardInterrupt:\n    library.close(); sys.exit(130)\n"
    )
    run = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", program, tmp_path / "l", tmp_path / "photos"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        start_new_session=True,
    )
    with run:
        assert run.stdout is not None and run.stderr is not None
        pids = [int(pid) for pid in run.stdout.readline().split()]
        assert len(pids) == 2 and all(map(is_running, pids))
        os.killpg(run.pid, signal.SIGINT)  # as a terminal does it
        assert run.stderr.read() == "" and run.wait(60) == 130
    wait_until(lambda: not any(map(is_running, pids)))
