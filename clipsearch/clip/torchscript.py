"""OpenAI's `.pt` files, TorchScript archives, read as data: path → state dict.

The pickle in the archive may name a few harmless things and inert stubs; anything else is refused,
so nothing in the file can run. Knows nothing of CLIP.
"""

from __future__ import annotations

import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

# The module tree of a CLIP takes about 100 KiB; more is an attack on the memory.
MAX_PICKLE_BYTES = 64 * 1024 * 1024

BLOCK_BYTES = 1024 * 1024

MODULE_PREFIX = "__torch__."

STORAGE_DTYPES = {
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "DoubleStorage": torch.float64,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}


class UnsafeArchive(ValueError):
    """The archive holds something that a weights file has no need for."""


def is_torchscript(path: Path) -> bool:
    """Whether a zip file is a TorchScript archive, and not the plain state dict of `torch.save`.

    Raises zipfile.BadZipFile if it is no zip file.
    """
    with zipfile.ZipFile(path) as archive:
        return any(
            name.count("/") == 1 and name.endswith("/constants.pkl") for name in archive.namelist()
        )


def read_torchscript(path: Path) -> dict[str, Tensor]:
    """Every tensor of the module tree under its dotted name, in the dtype of the file, on the CPU.

    Its parts have to have passed `check_parts`. Raises UnsafeArchive for what is not allowed, and
    for damage whatever zipfile and pickle raise.
    """
    with zipfile.ZipFile(path) as archive:
        root = archive.namelist()[0].partition("/")[0]
        if (
            f"{root}/byteorder" in archive.namelist()
            and archive.read(f"{root}/byteorder") != b"little"
        ):
            raise UnsafeArchive("its numbers are not little-endian")
        reader = _Reader(archive, root)
        return dict(_tensors(reader.load(), ""))


def check_parts(path: Path) -> None:
    """Refuse a zip file that would unpack to more than itself: tensors are never compressed.

    Raises UnsafeArchive, or zipfile.BadZipFile if it is no zip file.
    """
    stored = 0
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            _, _, inside = entry.filename.partition("/")
            if inside.startswith("data/"):
                if entry.compress_type != zipfile.ZIP_STORED:
                    raise UnsafeArchive(f"its part {entry.filename} is compressed")
                stored += entry.file_size
            elif entry.file_size > MAX_PICKLE_BYTES:
                raise UnsafeArchive(f"its part {entry.filename} is too large")
    if stored > path.stat().st_size:
        raise UnsafeArchive("its parts overlap")


def check_sums(path: Path) -> None:
    """Hold the tensors against their CRC-32, which torch does not do where it maps a file.

    Its parts have to have passed `check_parts`. Raises zipfile.BadZipFile.
    """
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            if entry.filename.partition("/")[2].startswith("data/"):
                with archive.open(entry) as part:
                    while part.read(BLOCK_BYTES):
                        pass  # the end of a part is where its sum is looked at


class _Module:
    """Stands for any class of the archive: holds attributes, does nothing."""


@dataclass(frozen=True)
class _StorageType:
    """Stands for `torch.FloatStorage` and its like; cannot be called."""

    dtype: torch.dtype


class _Reader(pickle.Unpickler):
    def __init__(self, archive: zipfile.ZipFile, root: str) -> None:
        super().__init__(BytesIO(archive.read(f"{root}/data.pkl")))
        self._archive = archive
        self._root = root
        self._storages: dict[str, Tensor] = {}

    def find_class(self, module_name: str, global_name: str) -> Any:
        """Called for every global that the pickle names; whatever is not listed here is refused."""
        if module_name.startswith(MODULE_PREFIX) or module_name == MODULE_PREFIX[:-1]:
            return _Module
        if module_name == "torch" and global_name in STORAGE_DTYPES:
            return _StorageType(STORAGE_DTYPES[global_name])
        if (module_name, global_name) in HARMLESS:
            return HARMLESS[module_name, global_name]
        raise UnsafeArchive(
            f"it asks for {module_name}.{global_name}, which weights have no need for"
        )

    def persistent_load(self, pid: Any) -> Tensor:
        """A storage as a flat tensor. `pid` is ("storage", type, key, location, n_elements)."""
        kind, storage_type, key, _location, numel = pid
        if kind != "storage" or not isinstance(storage_type, _StorageType):
            raise UnsafeArchive("it refers to something that is not a tensor's storage")
        if key not in self._storages:
            content = self._archive.read(f"{self._root}/data/{key}")  # its CRC-32 is checked here
            if len(content) != numel * storage_type.dtype.itemsize:
                raise UnsafeArchive(
                    f"its storage {key} has {len(content)} bytes, not {numel} numbers"
                )
            # frombuffer wants memory that it may write to, and at least one byte of it.
            flat = torch.empty(0, dtype=storage_type.dtype)
            if content:
                flat = torch.frombuffer(bytearray(content), dtype=storage_type.dtype)
            self._storages[key] = flat
        return self._storages[key]


def _rebuild_tensor(
    storage: Tensor, offset: int, size: Sequence[int], stride: Sequence[int], *_unused: object
) -> Tensor:
    """A view into a storage, refused where it would leave it."""
    numbers = [offset, *size, *stride]
    if not isinstance(storage, Tensor) or any(type(n) is not int or n < 0 for n in numbers):
        raise UnsafeArchive("a tensor has a size that is no number")
    n_elements = prod(size)
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if n_elements > len(storage) or (n_elements and last >= len(storage)):
        raise UnsafeArchive("a tensor is larger than its storage")
    return storage.as_strided(tuple(size), tuple(stride), offset)


def _first(value: object, *_unused: object) -> object:
    """Stands for functions that only say more about their first argument."""
    return value


HARMLESS: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): _first,
    ("torch.jit._pickle", "build_intlist"): _first,
    ("torch.jit._pickle", "build_doublelist"): _first,
    ("torch.jit._pickle", "build_boollist"): _first,
    ("torch.jit._pickle", "build_tensorlist"): _first,
    ("torch.jit._pickle", "restore_type_tag"): _first,
}


def _tensors(node: object, prefix: str, path: tuple[int, ...] = ()) -> Iterator[tuple[str, Tensor]]:
    """Walk the stubs; `path` are those above, by which a tree that bites its tail is seen."""
    if id(node) in path:
        raise UnsafeArchive("its modules contain each other")
    for name, value in vars(node).items():
        if isinstance(value, Tensor):
            yield f"{prefix}{name}", value
        elif isinstance(value, _Module):
            yield from _tensors(value, f"{prefix}{name}.", (*path, id(node)))
