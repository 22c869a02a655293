"""`clipsearch models`."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.torch import save_file

from clipsearch.clip.bundle import load_bundle
from clipsearch.clip.published import PUBLISHED_MODELS
from tests.cli.conftest import Run
from tests.clip.servers import serving
from tests.clip.tiny import random_weights, write_merges


def test_models_lists_the_registry_and_one_default(run: Run) -> None:
    listed = run("models", "--json").json["models"]
    assert {"RN50", "ViT-B/32", "ViT-L/14@336px"} <= {model["name"] for model in listed}
    assert [model["name"] for model in listed if model["is_default"]] == ["ViT-B/32"]


def test_an_empty_home_has_downloaded_nothing(run: Run) -> None:
    listed = run("models", "--json").json["models"]
    assert {model["name"] for model in listed if model["is_downloaded"]} <= {"mini"}


def test_models_for_people_is_one_line_each(run: Run) -> None:
    lines = run("models").out.decode().splitlines()
    assert len(lines) == len(run("models", "--json").json["models"])
    assert any(line.startswith("ViT-B/32\tno\t") for line in lines)


def test_models_tells_cost_quality_licence_and_what_vouches(run: Run) -> None:
    listed = {model["name"]: model for model in run("models", "--json").json["models"]}
    open_model = listed["ViT-B/32-256-datacomp"]
    assert (open_model["gflops"], open_model["quality"]["imagenet"]) == (11.5, 72.8)
    assert open_model["licence"] == "MIT" and len(open_model["sha256"]) == 64
    assert listed["mini"]["quality"] is None
    line = next(line for line in run("models").out.decode().splitlines() if "B/16-laion2b" in line)
    assert "no SHA-256 published" in line


def test_a_model_is_downloaded_from_a_mirror_used_and_removed(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_file(random_weights(), tmp_path / "weights")
    content = (tmp_path / "weights").read_bytes()
    published = PUBLISHED_MODELS["ViT-B/32-laion2b"]
    remote = replace(
        published.checkpoint,
        sha256=hashlib.sha256(content).hexdigest(),
        size_bytes=len(content),
    )
    monkeypatch.setitem(PUBLISHED_MODELS, published.name, replace(published, checkpoint=remote))
    cache = tmp_path / "cache"
    cache.mkdir()
    write_merges(cache / "merges.txt.gz")
    monkeypatch.setenv("CLIPSEARCH_CACHE", str(cache))
    with serving() as server:
        server.content = content
        monkeypatch.setenv("CLIPSEARCH_MODEL_URL", server.url.rpartition("/")[0])
        done = run("models", "download", "vit-b-32-laion2b", "--json")
        assert server.requests == ["/models/ViT-B-32-laion2b.safetensors"]
    folder = Path(done.json["model"]["path"])
    assert (done.code, folder) == (0, cache / "ViT-B-32-laion2b")
    assert load_bundle(folder).name == "ViT-B/32-laion2b"
    assert "fetching the model" in done.err
    gone = run("models", "remove", "ViT-B/32-laion2b")
    assert (gone.code, folder.exists()) == (0, False)
    assert b"are free again" in gone.out


def test_a_file_is_converted_to_a_folder(run: Run, tmp_path: Path) -> None:
    save_file(random_weights(), tmp_path / "own.safetensors")
    write_merges(tmp_path / "merges.txt.gz")
    done = run("models", "convert", tmp_path / "own.safetensors", "--to", tmp_path / "mine")
    assert (done.code, done.out.decode()) == (0, f"the model is in {tmp_path / 'mine'}\n")
    assert load_bundle(tmp_path / "mine").name == "own.safetensors"
    refused = run("models", "convert", tmp_path / "own.safetensors", "--to", tmp_path)
    assert (refused.code, refused.err.count("\n")) == (2, 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("download", "ViT-Z/99"), "there is no model 'ViT-Z/99' to fetch"),
        (("remove", "RN50"), "nothing to remove"),
        (("remove", "mini"), "part of clipsearch"),
        (("download",), "missing argument 'NAME'"),
        (("convert", "absent.pt", "--to", "there"), "no file or folder absent.pt"),
        (("nonsense",), "see clipsearch models --help"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(
    run: Run, arguments: tuple[str, ...], message: str
) -> None:
    refused = run("models", *arguments)
    assert (refused.code, refused.out, refused.err.count("\n")) == (2, b"", 1)
    assert message in refused.err


def test_offline_a_download_asks_nobody(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    refused = run("models", "download", "RN50")
    assert refused.code == 2 and "offline mode forbids" in refused.err
