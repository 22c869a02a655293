from __future__ import annotations

import gzip
import hashlib
import os
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from clipsearch.clip import models, registry
from clipsearch.clip.bundle import load_bundle
from clipsearch.clip.cache import ModelCache
from clipsearch.clip.intact import SEEN_FOLDER
from clipsearch.clip.models import find_model, remove_model
from clipsearch.clip.published import PUBLISHED_MODELS, PublishedModel
from clipsearch.errors import (
    BrokenCheckpoint,
    ChecksumMismatch,
    ModelError,
    ModelUnavailable,
    UnknownModel,
)
from tests.clip.tiny import random_weights, write_bundle, write_merges


@pytest.fixture
def cache(tmp_path: Path) -> ModelCache:
    return ModelCache(tmp_path / "cache", offline=True)


@pytest.fixture
def weights_file(tmp_path: Path) -> Path:
    folder = tmp_path / "weights"
    folder.mkdir()
    save_file(random_weights(), folder / "own.safetensors")
    write_merges(folder / "merges.txt.gz")
    return folder / "own.safetensors"


def test_a_bundle_is_found_where_it_lies(cache: ModelCache, tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "tiny")
    assert find_model(folder, cache) == folder
    assert find_model(str(folder), cache) == folder
    assert [path.name for path in cache.folder.iterdir()] == [SEEN_FOLDER]


def test_a_weights_file_is_converted_once(cache: ModelCache, weights_file: Path) -> None:
    folder = find_model(weights_file, cache)
    bundle = load_bundle(folder)
    assert bundle.name == "own.safetensors"
    assert bundle.sha256 == hashlib.sha256(weights_file.read_bytes()).hexdigest()
    assert torch.equal(bundle.model.visual.conv1.weight, random_weights()["visual.conv1.weight"])
    written = (folder / "model.json").stat().st_mtime_ns
    renamed = weights_file.rename(weights_file.with_name("other.safetensors"))
    assert find_model(renamed, cache) == folder
    assert (folder / "model.json").stat().st_mtime_ns == written


def test_other_merges_beside_the_same_weights_make_another_model(
    cache: ModelCache, weights_file: Path
) -> None:
    first = find_model(weights_file, cache)
    merges = weights_file.with_name("merges.txt.gz")
    head, *lines = gzip.decompress(merges.read_bytes()).splitlines()
    merges.write_bytes(gzip.compress(b"\n".join([head, *reversed(lines)])))
    second = find_model(weights_file, cache)
    assert first != second
    kept = [(folder / "merges.txt.gz").read_bytes() for folder in (first, second)]
    assert gzip.decompress(kept[0]) != gzip.decompress(kept[1])


def test_a_weights_file_without_its_merges_says_where_they_belong(
    cache: ModelCache, weights_file: Path
) -> None:
    weights_file.with_name("merges.txt.gz").unlink()
    with pytest.raises(BrokenCheckpoint, match=r"knows 519 tokens.* beside it as merges\.txt\.gz"):
        find_model(weights_file, cache)


