"""How long it takes to find which pictures fulfil a filter: in a new process with the file out of
the system's cache, in a new process, and in the same one without what it remembers.

    python -m bench.filters 1000000
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from statistics import median

import numpy as np

from clipsearch.catalog import Catalog, ModelRecord, QuickCatalog
from clipsearch.filters import Filter, Near
from clipsearch.vectors import normalise

DIMENSION, ROUNDS, ROWS_AT_ONCE = 512, 5, 4096
CAMERAS = ("Canon EOS 5D", "NIKON D750", "Apple iPhone 12", "FUJIFILM X100V", "SONY ILCE-7M3")
FILTERS = {
    "a year": Filter(after="2010-01-01T00:00:00", before="2011-01-01T00:00:00"),
    "a camera": Filter(cameras=("x100",)),
    "a type": Filter(types=("png",)),
    "a shape, all pictures": Filter(shape="landscape"),
    "within 50 km": Filter(near=Near(48, 11, 50)),
    "within 20,000 km": Filter(near=Near(48, 11, 20_000)),
    "a folder's name": Filter(folders=("trip to place 77",)),
    "two names in a row": Filter(folders=("pictures/2010",)),
    "a place on the disk": Filter(folders=("/home/someone/Pictures/2010",)),
    "all of these": Filter(
        folders=("2010",),
        after="2010-03-01T00:00:00",
        cameras=("canon", "fuji"),
        types=("jpeg",),
        min_width=1000,
        near=Near(48, 11, 3000),
    ),
}


def fill(path: Path, n: int) -> None:
    """A catalog of n photographs, years of trips, with vectors between their rows."""
    rnd = random.Random(1)
    vectors = normalise(np.random.default_rng(1).normal(size=(64, DIMENSION)))
    with Catalog.open(path, create=True) as catalog:
        catalog.set_model(ModelRecord("m", "0" * 64, DIMENSION))
        with catalog.begin() as write:
            root = write.add_folder(b"/home/someone/Pictures").folder_id
        for first in range(0, n, ROWS_AT_ONCE):
            numbers = range(first, min(n, first + ROWS_AT_ONCE))
            with catalog.begin() as write:
                names = [photograph(number, n) for number in numbers]
                ids = write.add_unseen(root, names, [facts(rnd, k, n) for k in numbers])
                write.put_vectors(1, ids, vectors[[k % 64 for k in numbers]])


def photograph(number: int, n: int) -> bytes:
    trip = number // 120
    day = b"%d/%02d/trip to place %d" % (2005 + number * 18 // n, trip % 12 + 1, trip)
    return day + b"/IMG_%07d.jpg" % number


def facts(rnd: random.Random, number: int, n: int) -> dict[str, object]:
    year, month = 2005 + number * 18 // n, number // 120 % 12 + 1
    is_dated, has_place = rnd.random() < 0.8, rnd.random() < 0.4
    return {
        "width": 4000,
        "height": 3000,
        "format": "jpeg" if number % 20 else "png",
        "taken_at": f"{year}-{month:02}-{number % 28 + 1:02}T12:00:00" if is_dated else None,
        "camera": CAMERAS[number // 120 % len(CAMERAS)] if is_dated else None,
        "latitude": rnd.uniform(-60, 70) if has_place else None,
        "longitude": rnd.uniform(-180, 180) if has_place else None,
    }


def ask(path: Path, name: str) -> tuple[float, int]:
    """Seconds from opening the file on, and how many pictures there are."""
    started = time.perf_counter()
    quick = QuickCatalog.open(path)
    assert quick is not None
    with closing(quick), quick.snapshot() as state:
        n_found = state.matching_ids(FILTERS[name]).size
    return time.perf_counter() - started, n_found


def ask_anew(path: Path, name: str, cold_disk: bool) -> float:
    if cold_disk:
        with open(path, "rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    words = [sys.executable, "-m", "bench.filters", str(path), name]
    return float(subprocess.run(words, check=True, capture_output=True, text=True).stdout)


def main(n: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "catalog.sqlite3"
        fill(path, n)
        print(f"{n:,} pictures, {path.stat().st_size / 1e6:,.0f} MB; milliseconds")
        print("| filter | pictures | cold disk | new process | warm |\n|---|---|---|---|---|")
        for name in FILTERS:
            cold = median(ask_anew(path, name, True) for _ in range(ROUNDS)) * 1000
            new = median(ask_anew(path, name, False) for _ in range(ROUNDS)) * 1000
            ask(path, name)
            warm = median(ask(path, name)[0] for _ in range(ROUNDS)) * 1000
            print(f"| {name} | {ask(path, name)[1]:,} | {cold:,.0f} | {new:,.0f} | {warm:,.0f} |")


if __name__ == "__main__":
    if len(sys.argv) == 2:
        main(int(sys.argv[1]))
    else:
        print(ask(Path(sys.argv[1]), sys.argv[2])[0])
