"""Weights files as mapped arrays: equal to what the library that writes them reads, or refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from clipsearch.clip.mapped import MAX_HEADER_BYTES, MappedWeights
from clipsearch.errors import BrokenCheckpoint

DTYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16]


def write(path: Path, header: Any, data: bytes = b"", length: int | None = None) -> Path:
    """A file with whatever header; `length` is what it says of the header."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    n_header = len(text) if length is None else length
    path.write_bytes(n_header.to_bytes(8, "little") + text + data)
    return path


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_arrays_are_the_tensors_as_float32(tmp_path: Path, dtype: torch.dtype) -> None:
    tensor = torch.randn(5, 3, generator=torch.manual_seed(0)).to(dtype)
    path = tmp_path / "odd [name].safetensors"
    save_file({"one": torch.ones(1), "two": tensor}, path, metadata={"format": "pt"})
    weights = MappedWeights(path)
    found = weights.array("two", 5, 3)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, tensor.float().numpy())
    np.testing.assert_array_equal(weights.rows("two", [4, 0, 4], 5, 3), found[[4, 0, 4]])


def test_nothing_can_be_written_through_an_array(tmp_path: Path) -> None:
    save_file({"one": torch.ones(3)}, tmp_path / "file")
    with pytest.raises(ValueError, match="read-only"):
        MappedWeights(tmp_path / "file").array("one", 3)[0] = 2


def test_a_tensor_of_another_name_shape_or_kind_is_refused(tmp_path: Path) -> None:
    save_file({"one": torch.ones(3), "ids": torch.arange(3)}, tmp_path / "file")
    weights = MappedWeights(tmp_path / "file")
    for name, shape, said in (("two", 3, "missing"), ("one", 4, "shape"), ("ids", 3, "no float")):
        with pytest.raises(BrokenCheckpoint, match=said) as refused:
            weights.array(name, shape)
        assert str(tmp_path / "file") in str(refused.value)


def tensor(start: object = 0, end: object = 8, shape: object = (2,), dtype: str = "F32") -> Any:
    return {"one": {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}}


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"{",
        b"\xff\xfe{}",
        b"[1, 2]",
        b"<html>not found</html>",
        b"[" * 100_000,
        {"one": 1},
        {"one": {}},
        {"one": {"dtype": "F32", "shape": [2]}},
        tensor(end=9),
        tensor(end=16),
        tensor(start=8, end=0),
        tensor(start=-8, end=0),
        tensor(start="0"),
        tensor(end=None),
        tensor(end=8.0),
        tensor(shape=(-2,)),
        tensor(shape=(2, 2**62)),
        tensor(shape=2),
        tensor(shape=(2.0,)),
    ],
    ids=lambda header: str(header)[:40],
)
def test_what_is_no_such_file_is_refused_by_name(tmp_path: Path, header: Any) -> None:
    path = write(tmp_path / "bad.safetensors", header, bytes(8))
    with pytest.raises(BrokenCheckpoint, match=r"bad\.safetensors cannot be used"):
        MappedWeights(path)


@pytest.mark.parametrize("length", [0, 1, 1000, MAX_HEADER_BYTES + 1, 2**40, 2**64 - 1])
def test_a_header_of_an_impossible_length_is_not_read(tmp_path: Path, length: int) -> None:
    path = write(tmp_path / "bad.safetensors", tensor(), bytes(8), length)
    with pytest.raises(BrokenCheckpoint, match="header"):
        MappedWeights(path)


def test_a_file_cut_anywhere_is_refused(tmp_path: Path) -> None:
    save_file({"one": torch.ones(3), "two": torch.ones(5)}, tmp_path / "whole")
    content = (tmp_path / "whole").read_bytes()
    for length in range(len(content)):
        (tmp_path / "cut").write_bytes(content[:length])
        with pytest.raises(BrokenCheckpoint):
            MappedWeights(tmp_path / "cut")


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BrokenCheckpoint, match="none"):
        MappedWeights(tmp_path / "none")
