from __future__ import annotations

import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from clipsearch.clip.checkpoint import read_checkpoint
from clipsearch.clip.config import ClipConfig
from clipsearch.clip.torchscript import read_torchscript
from clipsearch.errors import BrokenCheckpoint
from tests.clip.tiny import RESNET, VIT, random_weights

# torch wants to be rid of TorchScript, but OpenAI's files remain.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit")

Weights = dict[str, Tensor]
Save = Callable[[Weights, Path], None]


class Branch(nn.Module):
    """A module that torch can trace, whatever is hung into it."""

    def forward(self, x: Tensor) -> Tensor:
        return x


def save_torchscript(weights: Weights, path: Path) -> None:
    """Write the module tree as OpenAI did: every weight, three numbers, and code beside them."""
    root = Branch()
    for name, tensor in weights.items():
        *branches, leaf = name.split(".")
        node: nn.Module = root
        for branch in branches:
            if not hasattr(node, branch):
                node.add_module(branch, Branch())
            node = getattr(node, branch)
        node.register_buffer(leaf, tensor)
    for name in ("input_resolution", "context_length", "vocab_size"):
        root.register_buffer(name, torch.tensor(77))
    torch.jit.save(torch.jit.trace(root, torch.zeros(1)), path)


def save_wrapped(weights: Weights, path: Path) -> None:
    """As training programs do: several things in one file, and a prefix from data parallelism."""
    prefixed = {f"module.{name}": tensor for name, tensor in weights.items()}
    torch.save({"epoch": 3, "state_dict": prefixed}, path)


FORMATS: dict[str, Save] = {
    "safetensors": save_file,
    "torch": torch.save,
    "wrapped": save_wrapped,
    "torchscript": save_torchscript,
}


@pytest.mark.parametrize("config", [VIT, RESNET], ids=["vit", "resnet"])
@pytest.mark.parametrize("save", FORMATS.values(), ids=FORMATS)
def test_every_format_gives_the_same_sizes_and_weights(
    save: Save, config: ClipConfig, tmp_path: Path
) -> None:
    weights = random_weights(config)
    save(weights, tmp_path / "weights")
    found_config, found = read_checkpoint(tmp_path / "weights")
    assert found_config == config
    assert found.keys() == weights.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in weights.items())


def test_an_archive_read_as_data_equals_what_torch_loads(tmp_path: Path) -> None:
    weights = {name: tensor.half() for name, tensor in random_weights().items()}
    weights["visual.proj"] = weights["visual.proj"].T.contiguous().T  # a stride of its own
    save_torchscript(weights, tmp_path / "weights.pt")
    found = read_torchscript(tmp_path / "weights.pt")
    wanted = torch.jit.load(tmp_path / "weights.pt").state_dict()
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in wanted.items())
    assert found["visual.proj"].dtype == torch.float16


def test_what_is_no_weight_is_left_out(tmp_path: Path) -> None:
    weights = random_weights()
    spare = {"transformer.attn_mask": torch.zeros(3), "text_model.position_ids": torch.arange(3)}
    save_file(weights | spare, tmp_path / "weights")
    assert read_checkpoint(tmp_path / "weights")[1].keys() == weights.keys()


def test_an_attribute_in_an_archive_is_not_taken_for_a_weight(tmp_path: Path) -> None:
    weights = random_weights()
    save_torchscript(weights | {"visual.scratch": torch.ones(3)}, tmp_path / "weights.pt")
    assert read_checkpoint(tmp_path / "weights.pt")[1].keys() == weights.keys()


def test_a_scale_in_a_list_of_one_is_taken_out(tmp_path: Path) -> None:
    weights = random_weights() | {"logit_scale": torch.tensor([2.5])}
    save_file(weights, tmp_path / "weights")
    assert read_checkpoint(tmp_path / "weights")[1]["logit_scale"] == torch.tensor(2.5)


