"""The three functions of the reference package `clip`, over our own parts.

In: names, files and texts. Out: a torch model, a preprocessing and token tensors. Raises
RuntimeError as the reference does, so that code written for it runs with only its import line
changed.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import torch
from torch import IntTensor

from clipsearch.clip.bundle import load_bundle
from clipsearch.clip.cache import ModelCache
from clipsearch.clip.config import OPENAI_CONFIGS
from clipsearch.clip.merges import find_clip_merges
from clipsearch.clip.model import CLIP, convert_weights
from clipsearch.clip.models import find_model
from clipsearch.clip.preprocess import Preprocess
from clipsearch.clip.tokenizer import Tokenizer
from clipsearch.errors import ChecksumMismatch, QueryError, UnknownModel
from clipsearch.settings import Settings


def available_models() -> list[str]:
    """OpenAI's nine, in the reference's order."""
    return list(OPENAI_CONFIGS)


def load(
    name: str | Path,
    device: str | torch.device | None = None,
    jit: bool = False,
    download_root: str | Path | None = None,
) -> tuple[CLIP, Preprocess]:
    """A model in eval mode and its preprocessing, picture → float32 `[3, n, n]`.

    `name` is one of `available_models()`, "mini", a weights file or a bundle's folder. The device
    is by default the GPU if there is one; the weights are float32 on a CPU and elsewhere as
    `convert_weights` leaves them. `download_root` is the cache.
    Raises RuntimeError for an unknown model and for a download with the wrong SHA-256, otherwise
    the ModelErrors of `find_model` and `load_bundle`.
    """
    if jit:
        warnings.warn("jit=True has no effect: this model is not compiled", stacklevel=2)
    device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    try:
        bundle = load_bundle(find_model(name, _cache(download_root)))
    except (UnknownModel, ChecksumMismatch) as error:
        raise RuntimeError(str(error)) from error
    model = bundle.model
    if device.type != "cpu":
        model = convert_weights(model)
    return model.to(device), replace(bundle.preprocess, parity=True)


def tokenize(
    texts: str | Sequence[str], context_length: int = 77, truncate: bool = False
) -> IntTensor:
    """Texts → int32 tokens `[n, context_length]` of CLIP's vocabulary.

    Raises RuntimeError for a text that is too long, unless `truncate` cuts it; ModelUnavailable if
    the vocabulary is not on this machine and cannot be fetched.
    """
    tokenizer = _clip_tokenizer(_cache(None))
    try:
        tokens = tokenizer.tokenize(texts, context_length, truncate)
    except QueryError as error:
        raise RuntimeError(str(error)) from error
    return torch.from_numpy(tokens)  # type: ignore[return-value]  # int32, which IntTensor means


def _cache(download_root: str | Path | None) -> ModelCache:
    folder = Path(download_root).expanduser() if download_root else None
    return ModelCache.of(Settings.load(cache_dir=folder))


@cache
def _clip_tokenizer(model_cache: ModelCache) -> Tokenizer:
    return Tokenizer.from_file(find_clip_merges(model_cache))
