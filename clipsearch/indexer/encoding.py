"""Encode a batch of pictures; one that the model cannot take costs none of the others.

In: pixels by content, and the model. Out: vectors, and for the rest why there is none. Knows
nothing of files.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from clipsearch.errors import ModelError
from clipsearch.indexer.frames import Pixels
from clipsearch.vectors import FloatArray

EncodePixels = Callable[[Pixels], FloatArray]

# What a model is seen to raise: torch has RuntimeError for everything, memory of a GPU too; where
# a vector has no direction it is a ModelError or ValueError.
_ENCODE_ERRORS = (MemoryError, RuntimeError, ValueError, ArithmeticError, ModelError)
_REASON_LENGTH = 160


def encode_each(
    contents: Mapping[bytes, Pixels], encode: EncodePixels
) -> tuple[dict[bytes, FloatArray], dict[bytes, str]]:
    """Vectors by content, and for each picture that has none the reason, after its name.

    A batch that fails is halved until the guilty pictures are found. If even a plain picture fails
    then, the model is to blame, and its error is raised.
    """
    failures: dict[bytes, Exception] = {}
    vectors = _encode(list(contents), contents, encode, failures)
    if failures:
        _check_model(next(iter(contents.values())), encode, next(iter(failures.values())))
    return vectors, {
        content: f"cannot be encoded ({_why(error)}); replace or remove it"
        for content, error in failures.items()
    }


def _encode(
    keys: Sequence[bytes],
    contents: Mapping[bytes, Pixels],
    encode: EncodePixels,
    failures: dict[bytes, Exception],
) -> dict[bytes, FloatArray]:
    if not keys:
        return {}
    try:
        vectors = dict(zip(keys, _finite(encode, [contents[key] for key in keys]), strict=True))
    except _ENCODE_ERRORS as error:
        if len(keys) == 1:
            failures[keys[0]] = error
            return {}
    else:
        return vectors
    # Outside the handler, so that the traceback holds no memory that the halves need.
    middle = len(keys) // 2
    first = _encode(keys[:middle], contents, encode, failures)
    return first | _encode(keys[middle:], contents, encode, failures)


def _finite(encode: EncodePixels, pixels: Sequence[Pixels]) -> FloatArray:
    vectors = encode(np.stack(pixels))
    if not np.isfinite(vectors).all():
        raise ValueError("the model gives no finite vector for it")
    return vectors


def _check_model(like: Pixels, encode: EncodePixels, error: Exception) -> None:
    """Raise the error if the model fails on a picture that nobody could object to, too."""
    plain = np.full_like(like, 128)
    plain[::2, ::2] = 96
    try:
        _finite(encode, [plain])
    except _ENCODE_ERRORS:
        raise error from None


def _why(error: Exception) -> str:
    words = str(error).strip().partition("\n")[0][:_REASON_LENGTH]
    return words or type(error).__name__
