"""Parts of the numpy towers; whole towers are compared with torch's in test_lite.py."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from clipsearch.clip import towers
from clipsearch.clip.mapped import MappedWeights
from clipsearch.clip.transformer import QuickGELU
from tests.clip.tiny import VIT, write_bundle


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [(towers._gelu, torch.nn.GELU()), (towers._quick_gelu, QuickGELU())],
    ids=["gelu", "quick_gelu"],
)
def test_activations_are_torchs_and_finite_far_out(ours: object, theirs: object) -> None:
    x = np.concatenate([np.linspace(-8, 8, 4001), [-1e4, -100, 0, 100, 1e4]]).astype(np.float32)
    assert callable(ours) and callable(theirs)
    wanted: Tensor = theirs(torch.from_numpy(x).double())  # torch is off by 1e-6 in float32
    np.testing.assert_allclose(ours(x), wanted.numpy(), rtol=1e-6, atol=5e-7)


def test_every_token_before_the_end_counts(tmp_path: Path) -> None:
    weights = MappedWeights(write_bundle(tmp_path / "tiny") / "model.safetensors")
    end = VIT.text.vocab_size - 1
    whole = towers.text_features(weights, VIT, [[end - 1, 5, end]])
    assert whole.shape == (1, 16) and whole.dtype == np.float32
    assert not np.allclose(whole, towers.text_features(weights, VIT, [[end - 1, 6, end]]))


def test_many_texts_at_once_have_the_features_of_each_alone(tmp_path: Path) -> None:
    weights = MappedWeights(write_bundle(tmp_path / "tiny") / "model.safetensors")
    end = VIT.text.vocab_size - 1
    texts = [[end - 1, *range(1, 1 + length), end] for length in (1, 3, 2, 3)]
    together = towers.text_features(weights, VIT, texts)
    alone = [towers.text_features(weights, VIT, [text])[0] for text in texts]
    assert np.allclose(together, alone, atol=1e-6)
    assert not np.allclose(alone[0], alone[1])
