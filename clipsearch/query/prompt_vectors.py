"""The vectors of NULL_PROMPTS: encoded once for each model, and remembered.

In: an encoder, a folder of the user's own. Out: unit vectors. Knows nothing of libraries.
"""

from __future__ import annotations

import hashlib
import math
import os
import threading
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from clipsearch.query.prompts import NULL_PROMPTS
from clipsearch.query.vector import ProbeEncoder
from clipsearch.vectors import FloatArray

_DIGEST_BYTES = hashlib.sha256().digest_size
_STORED = np.dtype("<f2")


class NamedEncoder(ProbeEncoder, Protocol):
    """An encoder that says which one it is."""

    @property
    def model_sha256(self) -> str: ...
    @property
    def precision(self) -> str: ...


class PromptVectors:
    """One file for each model. Where none can be written, they are encoded by each process anew.

    Threads may share it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[str, FloatArray] = {}
        self._encoding = threading.Lock()  # of threads that come together one does it for all

    def of(self, encoder: NamedEncoder) -> FloatArray:
        """`[p, dim]`, unit length, as float16 keeps them."""
        key = _key(encoder)
        with self._encoding:
            if key not in self._known:
                file = self._folder / f"{key}.f16"
                shape = (len(NULL_PROMPTS), encoder.dimension)
                half = _read(file, shape)
                if half is None:
                    half = encoder.encode_texts(NULL_PROMPTS).astype(np.float16)
                    _write(file, half)
                self._known[key] = half.astype(np.float32)
            return self._known[key]


def _key(encoder: NamedEncoder) -> str:
    """What decides the vectors: the model, what it computes in, and the prompts."""
    parts = (encoder.model_sha256, encoder.precision, *NULL_PROMPTS)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def _read(file: Path, shape: tuple[int, int]) -> NDArray[np.float16] | None:
    """What `_write` wrote; None where it is not there, or not to the last bit."""
    with suppress(OSError):
        content = file.read_bytes()
        digest, vectors = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
        if hashlib.sha256(vectors).digest() == digest and len(vectors) == 2 * math.prod(shape):
            return np.frombuffer(vectors, dtype=_STORED).reshape(shape)
    return None


def _write(file: Path, half: NDArray[np.float16]) -> None:
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    vectors = half.astype(_STORED).tobytes()
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(hashlib.sha256(vectors).digest() + vectors)
        os.replace(temporary, file)
