"""A batch that fails is halved until the guilty are found, unless it is the model's own fault."""

from __future__ import annotations

import numpy as np
import pytest

from clipsearch.errors import BrokenCheckpoint
from clipsearch.indexer.encoding import encode_each
from clipsearch.indexer.frames import Pixels
from clipsearch.vectors import FloatArray

GUILTY = 7
CONTENTS = {bytes([n]): np.full((2, 2, 3), n, np.uint8) for n in range(20)}


def vectors_of(pixels: Pixels) -> FloatArray:
    return np.eye(256, dtype=np.float32)[pixels[:, 0, 0, 0]]


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("CUDA out of memory\nmore"), BrokenCheckpoint("no")]
)
def test_one_guilty_picture_costs_none_of_the_others(error: Exception) -> None:
    def encode(pixels: Pixels) -> FloatArray:
        if GUILTY in pixels:
            raise error
        return vectors_of(pixels)

    vectors, failures = encode_each(CONTENTS, encode)
    assert set(failures) == {bytes([GUILTY])} and set(vectors) | set(failures) == set(CONTENTS)
    assert all(vector[content[0]] == 1 for content, vector in vectors.items())
    shown = str(error).partition("\n")[0] or "MemoryError"
    assert failures[bytes([GUILTY])] == f"cannot be encoded ({shown}); replace or remove it"


def test_a_batch_that_is_too_much_at_once_is_done_in_parts() -> None:
    def encode(pixels: Pixels) -> FloatArray:
        if len(pixels) > 6:
            raise MemoryError
        return vectors_of(pixels)

    vectors, failures = encode_each(CONTENTS, encode)
    assert set(vectors) == set(CONTENTS) and not failures


def test_a_vector_that_is_not_finite_is_none() -> None:
    def encode(pixels: Pixels) -> FloatArray:
        return np.where(pixels[:, 0, 0, :1] == GUILTY, np.float32("inf"), vectors_of(pixels))

    assert set(encode_each(CONTENTS, encode)[1]) == {bytes([GUILTY])}


@pytest.mark.parametrize("n", [1, 20])
def test_a_model_that_fails_on_everything_is_an_error_and_blames_no_picture(n: int) -> None:
    def encode(_: Pixels) -> FloatArray:
        raise RuntimeError("the device is lost")

    with pytest.raises(RuntimeError, match="the device is lost"):
        encode_each(dict(list(CONTENTS.items())[:n]), encode)


def test_nothing_is_encoded_where_there_is_nothing() -> None:
    assert encode_each({}, vectors_of) == ({}, {})
