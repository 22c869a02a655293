from __future__ import annotations

import pytest
import torch

from clipsearch.clip.model import ClipConfig
from clipsearch.clip.text import TextTransformer

END = 599


@pytest.fixture
def tower(tiny_config: ClipConfig) -> TextTransformer:
    torch.manual_seed(0)
    return TextTransformer(tiny_config.text, tiny_config.embed_dim, "quick_gelu").eval()


def sentence(*ids: int) -> torch.Tensor:
    """Padded to the tiny context of 16."""
    return torch.tensor([[598, *ids, END] + [0] * (14 - len(ids))], dtype=torch.int32)


def test_padding_can_be_cut_off(tower: TextTransformer) -> None:
    tokens = torch.cat([sentence(5, 6, 7), sentence(9, 8)])
    whole, cut = tower.encode_text(tokens), tower.encode_text(tokens[:, :5])
    assert whole.shape == (2, 32)
    torch.testing.assert_close(cut, whole, atol=1e-5, rtol=0)


def test_what_follows_the_first_end_token_changes_nothing(tower: TextTransformer) -> None:
    noisy = sentence(5, 6, 7)
    noisy[0, 5:] = torch.tensor([3, 4, END] + [8] * 8)
    expected = tower.encode_text(sentence(5, 6, 7))
    torch.testing.assert_close(tower.encode_text(noisy), expected, atol=1e-5, rtol=0)


def test_the_order_of_the_tokens_matters(tower: TextTransformer) -> None:
    one, other = tower.encode_text(sentence(5, 6, 7)), tower.encode_text(sentence(7, 6, 5))
    assert not torch.allclose(one, other, atol=1e-3)


def test_int32_and_int64_tokens_are_the_same(tower: TextTransformer) -> None:
    tokens = sentence(5, 6, 7)
    assert torch.equal(tower.encode_text(tokens), tower.encode_text(tokens.long()))


@pytest.mark.parametrize("shape", [(16,), (1, 17), (1, 0), (1, 2, 3)])
def test_a_wrong_shape_is_refused_by_naming_the_right_one(
    shape: tuple[int, ...], tower: TextTransformer
) -> None:
    with pytest.raises(ValueError, match=r"shape \[batch, 1 to 16\], not \["):
        tower.encode_text(torch.zeros(shape, dtype=torch.int32))
