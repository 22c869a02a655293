"""Files that are damaged or mean harm: each ends in one sentence with the file's name."""

from __future__ import annotations

import json
import os
import pickle
import random
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from clipsearch.clip.cache import ModelCache
from clipsearch.clip.checkpoint import read_checkpoint
from clipsearch.clip.merges import merges_for
from clipsearch.clip.models import find_model
from clipsearch.clip.tokenizer import Tokenizer
from clipsearch.errors import BrokenCheckpoint, ClipsearchError
from tests.clip.test_checkpoint import repack, save_torchscript
from tests.clip.tiny import random_weights, write_merges

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit")

Save = Callable[[dict[str, Tensor], Path], None]
SAVES: dict[str, Save] = {
    "safetensors": save_file,
    "torch": torch.save,
    "torchscript": save_torchscript,
}
each_format = pytest.mark.parametrize("save", SAVES.values(), ids=SAVES)


def refusal(path: Path) -> str:
    """The one sentence with which a file is refused."""
    with pytest.raises(BrokenCheckpoint) as caught:
        read_checkpoint(path)
    message = str(caught.value)
    assert path.name in message and "\n" not in message and len(message) < 700
    assert ": get " in message or "download it again" in message, "it says what to do"
    assert "weights_only" not in message, "torch's own advice is to run what is in the file"
    return message


