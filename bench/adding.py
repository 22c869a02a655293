"""`clipsearch index` of 100 new pictures, into a library of 1,000 and into one of a million."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from PIL import Image

from bench.libraries import library, weights
from bench.workplace import clipsearch, folder_of, kept

COUNTS = (1_000, 1_000_000)
REPETITIONS = 3
PICTURES = 100


def run(counts: tuple[int, ...] = COUNTS) -> dict[str, Any]:
    """About 2 minutes, without the making of the libraries."""
    return kept(f"add-{'-'.join(map(str, counts))}", lambda: _measure(counts))


def _measure(counts: tuple[int, ...]) -> dict[str, Any]:
    # A copy of each, so that the library is the same for the other measurements.
    copies = {count: _copied(count) for count in counts}
    seconds: dict[int, list[float]] = {count: [] for count in counts}
    for repetition in range(REPETITIONS + 1):
        for count, copy in copies.items():
            folder = folder_of(f"pictures/{count}-{repetition}")
            _draw(folder, seed=hash((count, repetition)) % 2**32)
            ran = clipsearch("index", folder, "--library", copy, "--model", weights(), "--json")
            assert json.loads(ran.output)["added"] == PICTURES
            if repetition:  # the first warms up
                seconds[count].append(ran.seconds)
    for copy in copies.values():
        shutil.rmtree(copy)
    medians = {count: median(runs) for count, runs in seconds.items()}
    result: dict[str, Any] = {"what": f"add {PICTURES} pictures of 64x64 by clipsearch index"}
    result |= {f"seconds_at_{count}": round(took, 2) for count, took in medians.items()}
    result["share"] = round(medians[counts[-1]] / medians[counts[0]], 2)
    return result


def _copied(count: int) -> Path:
    copy = folder_of("libraries") / f"copy-{count}"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(library(count), copy)
    return copy


def _draw(folder: Path, seed: int) -> None:
    draw = np.random.default_rng(seed)
    for number in range(PICTURES):
        pixels = draw.integers(0, 256, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
