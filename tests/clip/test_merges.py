from __future__ import annotations

import gzip
import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from clipsearch.clip import merges
from clipsearch.clip.cache import ModelCache
from clipsearch.clip.merges import find_clip_merges, merges_for
from clipsearch.clip.registry import CLIP_MERGES, CLIP_MERGES_FILE
from clipsearch.clip.tokenizer import Tokenizer, packed_merges
from clipsearch.errors import ModelUnavailable

CONTENT = gzip.compress(b"#version\na b\n")


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without open_clip, where CONTENT is what was published."""
    known = replace(CLIP_MERGES, sha256=hashlib.sha256(CONTENT).hexdigest())
    monkeypatch.setattr(merges, "CLIP_MERGES", known)
    monkeypatch.setattr(merges, "_open_clip_folders", lambda: [])


def put(folder: Path, content: bytes = CONTENT) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / CLIP_MERGES_FILE).write_bytes(content)
    return folder / CLIP_MERGES_FILE


def test_an_installed_open_clip_has_them(openai_merges_path: Path, tmp_path: Path) -> None:
    assert find_clip_merges(ModelCache(tmp_path, offline=True)) == openai_merges_path


def test_a_bundle_keeps_only_the_merges_in_use_and_tokenizes_the_same(
    openai_merges_path: Path, openai_tokenizer: Tokenizer, tmp_path: Path
) -> None:
    (tmp_path / "packed").write_bytes(packed_merges(openai_merges_path))
    packed = Tokenizer.from_file(tmp_path / "packed")
    assert vars(packed)["_ranks"] == vars(openai_tokenizer)["_ranks"]
    assert (packed.vocab_size, packed.end_token) == (49408, 49407)
    assert (tmp_path / "packed").stat().st_size < 250_000 < openai_merges_path.stat().st_size
    assert packed_merges(tmp_path / "packed") == (tmp_path / "packed").read_bytes()


@pytest.mark.usefixtures("nowhere")
def test_beside_the_file_comes_before_the_cache(tmp_path: Path) -> None:
    cache = ModelCache(tmp_path / "cache", offline=True)
    cached = put(cache.folder)
    assert merges_for(tmp_path / "a.pt", 49408, cache) == cached
    beside = put(tmp_path)
    assert merges_for(tmp_path / "a.pt", 49408, cache) == beside


@pytest.mark.usefixtures("nowhere")
def test_a_model_may_bring_merges_of_its_own(tmp_path: Path) -> None:
    cache = ModelCache(tmp_path / "cache", offline=True)
    put(cache.folder)
    own = tmp_path / "merges.txt.gz"
    own.write_bytes(CONTENT)
    assert merges_for(tmp_path / "a.pt", 49408, cache) == own


@pytest.mark.usefixtures("nowhere")
def test_changed_merges_are_passed_over(tmp_path: Path) -> None:
    put(tmp_path, CONTENT + b"\0")
    with pytest.raises(ModelUnavailable, match="the vocabulary of CLIP's models"):
        find_clip_merges(ModelCache(tmp_path, offline=True))


@pytest.mark.usefixtures("nowhere")
def test_without_them_one_sentence_says_where_they_would_be_fetched(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match=r"raw\.githubusercontent\.com"):
        merges_for(tmp_path / "a.pt", 49408, ModelCache(tmp_path, offline=True))
