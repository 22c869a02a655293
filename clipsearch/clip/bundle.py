"""Bundles, the one form in which models are kept and loaded.

In: a folder. Out: a CLIP, its tokenizer, its preprocessing; and the other way.
Knows nothing of where a model came from.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from clipsearch.clip.cache import sha256_of
from clipsearch.clip.checkpoint import fit_weights, fitting
from clipsearch.clip.config import ClipConfig
from clipsearch.clip.manifest import (
    MANIFEST_FILE,
    MERGES_FILE,
    WEIGHTS_FILE,
    Manifest,
    read_manifest,
)
from clipsearch.clip.model import CLIP, ImageTower, image_tower
from clipsearch.clip.preprocess import Preprocess
from clipsearch.clip.text import TextTransformer
from clipsearch.clip.tokenizer import Tokenizer, packed_merges
from clipsearch.errors import BrokenCheckpoint

Tower = TypeVar("Tower", bound=nn.Module)


@dataclass(frozen=True)
class Bundle:
    """A loaded model: `model` in float32 on the CPU, in eval mode."""

    model: CLIP
    tokenizer: Tokenizer
    preprocess: Preprocess
    manifest: Manifest

    @property
    def name(self) -> str:
        """What people call the model."""
        return self.manifest.name

    @property
    def sha256(self) -> str:
        """What identifies the model to a library."""
        return self.manifest.source_sha256


def load_bundle(folder: Path) -> Bundle:
    """Load the three files.

    Raises BrokenCheckpoint if one is absent, damaged or does not fit the others.
    """
    manifest = read_manifest(folder)
    tokenizer = Tokenizer.for_model(folder / MERGES_FILE, manifest.config.text.vocab_size)
    try:
        weights = fit_weights(load_file(folder / WEIGHTS_FILE), manifest.config)
    except (SafetensorError, BrokenCheckpoint, OSError) as error:
        raise _unusable(folder / WEIGHTS_FILE, error) from error
    preprocess = Preprocess.from_dict(manifest.preprocess)
    return Bundle(build_model(manifest, weights), tokenizer, preprocess, manifest)


def load_image_tower(folder: Path, config: ClipConfig) -> ImageTower:
    """Load the image tower alone, in float32 on the CPU, in eval mode. Raises BrokenCheckpoint."""
    with torch.device("meta"):
        tower = image_tower(config)
    return _filled(tower, "visual.", folder)


def load_text_tower(folder: Path, config: ClipConfig) -> TextTransformer:
    """Load the text tower alone, in float32 on the CPU, in eval mode. Raises BrokenCheckpoint."""
    with torch.device("meta"):
        tower = TextTransformer(config.text, config.embed_dim, config.activation)
    return _filled(tower, "", folder)


def _filled(tower: Tower, prefix: str, folder: Path) -> Tower:
    """Give a tower its weights. The file is mapped: the other tower stays on the disk."""
    path = folder / WEIGHTS_FILE
    try:
        with safe_open(path, framework="pt") as file:
            stored = {name: prefix + name for name in tower.state_dict()}.items()
            present = set(file.keys())
            found = {name: file.get_tensor(key) for name, key in stored if key in present}
        weights = {
            name: fitting(prefix + name, found.get(name), wanted)
            for name, wanted in tower.state_dict().items()
        }
    except (SafetensorError, BrokenCheckpoint, OSError) as error:
        raise _unusable(path, error) from error
    tower.load_state_dict(_floats(weights), assign=True)
    return tower.eval()


def _floats(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {
        name: tensor.float() if tensor.is_floating_point() else tensor
        for name, tensor in weights.items()
    }


def _unusable(path: Path, error: Exception) -> BrokenCheckpoint:
    return BrokenCheckpoint(
        f"{path} cannot be used ({error}): delete the folder and fetch or convert the model again"
    )


def build_model(manifest: Manifest, weights: Mapping[str, Tensor]) -> CLIP:
    """A CLIP in eval mode around float32 copies of weights that `fit_weights` has approved."""
    with torch.device("meta"):  # spares drawing random numbers that would be overwritten
        model = CLIP(manifest.config)
    model.load_state_dict(_floats(weights), assign=True)
    return model.eval()


def save_bundle(
    folder: Path, weights: Mapping[str, Tensor], merges: Path, manifest: Manifest
) -> Manifest:
    """Write a bundle beside its final place and rename it there, replacing an older one.

    Weights are stored in the dtypes that they come in, see `to_half`. `manifest.dtype` and
    `.weights_sha256` are filled in, and so is an empty `.source_sha256`, with the same SHA-256.
    Returns what was written.
    Raises BrokenCheckpoint if the weights do not fit the sizes.
    """
    tensors = {
        name: tensor.contiguous().clone()  # safetensors refuses tensors that share memory
        for name, tensor in fit_weights(weights, manifest.config).items()
    }
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        temporary.chmod(0o755)
        save_file(tensors, temporary / WEIGHTS_FILE)
        # safetensors lets only the owner read, and a model is no secret: all users may share it.
        (temporary / WEIGHTS_FILE).chmod(0o644)
        (temporary / MERGES_FILE).write_bytes(packed_merges(merges))
        weights_sha256 = sha256_of(temporary / WEIGHTS_FILE)
        manifest = replace(
            manifest,
            dtype=str(tensors["visual.conv1.weight"].dtype).removeprefix("torch."),
            source_sha256=manifest.source_sha256 or weights_sha256,
            weights_sha256=weights_sha256,
        )
        text = json.dumps(manifest.to_dict(), indent=2) + "\n"
        (temporary / MANIFEST_FILE).write_text(text, encoding="utf-8")
        _sync(temporary)
        _put_in_place(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return manifest


def to_half(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Matrices and kernels as float16; vectors and numbers, which are small, stay as they are."""
    return {
        name: tensor.half() if tensor.is_floating_point() and tensor.ndim >= 2 else tensor
        for name, tensor in weights.items()
    }


def _sync(folder: Path) -> None:
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())


def _put_in_place(temporary: Path, folder: Path) -> None:
    """A folder cannot be renamed over a full one, so that one steps aside first."""
    if not folder.exists():
        temporary.rename(folder)
        return
    aside = temporary.with_name(temporary.name + "-old")
    folder.rename(aside)
    temporary.rename(folder)
    shutil.rmtree(aside)
