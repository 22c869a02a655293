"""An encoder without weights that gives every picture a vector of its own, and those pictures.

A picture is a seed. Its pixels survive encoding and decoding as they are, so that its vector can
be worked out from the seed alone, without any code of clipsearch.
"""

from __future__ import annotations

import hashlib
import io
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIDE = 8
DIMENSION = 16
HOLD_SECONDS = 30.0
Vector = NDArray[np.float32]


class HashEncoder:
    """The interface of `clipsearch.clip.encoder.Encoder`: pixels → hash → unit vector `[16]`."""

    model_name = "hash"
    model_sha256 = hashlib.sha256(b"hash").hexdigest()
    activation = "none"
    precision = "float32"
    folder = None  # it lies nowhere
    dimension = DIMENSION
    max_tokens = 77
    input_px = SIDE

    def __init__(self) -> None:
        self.preprocess_info: dict[str, Any] = {"size": SIDE}

    def preprocess(self, image: Image.Image) -> NDArray[np.uint8]:
        return np.asarray(image.convert("RGB").resize((SIDE, SIDE)))

    def encode_pixels(self, pixels: NDArray[np.uint8]) -> Vector:
        return np.stack([vector_of(each) for each in pixels])

    def encode_images(self, images: Sequence[Image.Image]) -> Vector:
        return np.stack([vector_of(self.preprocess(image)) for image in images])

    def encode_texts(self, texts: Sequence[str]) -> Vector:
        return np.stack([_unit(text.encode()) for text in texts])

    def n_tokens(self, text: str) -> int:
        return len(text.split()) + 2


class HoldingEncoder(HashEncoder):
    """Encodes nothing before a file is there, so that its run holds the lock as long as wanted."""

    gate: Path | None = None

    def encode_pixels(self, pixels: NDArray[np.uint8]) -> Vector:
        deadline = time.monotonic() + HOLD_SECONDS
        while self.gate is not None and not self.gate.exists() and time.monotonic() < deadline:
            time.sleep(0.001)
        return super().encode_pixels(pixels)


def vector_of(pixels: NDArray[np.uint8]) -> Vector:
    """Pixels `[8, 8, 3]` → their unit vector `[16]`."""
    return _unit(np.ascontiguousarray(pixels).tobytes())


def pixels_of(seed: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)


@cache
def png_of(seed: int) -> bytes:
    content = io.BytesIO()
    Image.fromarray(pixels_of(seed)).save(content, "PNG")
    return content.getvalue()


@cache
def stored_vector(seed: int) -> bytes:
    """What a catalog must hold for this picture: float16, little-endian."""
    return vector_of(pixels_of(seed)).astype("<f2").tobytes()


def content_hash_of(content: bytes) -> str:
    """What a catalog must hold for a file of this content, in hexadecimal digits."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def _unit(content: bytes) -> Vector:
    digest = hashlib.shake_256(content).digest(2 * DIMENSION)
    wide = np.frombuffer(digest, dtype="<i2").astype(np.float64)
    return (wide / np.linalg.norm(wide)).astype(np.float32)
