"""Encode only: ViT-B/32 with random weights, pixels in memory, against open_clip and ONNX Runtime.

Beside them runs a plain bfloat16 matrix product, which is the limit of this machine.
"""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bench.peer import random_vit, write_weights
from bench.rclip import export
from bench.timing import interleaved, rates
from clipsearch.clip.cache import ModelCache
from clipsearch.clip.encoder import Encoder
from clipsearch.clip.preprocess import Preprocess
from clipsearch.vectors import FloatArray

BATCH = 32
REPETITIONS = 7
SIZE_PX = 224
GFLOP_PER_IMAGE = 8.8  # ViT-B/32 at 224 px, multiply and add counted apart
SQUARE, PRODUCTS = 2048, 8  # the side of the matrices, and how many products make one run


def run() -> dict[str, Any]:
    """Images per second of all, the share of the matrix rate, the cosine to open_clip's vectors."""
    peer = random_vit()
    half = copy.deepcopy(peer).bfloat16()
    with tempfile.TemporaryDirectory() as folder:  # towers are read when they are first used
        weights = write_weights(peer, Path(folder))
        encoder = Encoder.load(weights, cache=ModelCache(Path(folder) / "cache"), device="cpu")
        session = onnx_session(peer, Path(folder))
        pixels = random_pixels(BATCH)
        ready = torch.from_numpy(Preprocess(SIZE_PX).normalise(pixels))
        square = torch.randn(SQUARE, SQUARE, dtype=torch.bfloat16)

        def multiply() -> None:
            for _ in range(PRODUCTS):
                torch.mm(square, square)

        contenders: dict[str, Callable[[], object]] = {
            "clipsearch": lambda: encoder.encode_pixels(pixels),
            "open_clip_fp32": lambda: encode_with(peer, ready),
            "open_clip_bf16": lambda: encode_with(half, ready.bfloat16()),
            "onnx_runtime_fp32": lambda: session.run(None, {"input": ready.numpy()}),
            "bf16_matmul": multiply,
        }
        seconds = interleaved(contenders, REPETITIONS)
        per_second = rates(seconds, BATCH)
        gflops = rates(seconds, PRODUCTS)["bf16_matmul"] * 2 * SQUARE**3 / 1e9
        ours = per_second["clipsearch"]
        peers = [name for name in contenders if name not in ("clipsearch", "bf16_matmul")]
        cosines = (encoder.encode_pixels(pixels) * encode_with(peer, ready)).sum(1)
        return {
            "what": "encode only, ViT-B/32, random weights",
            "clipsearch_images_per_second": round(ours, 1),
            **{f"{name}_images_per_second": round(per_second[name], 1) for name in peers},
            **{f"ratio_to_{name}": round(ours / per_second[name], 2) for name in peers},
            "precision": encoder.precision,
            "bf16_matmul_gflops": round(gflops),
            "share_of_matmul_rate": round(ours * GFLOP_PER_IMAGE / gflops, 2),
            "lowest_cosine_to_open_clip": round(float(cosines.min()), 5),
            "threads": torch.get_num_threads(),
        }


def onnx_session(model: Any, folder: Path) -> Any:
    """An ONNX Runtime session of the vision tower, on as many threads as torch uses."""
    import onnxruntime

    export(model, folder, SIZE_PX)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    return onnxruntime.InferenceSession(str(folder / "visual.onnx"), options)


def random_pixels(count: int, size_px: int = SIZE_PX) -> NDArray[np.uint8]:
    """Noise, uint8 `[count, size_px, size_px, 3]`."""
    return np.random.default_rng(0).integers(0, 256, (count, size_px, size_px, 3), np.uint8)


@torch.inference_mode()
def encode_with(peer: Any, pixels: torch.Tensor) -> FloatArray:
    """open_clip's unit vectors `[n, dim]` of normalised pixels `[n, 3, SIZE_PX, SIZE_PX]`."""
    vectors: FloatArray = peer.encode_image(pixels, normalize=True).float().numpy()
    return vectors
