"""Encode only: ViT-B/32 with random weights, pixels in memory, against open_clip in float32 on the same machine."""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.timing import interleaved, rates

BATCH = 32
REPETITIONS = 7
GFLOP_PER_IMAGE = 8.8  # ViT-B/32 at 224 px, multiply and add counted apart


def run() -> dict[str, Any]:
    """Images per second of both, the bf16 matrix rate measured beside them, and the cosine between the two."""
    torch.manual_seed(0)
    peer = _open_clip()
    with tempfile.TemporaryDirectory() as folder:
        encoder = _encoder(peer, Path(folder))
        pixels = np.random.default_rng(0).integers(0, 256, (BATCH, 224, 224, 3), np.uint8)
        ready = _normalised(pixels)

        def ours() -> None:
            encoder.encode_pixels(pixels)

        def theirs() -> None:
            with torch.inference_mode():
                peer.encode_image(ready, normalize=True)

        square = torch.randn(2048, 2048, dtype=torch.bfloat16)

        def matmul() -> None:
            for _ in range(8):
                square @ square

        seconds = interleaved(
            {"clipsearch": ours, "open_clip fp32": theirs, "bf16 matmul": matmul}, REPETITIONS
        )
        with torch.inference_mode():
            expected = peer.encode_image(ready, normalize=True).numpy()
        cosine = float((encoder.encode_pixels(pixels) * expected).sum(1).min())
    per_second = rates(seconds, BATCH)
    gflops = rates(seconds, 8)["bf16 matmul"] * 2 * 2048**3 / 1e9
    return {
        "what": "encode only, ViT-B/32, random weights",
        "clipsearch_images_per_second": round(per_second["clipsearch"], 1),
        "open_clip_fp32_images_per_second": round(per_second["open_clip fp32"], 1),
        "ratio": round(per_second["clipsearch"] / per_second["open_clip fp32"], 2),
        "precision": encoder.precision,
        "bf16_matmul_gflops": round(gflops),
        "share_of_matmul_rate": round(per_second["clipsearch"] * GFLOP_PER_IMAGE / gflops, 2),
        "lowest_cosine_to_open_clip": round(cosine, 5),
        "threads": torch.get_num_threads(),
    }


def _open_clip() -> Any:
    import open_clip

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = open_clip.create_model("ViT-B-32-quickgelu", pretrained=None)
    return model.eval()


def _encoder(peer: Any, folder: Path) -> Any:
    """Our encoder with the peer's weights, through a checkpoint file and a bundle as a user's would come."""
    from safetensors.torch import save_file

    from clipsearch.clip.encoder import Encoder

    weights = folder / "vit-b-32.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in peer.state_dict().items()}, weights)
    return Encoder.load(str(weights), cache_dir=folder / "cache", offline=True)


def _normalised(pixels: np.ndarray[Any, Any]) -> torch.Tensor:
    mean = torch.tensor((0.48145466, 0.4578275, 0.40821073))[:, None, None]
    std = torch.tensor((0.26862954, 0.26130258, 0.27577711))[:, None, None]
    return (torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255 - mean) / std
