"""Vectors as SQLite keeps them: float16 bytes, little-endian, and their CRC-32, because SQLite
itself does not notice a flipped bit in a BLOB. Knows nothing of tables."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clipsearch.errors import CatalogError
from clipsearch.vectors import HalfArray

STORED = np.dtype("<f2")
# float16 rounds each number by at most 1 part in 2,048, and so a length by no more; twice that.
LENGTH_ERROR = 2.0**-10


def pack(vectors: NDArray[Any], dimension: int) -> list[tuple[bytes, int]]:
    """Vectors `[n, dim]` of any float type → n pairs (bytes, CRC-32).

    Raises CatalogError for another shape and for numbers that float16 cannot hold.
    """
    if vectors.ndim != 2 or vectors.shape[1] != dimension:
        raise CatalogError(
            f"the library's model makes vectors of shape [n, {dimension}], not {vectors.shape}"
        )
    with np.errstate(over="ignore"):  # it becomes infinity, which is refused below
        half = vectors.astype(STORED)
    if not np.isfinite(half).all():
        raise CatalogError("a vector holds NaN, infinity or a number too large for float16")
    blobs = [row.tobytes() for row in half]
    return [(blob, zlib.crc32(blob)) for blob in blobs]


def first_damaged(blobs: Sequence[bytes], checksums: Sequence[int], dimension: int) -> int | None:
    """The position of the first blob with a wrong length or CRC-32, None if all are sound."""
    n_bytes = dimension * STORED.itemsize
    for position, (blob, checksum) in enumerate(zip(blobs, checksums, strict=True)):
        if zlib.crc32(blob) != checksum or len(blob) != n_bytes:
            return position
    return None


def flaws(blobs: Sequence[bytes], checksums: Sequence[int], dimension: int) -> dict[int, str]:
    """What is wrong with which of n blobs, by position: length, CRC-32, numbers, unit length."""
    n_bytes, found, sound = dimension * STORED.itemsize, {}, []
    for position, (blob, checksum) in enumerate(zip(blobs, checksums, strict=True)):
        if len(blob) != n_bytes:
            found[position] = f"is {len(blob)} bytes long instead of {n_bytes}"
        elif zlib.crc32(blob) != checksum:
            found[position] = "does not match its checksum"
        else:
            sound.append(position)
    wide = unpack([blobs[position] for position in sound], dimension).astype(np.float64)
    for position, length in zip(sound, np.sqrt((wide * wide).sum(axis=1)), strict=True):
        if not np.isfinite(length):
            found[position] = "holds NaN or infinity"
        elif abs(length - 1) > LENGTH_ERROR:
            found[position] = f"has length {length:.4g} instead of 1"
    return found


def damage(image_id: int, path: Path) -> str:
    """What to say of a damaged blob."""
    return (
        f"the stored vector of image {image_id} ({path}) is damaged, its checksum does not "
        "match: restore the library from a copy, or run clipsearch repair"
    )


def misled(path: Path) -> str:
    """What to say of a catalog whose index leads to vectors that nobody asked for."""
    return (
        f"{path} is damaged, an index in it leads to other rows: restore it from a copy, or run "
        "clipsearch repair"
    )


def lost_model(path: Path) -> str:
    """What to say of a catalog whose model is not in its table."""
    return (
        f"{path} does not say what its model is: restore it from a copy, or run clipsearch repair"
    )


def unpack(blobs: Sequence[bytes], dimension: int) -> HalfArray:
    """n sound blobs → float16 `[n, dim]`, read-only."""
    flat = np.frombuffer(b"".join(blobs), dtype=STORED)
    return flat.reshape(len(blobs), dimension).astype(np.float16, copy=False)
