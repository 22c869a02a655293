"""`clipsearch index` over generated 12-megapixel JPEGs, as a command in a process of its own.

The model is a ViT-B/32 of random weights. Beside the rate of the whole stand those of its two
costly parts, each alone in this process: the whole can be no faster than the slower of them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.encode import REPETITIONS, random_pixels
from bench.peer import random_vit, write_weights
from bench.photographs import write_photographs
from bench.timing import interleaved, rates
from clipsearch.clip.download import ModelCache
from clipsearch.clip.encoder import Encoder
from clipsearch.indexer.pipeline import Pace
from clipsearch.indexer.workers import Workers
from clipsearch.settings import Settings

PHOTOGRAPHS = 60


def run() -> dict[str, Any]:
    """Images per second by the command's own report and by the clock around the process."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        photographs = folder / "photographs"
        total = write_photographs(photographs, PHOTOGRAPHS)
        write_photographs(folder / "one", 1)
        weights = write_weights(random_vit(), folder)
        # The first run converts the weights into the cache, which the timed one finds there.
        index(folder, weights, folder / "one", "library of one")
        began = time.perf_counter()
        report = index(folder, weights, photographs, "library")
        seconds = time.perf_counter() - began
        parts = parts_alone(Encoder.load(weights, cache=ModelCache(folder / "cache")), photographs)
    return {
        "what": f"clipsearch index, {PHOTOGRAPHS} generated JPEGs of 4000x3000",
        "megabytes_per_file": round(total / PHOTOGRAPHS / 1e6, 2),
        "images_per_second": round(report["images_per_second"], 1),
        **parts,
        "seconds_with_start_of_process_and_model": round(seconds, 1),
        "added": report["added"],
    }


def index(folder: Path, weights: Path, pictures: Path, library: str) -> dict[str, Any]:
    """Run the command into a new library and return its report.

    Raises CalledProcessError if it fails or skips a picture.
    """
    command = [sys.executable, "-m", "clipsearch", "index", str(pictures), "--json"]
    command += ["--library", str(folder / library), "--model", str(weights)]
    environment = os.environ | {"CLIPSEARCH_CACHE": str(folder / "cache")}
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, env=environment)
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def parts_alone(encoder: Encoder, photographs: Path) -> dict[str, float]:
    """Images per second of decoding alone and of encoding alone, with `index`'s defaults."""
    pace = Pace.of(Settings())
    paths = sorted(photographs.iterdir())
    pixels = random_pixels(pace.batch_size)

    def decode_all() -> None:
        for future in [workers.read(path) for path in paths]:
            future.result()

    def encode() -> None:
        encoder.encode_pixels(pixels)

    with Workers(pace.decode_workers, pace.limits) as workers:
        workers.begin(pace.setup(encoder))
        decoding = interleaved({"decode": decode_all}, 1)
    encoding = interleaved({"encode": encode}, REPETITIONS)
    return {
        "decode_only_images_per_second": round(rates(decoding, len(paths))["decode"], 1),
        "encode_only_images_per_second": round(rates(encoding, len(pixels))["encode"], 1),
    }
