"""Encode only: ViT-B/32 with random weights, pixels in memory, against open_clip in float32.

Beside them runs a plain bfloat16 matrix product, which is the limit of this machine.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bench.peer import random_vit, write_weights
from bench.timing import interleaved, rates
from clipsearch.clip.download import ModelCache
from clipsearch.clip.encoder import Encoder
from clipsearch.clip.preprocess import Preprocess
from clipsearch.vectors import FloatArray

BATCH = 32
REPETITIONS = 7
SIZE_PX = 224
GFLOP_PER_IMAGE = 8.8  # ViT-B/32 at 224 px, multiply and add counted apart
SQUARE, PRODUCTS = 2048, 8  # the side of the matrices, and how many products make one run


def run() -> dict[str, Any]:
    """Images per second of both, the share of the matrix rate, the cosine between the two."""
    peer = random_vit()
    with tempfile.TemporaryDirectory() as folder:
        weights = write_weights(peer, Path(folder))
        encoder = Encoder.load(weights, cache=ModelCache(Path(folder) / "cache"), device="cpu")
    pixels = random_pixels(BATCH)
    ready = torch.from_numpy(Preprocess(SIZE_PX).normalise(pixels))
    square = torch.randn(SQUARE, SQUARE, dtype=torch.bfloat16)

    def ours() -> None:
        encoder.encode_pixels(pixels)

    def theirs() -> None:
        encode_with(peer, ready)

    def multiply() -> None:
        for _ in range(PRODUCTS):
            torch.mm(square, square)

    contenders = {"clipsearch": ours, "open_clip fp32": theirs, "bf16 matmul": multiply}
    seconds = interleaved(contenders, REPETITIONS)
    per_second = rates(seconds, BATCH)
    gflops = rates(seconds, PRODUCTS)["bf16 matmul"] * 2 * SQUARE**3 / 1e9
    cosines = (encoder.encode_pixels(pixels) * encode_with(peer, ready)).sum(1)
    return {
        "what": "encode only, ViT-B/32, random weights",
        "clipsearch_images_per_second": round(per_second["clipsearch"], 1),
        "open_clip_fp32_images_per_second": round(per_second["open_clip fp32"], 1),
        "ratio": round(per_second["clipsearch"] / per_second["open_clip fp32"], 2),
        "precision": encoder.precision,
        "bf16_matmul_gflops": round(gflops),
        "share_of_matmul_rate": round(per_second["clipsearch"] * GFLOP_PER_IMAGE / gflops, 2),
        "lowest_cosine_to_open_clip": round(float(cosines.min()), 5),
        "threads": torch.get_num_threads(),
    }


def random_pixels(count: int) -> NDArray[np.uint8]:
    """Noise, uint8 `[count, SIZE_PX, SIZE_PX, 3]`."""
    return np.random.default_rng(0).integers(0, 256, (count, SIZE_PX, SIZE_PX, 3), np.uint8)


@torch.inference_mode()
def encode_with(peer: Any, pixels: torch.Tensor) -> FloatArray:
    """open_clip's unit vectors `[n, dim]` of normalised pixels `[n, 3, SIZE_PX, SIZE_PX]`."""
    vectors: FloatArray = peer.encode_image(pixels, normalize=True).numpy()
    return vectors
