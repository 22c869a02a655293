"""What decoding JPEGs at a reduced scale does to their vectors, against decoding them in full.

Speed is won only if the vectors stay the same: the mean cosine must be at least 0.998, the lowest
0.99. Over the demo's pictures and generated photographs, with `mini` and a ViT of random weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.indexing import COLLECTIONS
from bench.peer import random_vit, write_weights
from bench.photographs import write_photographs
from bench.workplace import FOLDER
from clipsearch.clip.cache import ModelCache
from clipsearch.clip.encoder import Encoder
from clipsearch.images import decode

DEMO = Path("data") / "demo"
PHOTOGRAPHS = 40  # of each size
PICTURES_AT_ONCE = 32


def run() -> dict[str, Any]:
    """Mean and lowest cosine, by model and collection."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    collections = {"demo": sorted(DEMO.glob("*.jpg"))}
    for each in COLLECTIONS:
        write_photographs(each.folder, PHOTOGRAPHS, each.size)
        collections[each.name] = sorted(each.folder.iterdir())[:PHOTOGRAPHS]
    models: dict[str, str | Path] = {
        "mini": "mini",
        "random_vit": write_weights(random_vit(), FOLDER),
    }
    return {
        "what": "cosine of vectors from scaled and from full decoding",
        **{
            name: {where: agreement(encoder, paths) for where, paths in collections.items()}
            for name, encoder in (
                (name, Encoder.load(model, cache=ModelCache(FOLDER / "cache"), precision="float32"))
                for name, model in models.items()
            )
        },
    }


def agreement(encoder: Encoder, paths: Sequence[Path]) -> dict[str, float]:
    cosines: list[float] = []
    for start in range(0, len(paths), PICTURES_AT_ONCE):
        some = paths[start : start + PICTURES_AT_ONCE]
        scaled = encoder.encode_images([decode(path, encoder.input_px).image for path in some])
        full = encoder.encode_images([decode(path).image for path in some])
        cosines += (scaled * full).sum(1).tolist()
    return {
        "files": len(cosines),
        "mean": round(float(np.mean(cosines)), 5),
        "lowest": round(min(cosines), 5),
    }
