from __future__ import annotations

import pytest
import torch
from torch import nn

from clipsearch.clip.config import TextConfig
from clipsearch.clip.transformer import Attention, LayerNorm, QuickGELU, Transformer


def random_transformer(causal: bool) -> Transformer:
    torch.manual_seed(0)
    stack = Transformer(TextConfig(width=32, heads=4, layers=3), "quick_gelu", causal=causal).eval()
    for parameter in stack.parameters():
        nn.init.normal_(parameter, std=0.2)
    return stack


@pytest.mark.parametrize("causal", [False, True])
def test_attention_equals_that_of_torch(causal: bool) -> None:
    torch.manual_seed(0)
    ours = Attention(32, 4, causal)
    theirs = nn.MultiheadAttention(32, 4, batch_first=True)
    nn.init.normal_(theirs.in_proj_bias)
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(3, 7, 32)
    mask = nn.Transformer.generate_square_subsequent_mask(7) if causal else None
    expected, _ = theirs(x, x, x, attn_mask=mask, need_weights=False)
    torch.testing.assert_close(ours(x), expected, atol=1e-6, rtol=0)


def test_a_width_that_the_heads_do_not_divide_is_refused() -> None:
    with pytest.raises(ValueError, match="width of 30 cannot be split into 4"):
        Attention(30, 4, causal=False)


@pytest.mark.parametrize("causal", [False, True])
def test_pooling_equals_the_same_rows_of_the_whole_output(causal: bool) -> None:
    stack = random_transformer(causal)
    x, rows = torch.randn(4, 9, 32), torch.tensor([0, 3, 8, 3])
    whole = stack(x)[torch.arange(4), rows]
    torch.testing.assert_close(stack.pooled(x, rows), whole, atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize("causal", [False, True])
def test_pooling_has_the_gradient_of_the_whole_output(causal: bool) -> None:
    stack = random_transformer(causal)
    x, rows = torch.randn(4, 9, 32, requires_grad=True), torch.tensor([0, 3, 8, 3])
    wanted = [x, *stack.parameters()]
    whole = torch.autograd.grad(stack(x)[torch.arange(4), rows].square().mean(), wanted)
    pooled = torch.autograd.grad(stack.pooled(x, rows).square().mean(), wanted)
    for one, other in zip(pooled, whole, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4 * float(other.abs().max()), rtol=1e-3)


def test_a_causal_transformer_does_not_see_what_comes_later() -> None:
    stack = random_transformer(causal=True)
    x = torch.randn(1, 6, 32)
    changed = x.clone()
    changed[:, 4:] += 1
    before, after = stack(x), stack(changed)
    torch.testing.assert_close(before[:, :4], after[:, :4], atol=1e-5, rtol=0)
    assert not torch.allclose(before[:, 4:], after[:, 4:], atol=1e-2)


def test_quick_gelu_is_the_same_with_and_without_gradients() -> None:
    x = torch.linspace(-6, 6, 101)
    with_gradients = QuickGELU()(x)
    with torch.inference_mode():
        without = QuickGELU()(x)
    assert torch.equal(with_gradients, without)
    assert torch.equal(with_gradients, x * torch.sigmoid(1.702 * x))
    assert x[0] == -6, "the input is left alone"


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_layer_norm_computes_half_precision_in_float32(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    norm = LayerNorm(64)
    x = (100 + torch.randn(5, 64)).to(dtype)  # sums of squares that float16 cannot hold
    with torch.no_grad():
        out = norm(x)
    assert out.dtype == dtype
    torch.testing.assert_close(out.float(), norm(x.float()), atol=0.02, rtol=0.01)


def test_new_weights_have_the_spread_of_the_reference() -> None:
    torch.manual_seed(0)
    stack = Transformer(TextConfig(width=256, heads=4, layers=8), "gelu")
    block = stack.resblocks[3]
    spreads = {
        "attn.in_proj_weight": 256**-0.5,
        "attn.out_proj.weight": 256**-0.5 * 16**-0.5,
        "mlp.c_fc.weight": 512**-0.5,
        "mlp.c_proj.weight": 256**-0.5 * 16**-0.5,
    }
    for name, spread in spreads.items():
        assert block.get_parameter(name).std().item() == pytest.approx(spread, rel=0.02)
