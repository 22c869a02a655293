"""Bundles, the one form in which models are kept and loaded.

In: a folder. Out: a CLIP, its tokenizer, its preprocessing; and the other way.
Knows nothing of where a model came from.
"""

from __future__ import annotations

import gzip
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from clipsearch.clip.checkpoint import fit_weights
from clipsearch.clip.download import sha256_of
from clipsearch.clip.manifest import (
    MANIFEST_FILE,
    MERGES_FILE,
    WEIGHTS_FILE,
    Manifest,
    read_manifest,
)
from clipsearch.clip.model import CLIP
from clipsearch.clip.preprocess import Preprocess
from clipsearch.clip.tokenizer import GZIP_MAGIC, Tokenizer
from clipsearch.errors import BrokenCheckpoint


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
        raise BrokenCheckpoint(
            f"{folder / WEIGHTS_FILE} cannot be used ({error}): delete the folder and fetch or"
            " convert the model again"
        ) from error
    preprocess = Preprocess.from_dict(manifest.preprocess)
    return Bundle(build_model(manifest, weights), tokenizer, preprocess, manifest)


def build_model(manifest: Manifest, weights: Mapping[str, Tensor]) -> CLIP:
    """A CLIP in eval mode around float32 copies of weights that `fit_weights` has approved."""
    with torch.device("meta"):  # spares drawing random numbers that would be overwritten
        model = CLIP(manifest.config)
    floats = {
        name: tensor.float() if tensor.is_floating_point() else tensor
        for name, tensor in weights.items()
    }
    model.load_state_dict(floats, assign=True)
    return model.eval()


def save_bundle(
    folder: Path, weights: Mapping[str, Tensor], merges: Path, manifest: Manifest
) -> Manifest:
    """Write a bundle beside its final place and rename it there, replacing an older one.

    Weights are stored in the dtypes that they come in, see `to_half`. `manifest.dtype` is filled
    in, and so is an empty `manifest.source_sha256`, with the SHA-256 of the file that is written.
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
        content = merges.read_bytes()
        if not content.startswith(GZIP_MAGIC):  # transformers writes them as they are
            content = gzip.compress(content, mtime=0)
        (temporary / MERGES_FILE).write_bytes(content)
        manifest = replace(
            manifest,
            dtype=str(tensors["visual.conv1.weight"].dtype).removeprefix("torch."),
            source_sha256=manifest.source_sha256 or sha256_of(temporary / WEIGHTS_FILE),
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
