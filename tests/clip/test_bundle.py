from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from clipsearch.clip.bundle import load_bundle, save_bundle, to_half
from clipsearch.clip.cache import sha256_of
from clipsearch.clip.manifest import Manifest, is_bundle, read_manifest
from clipsearch.clip.preprocess import Preprocess
from clipsearch.errors import BrokenCheckpoint
from tests.clip.tiny import RESNET, VIT, random_weights, write_bundle, write_merges

MANIFEST = Manifest("tiny", VIT, Preprocess(32).to_dict(), description="knows nothing")


def test_what_was_saved_is_what_is_loaded(tmp_path: Path) -> None:
    merges = write_merges(tmp_path / "merges.gz")
    saved = save_bundle(tmp_path / "tiny", random_weights(), merges, MANIFEST)
    bundle = load_bundle(tmp_path / "tiny")
    assert bundle.manifest == saved
    assert bundle.preprocess == Preprocess(32)
    assert bundle.tokenizer.encode("red") == [513]
    weights = bundle.model.state_dict()
    assert all(torch.equal(weights[name], tensor) for name, tensor in random_weights().items())
    assert not bundle.model.training


def test_a_resnet_survives_too(tmp_path: Path) -> None:
    model = load_bundle(write_bundle(tmp_path / "tiny", RESNET)).model
    weights = random_weights(RESNET)
    assert all(torch.equal(model.state_dict()[name], tensor) for name, tensor in weights.items())


def test_a_bundle_is_identified_by_its_weights_unless_it_has_a_source(tmp_path: Path) -> None:
    merges = write_merges(tmp_path / "merges.gz")
    own = save_bundle(tmp_path / "own", random_weights(), merges, MANIFEST)
    assert own.source_sha256 == sha256_of(tmp_path / "own" / "model.safetensors")
    other = save_bundle(
        tmp_path / "other", random_weights(), merges, replace(MANIFEST, source_sha256="ab" * 32)
    )
    assert other.source_sha256 == "ab" * 32
    assert load_bundle(tmp_path / "other").sha256 == "ab" * 32


def test_halves_are_stored_as_halves_and_loaded_as_floats(tmp_path: Path) -> None:
    merges = write_merges(tmp_path / "merges.gz")
    manifest = save_bundle(tmp_path / "tiny", to_half(random_weights()), merges, MANIFEST)
    stored = load_file(tmp_path / "tiny" / "model.safetensors")
    assert manifest.dtype == "float16"
    assert stored["visual.proj"].dtype == torch.float16
    assert stored["ln_final.weight"].dtype == stored["logit_scale"].dtype == torch.float32
    loaded = load_bundle(tmp_path / "tiny").model.state_dict()
    assert {tensor.dtype for tensor in loaded.values()} == {torch.float32}
    assert torch.equal(loaded["visual.proj"], random_weights()["visual.proj"].half().float())


def test_saving_again_replaces_and_leaves_nothing_else(tmp_path: Path) -> None:
    write_bundle(tmp_path / "tiny", seed=1)
    write_bundle(tmp_path / "tiny", seed=2)
    weights = load_bundle(tmp_path / "tiny").model.state_dict()
    assert torch.equal(weights["visual.proj"], random_weights(seed=2)["visual.proj"])
    assert [path.name for path in tmp_path.iterdir()] == ["tiny"]


def test_a_save_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    write_bundle(tmp_path / "tiny", seed=1)
    before = (tmp_path / "tiny" / "model.safetensors").read_bytes()
    with pytest.raises(BrokenCheckpoint, match=r"absent\.gz"):
        save_bundle(tmp_path / "tiny", random_weights(), tmp_path / "absent.gz", MANIFEST)
    assert (tmp_path / "tiny" / "model.safetensors").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["tiny"]


def test_weights_that_do_not_fit_are_not_saved(tmp_path: Path) -> None:
    merges = write_merges(tmp_path / "merges.gz")
    with pytest.raises(BrokenCheckpoint, match=r"conv1.* \[64, 3, 8, 8\] and not"):
        save_bundle(tmp_path / "tiny", random_weights(), merges, replace(MANIFEST, config=RESNET))
    assert not (tmp_path / "tiny").exists()


@pytest.mark.parametrize("name", ["model.safetensors", "merges.txt.gz", "model.json"])
def test_a_damaged_file_is_named(name: str, tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "tiny")
    (folder / name).write_bytes(b"{}")
    with pytest.raises(BrokenCheckpoint, match=name.replace(".", r"\.")):
        load_bundle(folder)


@pytest.mark.parametrize("name", ["model.safetensors", "merges.txt.gz", "model.json"])
def test_a_missing_file_is_named(name: str, tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "tiny")
    (folder / name).unlink()
    assert not is_bundle(folder)
    with pytest.raises(BrokenCheckpoint, match=name.replace(".", r"\.")):
        load_bundle(folder)


def test_weights_of_another_size_are_refused(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "tiny")
    save_file(random_weights(RESNET), folder / "model.safetensors")
    with pytest.raises(BrokenCheckpoint, match=r"model\.safetensors"):
        load_bundle(folder)


def test_the_merges_of_another_model_are_refused(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "tiny")
    values = json.loads((folder / "model.json").read_text())
    values["config"]["text"]["vocab_size"] += 1
    (folder / "model.json").write_text(json.dumps(values))
    with pytest.raises(BrokenCheckpoint, match=r"merges\.txt\.gz makes 519 tokens.* 520"):
        load_bundle(folder)


def test_a_newer_format_asks_for_an_update(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "tiny")
    values = json.loads((folder / "model.json").read_text()) | {"format": 2}
    (folder / "model.json").write_text(json.dumps(values))
    with pytest.raises(BrokenCheckpoint, match=r"format 2 .*update clipsearch"):
        read_manifest(folder)