def test_a_published_file_is_taken_for_what_it_is(
    cache: ModelCache, weights_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sha256 = hashlib.sha256(weights_file.read_bytes()).hexdigest()
    published = registry.PUBLISHED_MODELS["ViT-B/32"]
    known = replace(published, checkpoint=replace(published.checkpoint, sha256=sha256))
    monkeypatch.setitem(registry.PUBLISHED_MODELS, "ViT-B/32", known)
    folder = find_model(weights_file, cache)
    assert folder == known.folder(cache.folder)
    assert load_bundle(folder).name == "ViT-B/32"
    assert find_model("ViT-B/32", cache) == folder  # nothing needs fetching any more


def test_a_checkpoint_that_lay_there_before_is_converted_and_kept(
    cache: ModelCache, weights_file: Path, registered: PublishedModel
) -> None:
    # As in the reference package's own cache, which others use too.
    cache.folder.mkdir()
    (cache.folder / "ViT-B-32.pt").write_bytes(weights_file.read_bytes())
    write_merges(cache.folder / "merges.txt.gz")
    folder = find_model("ViT-B/32", cache)
    assert load_bundle(folder).sha256 == registered.checkpoint.sha256
    assert (cache.folder / "ViT-B-32.pt").exists()


def test_a_download_is_converted_and_then_removed(
    cache: ModelCache,
    weights_file: Path,
    registered: PublishedModel,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    remote = replace(registered.checkpoint, url=weights_file.as_uri())
    monkeypatch.setitem(PUBLISHED_MODELS, "ViT-B/32", replace(registered, checkpoint=remote))
    cache.folder.mkdir()
    write_merges(cache.folder / "merges.txt.gz")
    online = replace(cache, offline=False)
    assert load_bundle(find_model("ViT-B/32", online)).sha256 == remote.sha256
    assert not (cache.folder / "ViT-B-32.pt").exists()


@pytest.fixture
def registered(weights_file: Path, monkeypatch: pytest.MonkeyPatch) -> PublishedModel:
    """The weights file as if OpenAI had published it as ViT-B/32, without an address."""
    published = PUBLISHED_MODELS["ViT-B/32"]
    sha256 = hashlib.sha256(weights_file.read_bytes()).hexdigest()
    remote = replace(published.checkpoint, sha256=sha256, url="http://127.0.0.1:9/ViT-B-32.pt")
    known = replace(published, checkpoint=remote)
    monkeypatch.setitem(PUBLISHED_MODELS, "ViT-B/32", known)
    return known


def test_a_thousand_flipped_bits_are_all_refused_before_parsing(
    cache: ModelCache,
    weights_file: Path,
    registered: PublishedModel,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def parsed(*_: object) -> None:
        pytest.fail("a damaged file was parsed")

    monkeypatch.setattr(models, "_convert", parsed)
    cache.folder.mkdir()
    in_cache = cache.folder / registered.file_name
    given = weights_file.rename(weights_file.with_name(registered.file_name))
    content = bytearray(given.read_bytes())
    chance = random.Random(20261121)
    for _ in range(1000):
        bit = chance.randrange(len(content) * 8)
        content[bit // 8] ^= 1 << bit % 8
        in_cache.write_bytes(content)
        with pytest.raises(ModelUnavailable, match="damaged"):
            find_model("ViT-B/32", cache)
        with pytest.raises(ChecksumMismatch, match=r"ViT-B-32\.pt bears the name of"):
            find_model(in_cache, cache)
        content[bit // 8] ^= 1 << bit % 8
    assert bytes(content) == given.read_bytes()


def test_the_registry_says_what_the_shapes_cannot(
    cache: ModelCache, weights_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    published = PUBLISHED_MODELS["ViT-L/14-laion2b"]
    sha256 = hashlib.sha256(weights_file.read_bytes()).hexdigest()
    remote = replace(published.checkpoint, sha256=sha256)
    monkeypatch.setitem(PUBLISHED_MODELS, published.name, replace(published, checkpoint=remote))
    bundle = load_bundle(find_model(weights_file, cache))
    assert bundle.name == "ViT-L/14-laion2b"
    assert bundle.model.config.activation == "gelu"
    assert (bundle.preprocess.mean, bundle.preprocess.std) == ((0.5,) * 3, (0.5,) * 3)


def test_a_model_without_a_published_checksum_is_still_known(
    weights_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    published = PUBLISHED_MODELS["ViT-B/16-laion2b"]
    assert published.checkpoint.sha256 is None
    cache = ModelCache(tmp_path / "cache", offline=True)
    cache.folder.mkdir()
    content = weights_file.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    (cache.folder / published.file_name).write_bytes(content)
    (cache.folder / f"{published.file_name}.sha256").write_text(digest)
    write_merges(cache.folder / "merges.txt.gz")
    bundle = load_bundle(find_model("ViT-B/16-laion2b", cache))
    assert (bundle.name, bundle.sha256) == ("ViT-B/16-laion2b", digest)
    assert bundle.model.config.activation == "gelu"


def test_a_removed_model_is_gone_with_what_had_arrived_of_it(cache: ModelCache) -> None:
    published = PUBLISHED_MODELS["ViT-B/32"]
    folder = write_bundle(published.folder(cache.folder))
    n_bytes = sum(path.stat().st_size for path in folder.iterdir())
    (cache.folder / "ViT-B-32.pt.part").write_bytes(b"12345")
    assert remove_model("vit-b-32", cache) == n_bytes + 5
    assert [path.name for path in cache.folder.iterdir()] == ["ViT-B-32.lock"]
    with pytest.raises(ModelUnavailable, match="nothing to remove"):
        remove_model("ViT-B/32", cache)


def test_what_is_bundled_or_unknown_cannot_be_removed(cache: ModelCache) -> None:
    with pytest.raises(ModelError, match="part of clipsearch"):
        remove_model("mini", cache)
    with pytest.raises(UnknownModel, match="to fetch"):
        remove_model("ViT-Z/99", cache)


@pytest.mark.parametrize("name", ["ViT-B/32", "vit-b-32", "ViT_B_32", "ViT-B-32"])
def test_a_cached_model_is_found_by_every_spelling(name: str, cache: ModelCache) -> None:
    folder = write_bundle(registry.PUBLISHED_MODELS["ViT-B/32"].folder(cache.folder))
    assert find_model(name, cache) == folder


def test_offline_an_absent_model_ends_in_one_sentence(cache: ModelCache) -> None:
    with pytest.raises(ModelUnavailable, match=r"the model RN50 is not .*`--model mini`") as caught:
        find_model("RN50", cache)
    assert "openaipublic.azureedge.net" in str(caught.value)
    assert "`--model FILE`" in str(caught.value)


@pytest.mark.parametrize("name", ["ViT-Z/99", "./nowhere.pt", "Mini", ""])
def test_an_unknown_model_lists_the_known(name: str, cache: ModelCache) -> None:
    with pytest.raises(UnknownModel, match=r"mini, RN50, .*ViT-L/14@336px") as caught:
        find_model(name, cache)
    assert repr(name) in str(caught.value)


def test_a_folder_without_a_model_says_what_it_lacks(cache: ModelCache, tmp_path: Path) -> None:
    with pytest.raises(UnknownModel, match=r"model\.safetensors, merges\.txt\.gz and model\.json"):
        find_model(tmp_path, cache)


def test_a_cache_that_cannot_be_made_is_named(weights_file: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ModelError, match=r"cannot be kept in .*file"):
        find_model(weights_file, ModelCache(tmp_path / "file"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_cache_that_may_not_be_written_is_named(weights_file: Path, tmp_path: Path) -> None:
    (tmp_path / "closed" / "files").mkdir(parents=True)
    (tmp_path / "closed" / "files").chmod(0o555)
    with pytest.raises(ModelError, match=r"cannot be kept in .*closed.*CLIPSEARCH_CACHE"):
        find_model(weights_file, ModelCache(tmp_path / "closed"))


def test_a_lock_that_cannot_be_taken_is_one_sentence(weights_file: Path, tmp_path: Path) -> None:
    merges = weights_file.with_name("merges.txt.gz")
    weights, words = (hashlib.sha256(f.read_bytes()).hexdigest() for f in (weights_file, merges))
    (tmp_path / "cache" / "files" / f"{weights[:16]}-{words[:8]}.lock").mkdir(parents=True)
    with pytest.raises(ModelError, match=r"cannot be kept in .*directory.*CLIPSEARCH_CACHE"):
        find_model(weights_file, ModelCache(tmp_path / "cache"))


def test_mini_is_the_bundled_folder(
    cache: ModelCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "MINI_FOLDER", tmp_path / "mini")
    with pytest.raises(ModelUnavailable, match="make train-mini"):
        find_model("mini", cache)
    write_bundle(tmp_path / "mini")
    assert find_model("mini", cache) == tmp_path / "mini"


def test_finding_a_bundle_imports_no_torch(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "tiny")
    program = (
        "import sys; from pathlib import Path\n"
        "from clipsearch.clip.models import find_model\n"
        "from clipsearch.clip.cache import ModelCache\n"
        f"find_model({str(folder)!r}, ModelCache(Path({str(tmp_path / 'cache')!r})))\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
