"""Run the command line in this process, with a real model that is tiny and knows nothing."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from clipsearch.cli.app import main
from clipsearch.clip.bundle import save_bundle
from clipsearch.clip.config import ClipConfig, TextConfig, VisionConfig
from clipsearch.clip.manifest import Manifest
from clipsearch.clip.model import CLIP
from clipsearch.clip.preprocess import Preprocess


@dataclass(frozen=True)
class Outcome:
    """What one run of the command line left behind."""

    code: int
    out: bytes
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Outcome]


@pytest.fixture
def run(capfdbinary: pytest.CaptureFixture[bytes]) -> Run:
    """run("query", "dog", "-k", 3) is `clipsearch query dog -k 3`; no run may show a traceback."""

    def run(*arguments: object) -> Outcome:
        code = main([str(argument) for argument in arguments])
        streams = capfdbinary.readouterr()
        outcome = Outcome(code, streams.out, streams.err.decode())
        assert "Traceback" not in outcome.err
        return outcome

    return run


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of a seeded random CLIP: equal pictures are alike, words mean nothing."""
    merges = [("d", "o"), ("do", "g</w>")]
    config = ClipConfig(
        embed_dim=16,
        vision=VisionConfig(image_size=32, layers=2, width=32, patch_size=8, heads=4),
        text=TextConfig(
            context_length=16, vocab_size=512 + len(merges) + 2, width=32, heads=4, layers=2
        ),
    )
    folder = tmp_path_factory.mktemp("models")
    lines = ["#version: 1", *(" ".join(merge) for merge in merges), ""]
    (folder / "merges.txt.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
    torch.manual_seed(0)
    manifest = Manifest(
        name=str(folder / "tiny"),
        config=config,
        preprocess=Preprocess(size=32).to_dict(),
        source_sha256="",
        dtype="",
    )
    save_bundle(folder / "tiny", CLIP(config).state_dict(), folder / "merges.txt.gz", manifest)
    return folder / "tiny"


@pytest.fixture
def indexed(run: Run, paint: Callable[..., Path], tiny_model: Path, tmp_path: Path) -> Path:
    """A library folder with pictures of three colours in it."""
    for colour in ("red", "green", "blue"):
        paint(f"{colour}.png", colour)
    library = tmp_path / "library"
    assert run("index", tmp_path / "photos", "-L", library, "--model", tiny_model).code == 0
    return library
