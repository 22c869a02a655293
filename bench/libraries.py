"""Libraries of any size, made by `clipsearch import` of made-up vectors; the model is a ViT-B/32 of
random weights, so that asking costs what it costs."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np

from bench.peer import random_vit, write_weights
from bench.vectors import Clustered
from bench.workplace import clipsearch, folder_of, kept

VECTORS_PER_FILE = 100_000


def weights() -> Path:
    """The file of the model's weights."""
    folder = folder_of("model")
    file = folder / "vit-b-32.safetensors"
    if not file.exists():
        write_weights(random_vit(), folder)
    return file


def library(count: int) -> Path:
    """A library with that many vectors."""
    name = f"library-{count}"
    path = folder_of("libraries") / name
    kept(name, lambda: _import(path, count))
    return path


def path_of(number: int) -> str:
    return f"/elsewhere/{number // 1000:04d}/{number:07d}.jpg"


def embeddings(count: int) -> Path:
    """A folder of .npy files (float16) with lists of paths."""
    folder = folder_of(f"embeddings-{count}")
    clustered = Clustered(count)
    blocks = clustered.blocks()
    for part, start in enumerate(range(0, count, VECTORS_PER_FILE)):
        end = min(count, start + VECTORS_PER_FILE)
        rows = np.empty((end - start, clustered.dimension), dtype=np.float16)
        filled = 0
        while filled < len(rows):
            block = next(blocks)
            rows[filled : filled + len(block)] = block
            filled += len(block)
        np.save(folder / f"part_{part}.npy", rows)
        names = "\n".join(map(path_of, range(start, end)))
        (folder / f"part_{part}.txt").write_text(names + "\n")
    return folder


def _import(path: Path, count: int) -> dict[str, Any]:
    print(f"making a library of {count:,} vectors", file=sys.stderr, flush=True)
    shutil.rmtree(path, ignore_errors=True)  # one that was interrupted
    folder = embeddings(count)
    ran = clipsearch("import", folder, "--library", path, "--model", weights(), "--json")
    shutil.rmtree(folder)
    clipsearch("query", "a dog", "--all", "--library", path)  # reads the index file whole
    return {
        "what": f"clipsearch import of {count:,} vectors, with the index",
        "seconds": round(ran.seconds, 1),
        "peak_mb": round(ran.peak_mb),
    }
