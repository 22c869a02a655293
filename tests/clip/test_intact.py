"""A bundle whose bytes have changed is refused, and an unchanged one is not read again."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from clipsearch.clip import intact
from clipsearch.clip.cache import ModelCache
from clipsearch.clip.lite import LiteEncoder
from clipsearch.clip.manifest import MANIFEST_FILE, WEIGHTS_FILE
from clipsearch.clip.models import find_model
from clipsearch.errors import BrokenCheckpoint
from tests.clip.tiny import write_bundle


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_bundle(tmp_path / "models" / "tiny")


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that were read whole."""
    read: list[Path] = []
    whole = intact.sha256_of

    def noting(path: Path) -> str:
        read.append(path)
        return whole(path)

    monkeypatch.setattr(intact, "sha256_of", noting)
    return read


def flip_last_bit(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        last = file.read(1)[0]
        file.seek(-1, os.SEEK_END)
        file.write(bytes([last ^ 1]))


def test_a_flipped_bit_is_one_sentence_with_the_remedy(folder: Path, tmp_path: Path) -> None:
    flip_last_bit(folder / WEIGHTS_FILE)
    with pytest.raises(BrokenCheckpoint, match=r"model\.safetensors has been damaged") as caught:
        LiteEncoder.load(folder, cache=ModelCache(tmp_path / "cache"))
    assert "delete the folder" in str(caught.value) and "\n" not in str(caught.value)


def test_a_bundle_is_read_whole_once(folder: Path, tmp_path: Path, reads: list[Path]) -> None:
    for _ in range(3):
        find_model(folder, ModelCache(tmp_path / "cache"))
    assert reads == [folder / WEIGHTS_FILE]


def test_a_bit_that_flips_later_is_noticed_by_the_time_of_the_file(
    folder: Path, tmp_path: Path, reads: list[Path]
) -> None:
    find_model(folder, ModelCache(tmp_path / "cache"))
    flip_last_bit(folder / WEIGHTS_FILE)
    os.utime(folder / WEIGHTS_FILE, (1, 1))
    with pytest.raises(BrokenCheckpoint, match="damaged"):
        find_model(folder, ModelCache(tmp_path / "cache"))
    assert len(reads) == 2


def test_where_nothing_can_be_remembered_it_is_read_each_time(
    folder: Path, tmp_path: Path, reads: list[Path]
) -> None:
    (tmp_path / "cache").write_text("a file where a folder should be")
    for _ in range(2):
        find_model(folder, ModelCache(tmp_path / "cache"))
    assert len(reads) == 2


def test_a_bundle_from_before_there_were_checksums_is_taken(folder: Path, tmp_path: Path) -> None:
    values = json.loads((folder / MANIFEST_FILE).read_text())
    del values["weights_sha256"]
    (folder / MANIFEST_FILE).write_text(json.dumps(values))
    assert find_model(folder, ModelCache(tmp_path / "cache")) == folder


def test_mini_is_what_was_trained(tmp_path: Path, reads: list[Path]) -> None:
    assert find_model("mini", ModelCache(tmp_path / "cache")) == reads[0].parent
