from __future__ import annotations

from pathlib import Path

import pytest

from clipsearch.clip.registry import (
    CLIP_MERGES,
    DEFAULT_MODEL,
    PUBLISHED_MODELS,
    PublishedModel,
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


def test_the_nine_names_come_in_the_order_of_the_reference() -> None:
    assert list(PUBLISHED_MODELS) == NAMES
    assert model_names() == ["mini", *NAMES]


@pytest.mark.parametrize("model", PUBLISHED_MODELS.values(), ids=NAMES)
def test_every_address_holds_the_checksum_of_what_lies_there(model: PublishedModel) -> None:
    assert model.checkpoint.url.split("/")[-2] == model.checkpoint.sha256
    assert len(bytes.fromhex(model.checkpoint.sha256)) == 32
    assert model.file_name.endswith(".pt")


def test_addresses_use_https_only() -> None:
    remotes = [CLIP_MERGES, *(model.checkpoint for model in PUBLISHED_MODELS.values())]
    assert all(remote.url.startswith("https://") for remote in remotes)


def test_a_published_file_is_known_by_its_bytes() -> None:
    model = PUBLISHED_MODELS["ViT-L/14"]
    assert published_with_sha256(model.checkpoint.sha256) is model
    assert published_with_sha256("0" * 64) is None


def test_the_list_tells_dimension_and_default(tmp_path: Path) -> None:
    listed = {model.name: model for model in list_models(tmp_path)}
    assert (listed["RN50x64"].dimension, listed["RN50x64"].input_px) == (1024, 448)
    assert [name for name, model in listed.items() if model.is_default] == [DEFAULT_MODEL]
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
