"""Resident memory of `clipsearch index` and its decoding processes, from the 1,000th picture on."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, suppress
from pathlib import Path
from statistics import median
from typing import Any

from bench.libraries import weights
from bench.photographs import SMALL, write_photographs
from bench.workplace import folder_of, kept

COUNT = 6_000
DRAWN = 500  # the others are these with other bytes at their end, so that each is read and encoded
EARLY, LATE = range(1_000, 2_000), range(COUNT - 1_000, COUNT + 1)
EVERY_SECONDS = 0.25


def run() -> dict[str, Any]:
    """About 2 minutes."""
    return kept("memory", _measure)


def _measure() -> dict[str, Any]:
    samples = _watch(_pictures())
    early = [megabytes for n, megabytes in samples if n in EARLY]
    late = [megabytes for n, megabytes in samples if n in LATE]
    return {
        "what": f"resident memory while indexing {COUNT:,} JPEGs of {SMALL[0]}x{SMALL[1]}",
        "early_mb": round(median(early)),
        "late_mb": round(median(late)),
        "peak_mb": round(max(megabytes for _, megabytes in samples)),
        "share": round(median(late) / median(early), 3),
        "samples": len(samples),
    }


def _pictures() -> Path:
    drawn, folder = folder_of("photographs-drawn"), folder_of("photographs-many")
    write_photographs(drawn, DRAWN, SMALL)
    for number in range(COUNT):
        path = folder / f"{number:05d}.jpg"
        if not path.exists():
            content = (drawn / f"{number % DRAWN:05d}.jpg").read_bytes()
            path.write_bytes(content + number.to_bytes(4, "big"))
    return folder


def _watch(pictures: Path) -> list[tuple[int, float]]:
    """How many pictures were committed and the megabytes at that moment, of all processes."""
    library = folder_of("libraries") / "memory"
    shutil.rmtree(library, ignore_errors=True)
    command = [sys.executable, "-m", "clipsearch", "index", str(pictures), "--json"]
    command += ["--library", str(library), "--model", str(weights())]
    environment = os.environ | {"CLIPSEARCH_CACHE": str(folder_of("cache"))}
    samples: list[tuple[int, float]] = []
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment) as process:
        while process.poll() is None:
            samples.append((_committed(library / "catalog.sqlite3"), _resident_mb(process.pid)))
            time.sleep(EVERY_SECONDS)
    assert process.returncode == 0
    shutil.rmtree(library)
    return samples


def _committed(catalog: Path) -> int:
    with suppress(sqlite3.Error):
        address = f"{catalog.absolute().as_uri()}?mode=ro"
        with closing(sqlite3.connect(address, uri=True)) as connection:
            found = connection.execute("SELECT max(vector_id) FROM vectors").fetchone()
            return int(found[0] or 0)
    return 0


def _resident_mb(pid: int) -> float:
    """Of a process and those that it started; Linux only. What two of them share counts twice."""
    total = 0.0
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                total += int(line.split()[1]) / 1024
        for children in Path(f"/proc/{pid}/task").glob("*/children"):
            total += sum(_resident_mb(int(child)) for child in children.read_text().split())
    return total