class System:
    """Unpickled carelessly, it runs a program."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch '{self.canary}'",)


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("as_state_dict", [True, False])
def test_a_pickle_with_os_system_runs_nothing(
    protocol: int, as_state_dict: bool, tmp_path: Path
) -> None:
    canary = tmp_path / "canary"
    content = pickle.dumps({"visual.proj": System(canary)} if as_state_dict else System(canary), 2)
    bare = pickle.dumps(System(canary), protocol)
    for save in (torch.save, save_torchscript):
        save(random_weights(), tmp_path / "good.pt")
        repack(tmp_path / "good.pt", tmp_path / "evil.pt", {"data.pkl": content})
        refusal(tmp_path / "evil.pt")
    (tmp_path / "bare.bin").write_bytes(bare)
    refusal(tmp_path / "bare.bin")
    assert not canary.exists()
    pickle.loads(bare)
    assert canary.exists()  # it could have


@each_format
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_without_numbers_are_refused(save: Save, value: float, tmp_path: Path) -> None:
    weights = {name: torch.full_like(tensor, value) for name, tensor in random_weights().items()}
    save(weights, tmp_path / "filled.pt")
    assert "holds NaN or infinity" in refusal(tmp_path / "filled.pt")


@each_format
@pytest.mark.parametrize("dtype", [torch.int32, torch.bool, torch.uint8])
def test_weights_that_are_no_fractions_are_refused(
    save: Save, dtype: torch.dtype, tmp_path: Path
) -> None:
    weights = random_weights()
    save(weights | {"visual.proj": weights["visual.proj"].to(dtype)}, tmp_path / "whole.pt")
    assert "'visual.proj' holds numbers of the kind" in refusal(tmp_path / "whole.pt")


@each_format
@pytest.mark.parametrize("seed", range(8))
def test_tensors_of_wrong_shapes_are_refused(save: Save, seed: int, tmp_path: Path) -> None:
    draw = random.Random(seed)
    weights = random_weights()
    name = draw.choice(sorted(weights))
    shape = [draw.randrange(4) for _ in range(draw.randrange(1, 5))]
    if list(weights[name].shape) in (shape, []):
        shape = [9, 9, 9]
    save(weights | {name: torch.ones(shape)}, tmp_path / "shape.pt")
    refusal(tmp_path / "shape.pt")


@each_format
def test_every_missing_tensor_is_noticed(save: Save, tmp_path: Path) -> None:
    weights = random_weights()
    for name in sorted(weights)[::6]:
        kept = {key: tensor for key, tensor in weights.items() if key != name}
        save(kept, tmp_path / "missing.pt")
        refusal(tmp_path / "missing.pt")


@each_format
def test_a_flipped_bit_gives_weights_or_one_sentence(save: Save, tmp_path: Path) -> None:
    """Only a known SHA-256 can find them all; here nothing may crash, hang or run."""
    path = tmp_path / "flipped.pt"
    save(random_weights(), path)
    content = path.read_bytes()
    draw = random.Random(5)
    refused = 0
    for _ in range(60):
        place = draw.choice([draw.randrange(len(content)), draw.randrange(3000)])
        changed = bytearray(content)
        changed[place] ^= 1 << draw.randrange(8)
        path.write_bytes(changed)
        try:
            read_checkpoint(path)
        except BrokenCheckpoint as error:
            refused += 1
            assert "flipped.pt" in str(error) and "\n" not in str(error)
    assert refused


@pytest.mark.parametrize("n_bytes", [2**27, 2**40, 2**63, 2**64 - 1])
def test_a_huge_header_of_safetensors_is_refused(n_bytes: int, tmp_path: Path) -> None:
    path = tmp_path / "huge.safetensors"
    path.write_bytes(struct.pack("<Q", n_bytes) + b'{"a":' + b" " * 1000)
    refusal(path)


@pytest.mark.parametrize("end", [2**40, 2**62, 2**64, -1])
def test_a_header_of_safetensors_that_lies_is_refused(end: int, tmp_path: Path) -> None:
    path = tmp_path / "lies.safetensors"
    entry = {"dtype": "F32", "shape": [end // 4], "data_offsets": [0, end]}
    header = json.dumps({"visual.proj": entry}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(64))
    refusal(path)


def test_a_few_bytes_that_pass_for_a_huge_tensor_are_refused(tmp_path: Path) -> None:
    weights = random_weights() | {"token_embedding.weight": torch.zeros(1).expand(10**12, 64)}
    torch.save(weights, tmp_path / "expanded.pt")
    assert "claim" in refusal(tmp_path / "expanded.pt")


@pytest.mark.parametrize("part", ["data.pkl", "version", "byteorder"])
@pytest.mark.parametrize("save", [torch.save, save_torchscript], ids=["torch", "torchscript"])
def test_a_zip_bomb_is_refused_before_it_is_unpacked(save: Save, part: str, tmp_path: Path) -> None:
    save(random_weights(), tmp_path / "good.pt")
    bomb = tmp_path / "bomb.pt"
    with zipfile.ZipFile(tmp_path / "good.pt") as old, zipfile.ZipFile(bomb, "w") as new:
        for name in old.namelist():
            is_part = name.partition("/")[2] == part
            method = zipfile.ZIP_DEFLATED if is_part else zipfile.ZIP_STORED
            content = bytes(70 * 1024 * 1024) if is_part else old.read(name)
            new.writestr(name, content, compress_type=method)
    assert bomb.stat().st_size < 5_000_000
    assert "is too large" in refusal(bomb)


@pytest.mark.parametrize(
    "content",
    [
        b"<html>",
        b"\xef\xbb\xbf<html>",
        b"\n\n <!DOCTYPE html>",
        b"<?xml version='1.0'?><Error>AccessDenied",
    ],
)
def test_a_web_page_is_called_one(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "model.pt").write_bytes(content)
    assert "is a web page, not weights" in refusal(tmp_path / "model.pt")


def test_a_vocabulary_that_unpacks_without_end_is_refused(tmp_path: Path) -> None:
    import gzip

    bomb = tmp_path / "merges.txt.gz"
    bomb.write_bytes(gzip.compress(bytes(80 * 1024 * 1024)))
    with pytest.raises(BrokenCheckpoint, match=r"merges\.txt\.gz cannot be read \(it is too large"):
        Tokenizer.from_file(bomb)


def test_a_vocabulary_is_looked_for_beside_the_file_first(tmp_path: Path) -> None:
    given = write_merges(tmp_path / "given.gz")
    cache = ModelCache(tmp_path / "cache", offline=True, vocab=given)
    (tmp_path / "weights").mkdir()
    weights = tmp_path / "weights" / "a.pt"
    assert merges_for(weights, 519, cache) == merges_for(weights, 49408, cache) == given
    beside = write_merges(weights.with_name("merges.txt.gz"))
    assert merges_for(weights, 519, cache) == beside


def test_a_vocabulary_that_is_not_there_is_named(tmp_path: Path) -> None:
    cache = ModelCache(tmp_path / "cache", offline=True, vocab=tmp_path / "none.gz")
    save_file(random_weights(), tmp_path / "a.safetensors")
    for _ in range(2):
        with pytest.raises(BrokenCheckpoint, match=r"no vocabulary .*none\.gz.*--vocab"):
            find_model(tmp_path / "a.safetensors", cache)
        write_merges(tmp_path / "merges.txt.gz")  # not needed then, but still a slip


def test_what_is_neither_file_nor_folder_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.pt")
    with pytest.raises(ClipsearchError, match=r"pipe\.pt"):
        find_model(tmp_path / "pipe.pt", ModelCache(tmp_path, offline=True))
