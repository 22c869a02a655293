"""Unit-vector maths: the quick way is the plain way."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipsearch.vectors import IdArray, distinct, normalise, unit_again, widened, without

IDS = st.lists(st.integers(-5, 20)).map(lambda ids: np.array(ids, dtype=np.int64))


@given(IDS, IDS)
def test_sets_of_ids_are_those_of_numpy(ids: IdArray, others: IdArray) -> None:
    assert distinct(ids).tolist() == np.unique(ids).tolist()
    assert without(ids, others).tolist() == np.setdiff1d(ids, others).tolist()


def test_every_finite_half_becomes_the_same_number_in_float32() -> None:
    half = np.arange(2**16, dtype=np.uint16).view(np.float16)
    half = half[np.isfinite(half)]
    wide = widened(half.reshape(2, -1))
    assert wide.dtype == np.float32
    expected = half.reshape(2, -1).astype(np.float32)
    assert wide.view(np.int32).tolist() == expected.view(np.int32).tolist()  # -0 too


def test_widening_leaves_its_input_alone_and_takes_read_only_ones() -> None:
    half = np.frombuffer(np.ones(4, dtype=np.float16).tobytes(), dtype="<f2")
    assert widened(half).tolist() == [1, 1, 1, 1] and half.tolist() == [1, 1, 1, 1]


def test_unit_vectors_that_were_rounded_are_of_unit_length_again() -> None:
    exact = normalise(np.random.default_rng(0).normal(size=(100, 512)))
    rounded = exact.astype(np.float16).astype(np.float32)
    again = unit_again(rounded)
    assert again.dtype == np.float32
    np.testing.assert_allclose(again, normalise(rounded), rtol=3e-7, atol=0)
    assert np.abs(np.linalg.norm(again, axis=1) - 1).max() < 1e-6


@pytest.mark.parametrize("broken", [0.0, np.nan, np.inf])
def test_a_vector_without_direction_cannot_be_made_one_again(broken: float) -> None:
    with pytest.raises(ValueError, match="no direction"):
        unit_again(np.full((2, 3), broken, dtype=np.float32))
