"""`clipsearch index` beside rclip over the same files, each as a command in a process of its own.

The model is a ViT-B/32 of 256 pixels and random weights, the same for both. A run over a single
picture tells what starting takes; the rates are those of all others. Beside the rates stands
that of clipsearch's encoding alone, which no indexing can exceed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from bench.encode import REPETITIONS, random_pixels
from bench.peer import random_vit, write_weights
from bench.photographs import LARGE, SMALL, write_photographs
from bench.rclip import MODEL_PX, Rclip, install
from bench.timing import interleaved, rates
from bench.workplace import FOLDER, folder_of
from clipsearch.clip.cache import ModelCache
from clipsearch.clip.encoder import Encoder
from clipsearch.settings import Settings

ROUNDS = 3


@dataclass(frozen=True)
class Collection:
    """Some generated pictures of one size."""

    name: str
    size: tuple[int, int]
    count: int

    @property
    def folder(self) -> Path:
        return FOLDER / f"photographs-{self.name}"


COLLECTIONS = (Collection("large", LARGE, 200), Collection("small", SMALL, 2000))


def run() -> dict[str, Any]:
    """Images per second of both over both collections, from the command to its end."""
    model = random_vit(MODEL_PX)
    peer = install(model, folder_of("rclip-indexing"))
    weights = write_weights(model, FOLDER)
    del model
    one = FOLDER / "photographs-one"
    write_photographs(one, 1)
    ours = Ours(weights)
    return {
        "what": "index, ViT-B/32 at 256 px, random weights",
        "encode_only_images_per_second": encode_only(weights),
        **{each.name: side_by_side(each, one, ours, peer) for each in COLLECTIONS},
    }


def encode_only(weights: Path) -> float:
    """clipsearch's images per second with pixels in memory: what no indexing can exceed."""
    encoder = Encoder.load(weights, cache=ModelCache(FOLDER / "cache"))
    pixels = random_pixels(Settings().batch_size, MODEL_PX)
    seconds = interleaved({"encode": lambda: encoder.encode_pixels(pixels)}, REPETITIONS)
    return round(rates(seconds, len(pixels))["encode"], 1)


@dataclass
class Ours:
    """clipsearch with these weights, into a new library each time."""

    weights: Path

    def seconds(self, pictures: Path) -> float:
        """Raises CalledProcessError if the command fails or skips a picture."""
        library = FOLDER / "library"
        shutil.rmtree(library, ignore_errors=True)
        command = [sys.executable, "-m", "clipsearch", "index", str(pictures), "--json"]
        command += ["--library", str(library), "--model", str(self.weights)]
        environment = os.environ | {"CLIPSEARCH_CACHE": str(FOLDER / "cache")}
        began = time.perf_counter()
        subprocess.run(command, check=True, env=environment, capture_output=True)
        return time.perf_counter() - began


def side_by_side(collection: Collection, one: Path, ours: Ours, peer: Rclip) -> dict[str, Any]:
    """Medians of interleaved rounds over one collection."""
    total = write_photographs(collection.folder, collection.count, collection.size)

    def theirs(pictures: Path) -> float:
        peer.forget()
        return peer.seconds(pictures, index=True)

    timed: dict[str, Callable[[Path], float]] = {"clipsearch": ours.seconds, "rclip": theirs}
    seconds: dict[str, list[float]] = {name: [] for name in timed}
    start: dict[str, list[float]] = {name: [] for name in timed}
    for contender in timed.values():
        contender(one)  # converts weights, fills caches
    for _ in range(ROUNDS):
        for name, contender in timed.items():
            start[name].append(contender(one))
            seconds[name].append(contender(collection.folder))
    count = collection.count - 1  # of the one picture's time the start is the most
    per_second = {name: count / (median(seconds[name]) - median(start[name])) for name in timed}
    return {
        "files": collection.count,
        "pixels": list(collection.size),
        "kilobytes_per_file": round(total / collection.count / 1e3),
        **{f"{name}_images_per_second": round(rate, 1) for name, rate in per_second.items()},
        "ratio": round(per_second["clipsearch"] / per_second["rclip"], 2),
        **{f"{name}_seconds_in_all": round(median(runs), 1) for name, runs in seconds.items()},
        **{f"{name}_seconds_to_start": round(median(runs), 1) for name, runs in start.items()},
        "ratio_of_seconds_in_all": round(
            median(seconds["rclip"]) / median(seconds["clipsearch"]), 2
        ),
        "rounds": ROUNDS,
    }
