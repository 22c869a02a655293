"""Models of two layers with random weights, in the forms in which models come."""

from __future__ import annotations

import gzip
from pathlib import Path

import torch
from torch import Tensor

from clipsearch.clip.bundle import save_bundle
from clipsearch.clip.config import ClipConfig, TextConfig, VisionConfig
from clipsearch.clip.manifest import Manifest
from clipsearch.clip.model import CLIP
from clipsearch.clip.preprocess import Preprocess

MERGES = [("r", "e"), ("re", "d</w>"), ("b", "l"), ("bl", "u"), ("blu", "e</w>")]
VOCAB_SIZE = 512 + len(MERGES) + 2

# Heads of 64, because that is what is assumed of a file without a config.
VIT = ClipConfig(
    embed_dim=16,
    vision=VisionConfig(image_size=32, layers=2, width=64, patch_size=8),
    text=TextConfig(context_length=12, vocab_size=VOCAB_SIZE, width=64, layers=2),
)
RESNET = ClipConfig(
    embed_dim=16,
    vision=VisionConfig(image_size=32, layers=(1, 1, 1, 1), width=8, patch_size=None),
    text=VIT.text,
)


def random_weights(config: ClipConfig = VIT, seed: int = 0) -> dict[str, Tensor]:
    """A state dict with OpenAI's names; the same for the same seed."""
    torch.manual_seed(seed)
    return CLIP(config).state_dict()


def write_merges(path: Path) -> Path:
    """A merges file that fits these models."""
    lines = "\n".join(" ".join(pair) for pair in MERGES)
    path.write_bytes(gzip.compress(f"#version: 1\n{lines}\n".encode()))
    return path


def write_bundle(folder: Path, config: ClipConfig = VIT, seed: int = 0) -> Path:
    """A bundle called "tiny"."""
    folder.parent.mkdir(exist_ok=True)
    merges = write_merges(folder.with_name(folder.name + "-merges.txt.gz"))
    preprocess = Preprocess(config.vision.image_size).to_dict()
    save_bundle(folder, random_weights(config, seed), merges, Manifest("tiny", config, preprocess))
    merges.unlink()
    return folder
