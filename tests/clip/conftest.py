"""A CLIP small enough for any test, and the two libraries that ours must agree with."""

from __future__ import annotations

import importlib
import warnings
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import pytest
import torch

from clipsearch.clip.model import CLIP, ClipConfig, TextConfig, VisionConfig
from clipsearch.clip.tokenizer import Tokenizer

# 512 bytes, 86 merges and the two control tokens.
TINY_VOCAB = 600


@pytest.fixture
def tiny_config() -> ClipConfig:
    """Two layers and a width of 64 in both towers, pictures of 64 px."""
    return ClipConfig(
        embed_dim=32,
        vision=VisionConfig(image_size=64, layers=2, width=64, patch_size=16, heads=2),
        text=TextConfig(context_length=16, vocab_size=TINY_VOCAB, width=64, heads=2, layers=2),
    )


@pytest.fixture
def tiny_resnet_config(tiny_config: ClipConfig) -> ClipConfig:
    """The same with a ModifiedResNet of five blocks."""
    vision = VisionConfig(image_size=64, layers=(1, 2, 1, 1), width=8, patch_size=None, heads=4)
    return ClipConfig(32, vision, tiny_config.text)


@pytest.fixture
def tiny_model(tiny_config: ClipConfig) -> CLIP:
    """Random weights, the same in every test, in eval mode."""
    torch.manual_seed(0)
    return CLIP(tiny_config).eval()


@pytest.fixture(scope="session")
def openai_merges_path() -> Path:
    """OpenAI's list of merges, which open_clip ships."""
    spec = find_spec("open_clip")
    assert spec is not None and spec.origin is not None, "pip install 'clipsearch[test]'"
    return Path(spec.origin).with_name("bpe_simple_vocab_16e6.txt.gz")


@pytest.fixture(scope="session")
def openai_tokenizer(openai_merges_path: Path) -> Tokenizer:
    return Tokenizer.from_file(openai_merges_path)


@pytest.fixture(scope="session")
def open_clip() -> ModuleType:
    return _quiet_import("open_clip")


@pytest.fixture(scope="session")
def transformers() -> ModuleType:
    return _quiet_import("transformers")


def _quiet_import(name: str) -> ModuleType:
    """Their warnings are not ours to mend, and would be errors here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module(name)
