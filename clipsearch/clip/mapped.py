"""A `.safetensors` file as numpy arrays over mapped memory: only what is read comes off the disk.

In: a path. Out: float32 arrays by name, each of the shape that the caller expects.
Knows nothing of torch or of models.
"""

from __future__ import annotations

import json
import math
import mmap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clipsearch.errors import BrokenCheckpoint
from clipsearch.vectors import FloatArray

LENGTH_BYTES = 8  # of the header, little-endian, at the start of the file
MAX_HEADER_BYTES = 1 << 24  # ViT-L/14 takes 80 thousand

# numpy has no bfloat16: it is the upper half of a float32.
DTYPES: dict[str, str] = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}


@dataclass(frozen=True)
class _Entry:
    """Where a tensor lies, in bytes from the start of the file."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


class MappedWeights:
    """The tensors of one file. Threads may share it; nothing is ever written.

    Raises BrokenCheckpoint, with a message that names the file, if it is no such file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            with path.open("rb") as file:
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            self._bytes = np.frombuffer(self._map, dtype=np.uint8)
            self._entries = _entries(self._bytes)
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise self._broken(str(error)) from error

    def array(self, name: str, *shape: int) -> FloatArray:
        """The whole tensor as float32; without a copy if it is stored as that."""
        return _as_float32(self._stored(name, shape), self._entries[name].dtype)

    def rows(self, name: str, rows: Sequence[int], *shape: int) -> FloatArray:
        """Some rows of a tensor of this shape, as float32. The others stay on the disk."""
        return _as_float32(self._stored(name, shape)[list(rows)], self._entries[name].dtype)

    def rest(self) -> None:
        """Give back the memory that mapped pages take; they come back when they are read."""
        if hasattr(mmap, "MADV_DONTNEED"):  # not on Windows
            self._map.madvise(mmap.MADV_DONTNEED)

    def _stored(self, name: str, shape: tuple[int, ...]) -> NDArray[Any]:
        entry = self._entries.get(name)
        if entry is None:
            raise self._broken(f"the tensor {name!r} is missing")
        if entry.shape != shape:
            raise self._broken(
                f"the tensor {name!r} has the shape {list(entry.shape)} and not {list(shape)}"
            )
        if entry.dtype not in DTYPES:
            raise self._broken(f"the tensor {name!r} holds {entry.dtype}, which is no float")
        return self._bytes[entry.start : entry.end].view(DTYPES[entry.dtype]).reshape(shape)

    def _broken(self, reason: str) -> BrokenCheckpoint:
        return BrokenCheckpoint(
            f"{self._path} cannot be used ({reason}): delete the folder and fetch or convert the"
            " model again"
        )


def _entries(content: NDArray[np.uint8]) -> dict[str, _Entry]:
    """Read the header. Raises ValueError, KeyError or TypeError for anything that is none."""
    n_header = int.from_bytes(content[:LENGTH_BYTES].tobytes(), "little")
    data = LENGTH_BYTES + n_header
    if not 2 <= n_header <= MAX_HEADER_BYTES or data > content.size:
        raise ValueError(f"its header cannot be {n_header} bytes long")
    header = json.loads(content[LENGTH_BYTES:data].tobytes().decode("utf-8"))
    if not isinstance(header, dict):
        raise TypeError(f"its header is a {type(header).__name__}")
    return {
        name: _entry(name, values, data, content.size)
        for name, values in header.items()
        if name != "__metadata__"
    }


def _entry(name: str, values: dict[str, Any], data: int, size: int) -> _Entry:
    dtype, shape = str(values["dtype"]), tuple(values["shape"])
    start, end = (data + offset for offset in values["data_offsets"])
    if not all(isinstance(number, int) and number >= 0 for number in (*shape, start, end)):
        raise ValueError(f"the tensor {name!r} has a shape or place that is no number")
    if not data <= start <= end <= size:
        raise ValueError(f"the tensor {name!r} lies beyond the end of the file")
    if dtype in DTYPES and end - start != math.prod(shape) * np.dtype(DTYPES[dtype]).itemsize:
        raise ValueError(f"the tensor {name!r} has another size than its shape says")
    return _Entry(dtype, shape, start, end)


def _as_float32(stored: NDArray[Any], dtype: str) -> FloatArray:
    if dtype == "BF16":
        widened: FloatArray = (stored.astype(np.uint32) << 16).view(np.float32)
        return widened
    floats: FloatArray = stored.astype(np.float32, copy=False)
    return floats
