"""ViT-B/32 of random weights as open_clip builds it, and the same weights as a file for us."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file


def random_vit(size_px: int = 224) -> Any:
    """open_clip's ViT-B/32 with OpenAI's activation, in float32 and for inference.

    For pictures of 224 or 256 pixels.
    """
    import open_clip  # slow, and not needed by whoever only writes photographs

    torch.manual_seed(0)
    name = {224: "ViT-B-32", 256: "ViT-B-32-256"}[size_px]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that nothing is trained is the point
        model = open_clip.create_model(
            name, pretrained=None, precision="fp32", force_quick_gelu=True
        )
    return model.eval()


def write_weights(model: Any, folder: Path) -> Path:
    """Write a checkpoint as a user's would come; the merges for it come with open_clip."""
    path = folder / "vit-b-32.safetensors"
    weights = {name: tensor.float().contiguous() for name, tensor in model.state_dict().items()}
    save_file(weights, path)
    return path
