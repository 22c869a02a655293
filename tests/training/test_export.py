"""A run becomes a bundle that the program itself can load."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch

from clipsearch.clip.bundle import load_bundle
from clipsearch.clip.cache import ModelCache
from clipsearch.clip.encoder import Encoder
from clipsearch.clip.model import CLIP
from clipsearch.clip.tokenizer import Tokenizer
from tests.training.fakes import CONCEPTS, IMAGE_PX, tiny_config, write_merges
from training import export as module
from training.export import export, write_vocabulary
from training.plan import Plan


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(module, "mini_config", tiny_config)
    folder = tmp_path / "run"
    folder.mkdir()
    merges = write_merges(folder / "merges.txt.gz")
    torch.manual_seed(0)
    model = CLIP(tiny_config(Tokenizer.from_file(merges).vocab_size))
    model.visual.to(memory_format=torch.channels_last)  # as the trainer leaves it
    torch.save({"step": 5, "model": model.state_dict(), "optimizer": {}}, folder / "last.pt")
    (folder / "plan.json").write_text(json.dumps(asdict(Plan())), encoding="utf-8")
    return folder


def test_a_run_becomes_a_bundle_named_mini(run: Path, tmp_path: Path) -> None:
    manifest = export(run, tmp_path / "mini")
    bundle = load_bundle(tmp_path / "mini")
    assert bundle.name == "mini"
    assert bundle.sha256 == manifest.source_sha256
    assert bundle.preprocess.size == IMAGE_PX
    assert f"seed {Plan().seed}, 5 steps of 256 scenes" in bundle.manifest.description


def test_the_weights_are_those_of_the_run_halved(run: Path, tmp_path: Path) -> None:
    export(run, tmp_path / "mini")
    exported = load_bundle(tmp_path / "mini").model.state_dict()
    trained = torch.load(run / "last.pt", weights_only=True)["model"]
    assert exported.keys() == trained.keys()
    for name, weights in trained.items():
        halved = weights.half().float() if weights.ndim >= 2 else weights
        assert torch.equal(exported[name], halved), name


def test_the_bundle_encodes_pictures_and_words(run: Path, tmp_path: Path) -> None:
    export(run, tmp_path / "mini")
    encoder = Encoder.load(tmp_path / "mini", cache=ModelCache(tmp_path), device="cpu")
    pixels = np.zeros((1, IMAGE_PX, IMAGE_PX, 3), np.uint8)
    assert encoder.encode_pixels(pixels).shape == encoder.encode_texts(["a thing"]).shape == (1, 16)


def test_the_list_of_what_was_taught_has_every_name_in_its_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "load_concepts", lambda: CONCEPTS[:2])
    write_vocabulary(tmp_path / "VOCABULARY.md")
    assert "**toys**: thing 0, thing 1" in (tmp_path / "VOCABULARY.md").read_text(encoding="utf-8")
