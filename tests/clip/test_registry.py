from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from clipsearch.clip.model import CLIP
from clipsearch.clip.published import PUBLISHED_MODELS, PublishedModel
from clipsearch.clip.registry import (
    CLIP_MERGES,
    DEFAULT_MODEL,
    list_models,
    model_names,
    published_with_sha256,
)
from tests.clip.tiny import write_bundle

NAMES = [
    "RN50",
    "RN101",
    "RN50x4",
    "RN50x16",
    "RN50x64",
    "ViT-B/32",
    "ViT-B/16",
    "ViT-L/14",
    "ViT-L/14@336px",
]
OPEN_NAMES = [
    "ViT-B/32-laion2b",
    "ViT-B/32-datacomp",
    "ViT-B/32-256-datacomp",
    "ViT-B/16-laion2b",
    "ViT-B/16-datacomp",
    "ViT-L/14-laion2b",
    "ViT-L/14-datacomp",
]
each_openai = pytest.mark.parametrize("name", NAMES)
each_open = pytest.mark.parametrize("name", OPEN_NAMES)
each_model = pytest.mark.parametrize("model", PUBLISHED_MODELS.values(), ids=str)


def test_openais_nine_come_first_in_the_order_of_the_reference() -> None:
    assert list(PUBLISHED_MODELS) == [*NAMES, *OPEN_NAMES]
    assert model_names() == ["mini", *NAMES, *OPEN_NAMES]


@each_openai
def test_openais_addresses_hold_the_checksum_of_what_lies_there(name: str) -> None:
    model = PUBLISHED_MODELS[name]
    assert model.checkpoint.url.split("/")[-2] == model.checkpoint.sha256
    assert model.checkpoint.url.endswith("/" + model.file_name)


@each_open
def test_open_models_are_pinned_to_a_revision_and_use_the_exact_gelu(name: str) -> None:
    model = PUBLISHED_MODELS[name]
    assert re.search(r"/resolve/[0-9a-f]{40}/open_clip_", model.checkpoint.url)
    assert model.config.activation == "gelu"
    assert bool(model.preprocess) == (name == "ViT-L/14-laion2b")


@each_model
def test_a_checksum_is_whole_or_absent(model: PublishedModel) -> None:
    assert model.checkpoint.sha256 is None or len(bytes.fromhex(model.checkpoint.sha256)) == 32
    # A file that nothing vouches for is never a pickle.
    assert model.checkpoint.sha256 or model.file_name.endswith(".safetensors")


@each_model
def test_a_download_is_about_as_large_as_its_tensors(model: PublishedModel) -> None:
    with torch.device("meta"):
        weights = CLIP(model.config).state_dict().values()
    n_numbers = sum(tensor.numel() for tensor in weights)
    a_number = model.checkpoint.size_bytes / n_numbers
    assert 2 < a_number < 2.6 if model.checkpoint.url.endswith(".pt") else 4 < a_number < 4.01


def test_no_two_models_share_a_file_or_a_spelling() -> None:
    models = PUBLISHED_MODELS.values()
    assert len({model.file_name.lower() for model in models}) == len(models)
    assert len({model.checkpoint.url for model in models}) == len(models)


def test_the_256_pixel_model_sees_64_patches() -> None:
    vision = PUBLISHED_MODELS["ViT-B/32-256-datacomp"].config.vision
    assert (vision.image_size, vision.patch_size) == (256, 32)


def test_addresses_use_https_only() -> None:
    remotes = [CLIP_MERGES, *(model.checkpoint for model in PUBLISHED_MODELS.values())]
    assert all(remote.url.startswith("https://") for remote in remotes)


def test_a_published_file_is_known_by_its_bytes() -> None:
    model = PUBLISHED_MODELS["ViT-L/14"]
    assert model.checkpoint.sha256 is not None
    assert published_with_sha256(model.checkpoint.sha256) is model
    assert published_with_sha256("0" * 64) is None


def test_the_list_tells_dimension_and_default(tmp_path: Path) -> None:
    listed = {model.name: model for model in list_models(tmp_path)}
    assert (listed["RN50x64"].dimension, listed["RN50x64"].input_px) == (1024, 448)
    assert [name for name, model in listed.items() if model.is_default] == [DEFAULT_MODEL]
    assert listed["ViT-B/32"].quality is not None and listed["ViT-B/32"].gflops == 8.8
    assert 353_000_000 < listed["ViT-B/32"].size_bytes < 356_000_000


def test_the_list_tells_what_is_downloaded(tmp_path: Path) -> None:
    write_bundle(PUBLISHED_MODELS["ViT-B/16"].folder(tmp_path))
    downloaded = {model.name for model in list_models(tmp_path) if model.is_downloaded}
    assert downloaded - {"mini"} == {"ViT-B/16"}


def test_the_bundled_model_is_listed_first_once_it_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_bundle(tmp_path / "mini")
    monkeypatch.setattr("clipsearch.clip.registry.MINI_FOLDER", folder)
    first = list_models(tmp_path)[0]
    assert (first.name, first.is_downloaded, first.dimension, first.input_px) == (
        "mini",
        True,
        16,
        32,
    )
    assert first.size_bytes > (folder / "model.safetensors").stat().st_size