class Canary:
    """Unpickled carelessly, it makes a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


def repack(source: Path, target: Path, changes: dict[str, bytes], compress: bool = False) -> None:
    """Copy a zip file with other contents in some of its parts, named without the root folder."""
    method = zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", method) as new:
        for name in old.namelist():
            new.writestr(name, changes.get(name.partition("/")[2], old.read(name)))


@pytest.mark.parametrize("save", [torch.save, save_torchscript], ids=["torch", "torchscript"])
def test_code_in_a_pickle_does_not_run(save: Save, tmp_path: Path) -> None:
    save(random_weights(), tmp_path / "good.pt")
    evil = tmp_path / "evil.pt"
    repack(tmp_path / "good.pt", evil, {"data.pkl": pickle.dumps(Canary(tmp_path / "canary"), 2)})
    with pytest.raises(BrokenCheckpoint, match=r"evil\.pt .*unsafe"):
        read_checkpoint(evil)
    assert not (tmp_path / "canary").exists()
    pickle.loads(pickle.dumps(Canary(tmp_path / "canary"), 2))
    assert (tmp_path / "canary").exists()  # the canary could have sung


def test_a_bare_pickle_does_not_run(tmp_path: Path) -> None:
    evil = tmp_path / "evil.pt"
    evil.write_bytes(pickle.dumps(Canary(tmp_path / "canary")))
    with pytest.raises(BrokenCheckpoint, match=r"evil\.pt"):
        read_checkpoint(evil)
    assert not (tmp_path / "canary").exists()


def archive(
    path: Path, numel: int, offset: int, size: tuple[int, ...], stride: tuple[int, ...]
) -> Path:
    """An archive with one tensor "w" over the numbers 0 to 5, described as the test likes."""

    def number(value: int) -> bytes:
        return b"J" + struct.pack("<i", value)

    def numbers(values: tuple[int, ...]) -> bytes:
        return b"(" + b"".join(number(value) for value in values) + b"t"

    storage = b"(U\x07storagectorch\nFloatStorage\nU\x010U\x03cpu" + number(numel) + b"tQ"
    tensor = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + number(offset)
    tensor += numbers(size) + numbers(stride) + b"\x89ccollections\nOrderedDict\n)RtR"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("root/data.pkl", b"\x80\x02c__torch__\nRoot\n)\x81}(U\x01w" + tensor + b"ub.")
        file.writestr("root/data/0", struct.pack("<6f", *range(6)))
        file.writestr("root/constants.pkl", b"")
    return path


def test_a_hand_made_archive_can_be_read(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.pt", 6, 1, (2, 2), (1, 2))
    assert read_torchscript(path)["w"].tolist() == [[1.0, 3.0], [2.0, 4.0]]


@pytest.mark.parametrize(
    "numbers",
    [
        (6, 5, (2,), (1,)),  # beyond the end
        (6, -1, (2,), (1,)),  # before the start
        (6, 0, (2, 2), (1, 9)),  # strides that lead out
        (6, 0, (1000, 1000), (0, 0)),  # a little that claims to be much
        (7, 0, (2,), (1,)),  # a storage shorter than it says
    ],
)
def test_a_tensor_that_leaves_its_storage_is_refused(
    numbers: tuple[int, int, tuple[int, ...], tuple[int, ...]], tmp_path: Path
) -> None:
    path = archive(tmp_path / "a.pt", *numbers)
    with pytest.raises(BrokenCheckpoint, match=r"a\.pt is damaged"):
        read_checkpoint(path)


def test_a_zip_bomb_is_refused(tmp_path: Path) -> None:
    save_torchscript(random_weights(), tmp_path / "good.pt")
    repack(tmp_path / "good.pt", tmp_path / "bomb.pt", {}, compress=True)
    with pytest.raises(BrokenCheckpoint, match="compressed"):
        read_checkpoint(tmp_path / "bomb.pt")


@pytest.mark.parametrize("save", FORMATS.values(), ids=FORMATS)
@pytest.mark.parametrize("part", [0.2, 0.9], ids=["start", "most"])
def test_a_file_cut_short_is_refused_by_name(save: Save, part: float, tmp_path: Path) -> None:
    path = tmp_path / "cut.pt"
    save(random_weights(), path)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * part)])
    with pytest.raises(BrokenCheckpoint, match=r"cut\.pt") as caught:
        read_checkpoint(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("save", [save_torchscript, torch.save], ids=["torchscript", "torch"])
def test_a_bit_flipped_in_an_archive_is_noticed(save: Save, tmp_path: Path) -> None:
    path = tmp_path / "flipped.pt"
    save(random_weights(), path)
    with zipfile.ZipFile(path) as file:
        name = next(name for name in file.namelist() if "/data/" in name and file.read(name))
        start = path.read_bytes().index(file.read(name))
    content = bytearray(path.read_bytes())
    content[start] ^= 1
    path.write_bytes(content)
    with pytest.raises(BrokenCheckpoint, match="CRC"):
        read_checkpoint(path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is damaged"),
        (b"\n<!DOCTYPE html><html>", "a web page"),
        (b"PK\x03\x04 and no more", "is damaged"),
        (b"\xff" * 7 + b"\x7f{}", "is damaged"),
        (b"GIF89a" * 10, "begins like none"),
    ],
    ids=["empty", "html", "zip", "huge header", "picture"],
)
def test_what_is_no_weights_file_is_refused(content: bytes, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "file.pt"
    path.write_bytes(content)
    with pytest.raises(BrokenCheckpoint, match=reason) as caught:
        read_checkpoint(path)
    assert "file.pt" in str(caught.value)


def without(name: str) -> Weights:
    return {key: tensor for key, tensor in random_weights().items() if key != name}


@pytest.mark.parametrize(
    ("weights", "reason"),
    [
        (without("visual.ln_post.bias"), r"'visual\.ln_post\.bias' is missing"),
        (without("ln_final.weight"), r"'ln_final\.weight' is missing"),
        (random_weights() | {"extra.weight": torch.zeros(1)}, r"'extra\.weight'"),
        (random_weights() | {"ln_final.bias": torch.zeros(3)}, r"shape \[3\] and not \[64\]"),
        (random_weights() | {"logit_scale": torch.tensor(torch.nan)}, "NaN or infinity"),
        (random_weights() | {"visual.conv1.weight": torch.zeros(2)}, "cannot be used"),
        (random_weights() | {"visual.conv1.weight": torch.zeros(0, 3, 8, 8)}, "is empty"),
        ({"a": torch.zeros(2)}, "no CLIP"),
    ],
    ids=["missing", "missing size", "surplus", "shape", "nan", "no kernel", "empty", "other model"],
)
def test_weights_of_no_clip_are_refused(weights: Weights, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "odd.safetensors"
    save_file(weights, path)
    with pytest.raises(BrokenCheckpoint, match=reason) as caught:
        read_checkpoint(path)
    assert "odd.safetensors" in str(caught.value)


def test_a_file_without_a_state_dict_is_refused(tmp_path: Path) -> None:
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(BrokenCheckpoint, match="no state dict"):
        read_checkpoint(tmp_path / "list.pt")
