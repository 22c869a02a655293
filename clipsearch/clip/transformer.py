"""The residual attention blocks that both towers are made of: `[batch, tokens, width]` in and out.

Attribute names are the checkpoint's names. Knows nothing of images, texts or files.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clipsearch.clip.config import Activation, TextConfig, VisionConfig


class LayerNorm(nn.LayerNorm):
    """Layer norm that computes in float32 and answers in the dtype of its input."""

    def forward(self, x: Tensor) -> Tensor:
        """`[..., width]` → the same."""
        # CPU kernels take half-precision input with float32 weights and compute in float32 inside.
        if x.dtype not in (torch.float16, torch.bfloat16) or x.device.type == "cpu":
            return super().forward(x)
        weight, bias = self.weight.float(), self.bias.float()
        return F.layer_norm(x.float(), self.normalized_shape, weight, bias, self.eps).to(x.dtype)


class QuickGELU(nn.Module):
    """x · sigmoid(1.702 x), the approximation of GELU that OpenAI's models were trained with."""

    def forward(self, x: Tensor) -> Tensor:
        """Elementwise."""
        if torch.is_grad_enabled():
            return x * torch.sigmoid(1.702 * x)
        # The same numbers with one temporary instead of three: allocation is what costs here.
        return (1.702 * x).sigmoid_().mul_(x)


class Attention(nn.Module):
    """Multi-head self-attention with the parameter names of `nn.MultiheadAttention`."""

    def __init__(self, width: int, heads: int, causal: bool) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"a width of {width} cannot be split into {heads} equal heads")
        self.heads = heads
        self.causal = causal
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))  # rows: q, k, v
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)

    def forward(self, x: Tensor, rows: Tensor | None = None) -> Tensor:
        """`[B, T, width]` → the same; with `rows` `[B]`, only that row of each: `[B, 1, width]`."""
        if rows is None:
            q, k, v = F.linear(x, self.in_proj_weight, self.in_proj_bias).chunk(3, dim=-1)
            attended = self._attend(q, k, v, None)
        else:
            width, weight, bias = x.shape[-1], self.in_proj_weight, self.in_proj_bias
            q = F.linear(take_rows(x, rows), weight[:width], bias[:width])
            k, v = F.linear(x, weight[width:], bias[width:]).chunk(2, dim=-1)
            attended = self._attend(q, k, v, self._visible(rows, x.shape[1]))
        out: Tensor = self.out_proj(attended)
        return out

    def _visible(self, rows: Tensor, length: int) -> Tensor | None:
        """Which keys the one query of each sequence sees: bool `[B, 1, 1, T]`, or None for all."""
        if not self.causal:
            return None
        keys = torch.arange(length, device=rows.device)
        return (keys <= rows[:, None])[:, None, None, :]

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        q, k, v = (split_heads(t, self.heads) for t in (q, k, v))
        is_causal = self.causal and mask is None
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=is_causal)
        return out.transpose(1, 2).flatten(2)  # [B, heads, T, width / heads] -> [B, T, width]


class MLP(nn.Module):
    """Two linear layers with an activation between them, wider inside."""

    def __init__(self, width: int, n_hidden: int, activation: Activation) -> None:
        super().__init__()
        self.c_fc = nn.Linear(width, n_hidden)
        self.gelu = QuickGELU() if activation == "quick_gelu" else nn.GELU()
        self.c_proj = nn.Linear(n_hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """`[..., width]` → the same."""
        out: Tensor = self.c_proj(self.gelu(self.c_fc(x)))
        return out


class ResidualAttentionBlock(nn.Module):
    """Attention, then the MLP, each over a layer norm and added to its input."""

    def __init__(
        self, width: int, heads: int, n_hidden: int, activation: Activation, causal: bool
    ) -> None:
        super().__init__()
        self.ln_1 = LayerNorm(width)
        self.attn = Attention(width, heads, causal)
        self.ln_2 = LayerNorm(width)
        self.mlp = MLP(width, n_hidden, activation)

    def forward(self, x: Tensor, rows: Tensor | None = None) -> Tensor:
        """`[B, T, width]` → the same; with `rows` `[B]`, only that row of each: `[B, 1, width]`."""
        residual = x if rows is None else take_rows(x, rows)
        residual = residual + self.attn(self.ln_1(x), rows)
        out: Tensor = residual + self.mlp(self.ln_2(residual))
        return out


class Transformer(nn.Module):
    """The blocks of a tower. `causal` lets a token see only itself and what came before it."""

    def __init__(
        self, sizes: VisionConfig | TextConfig, activation: Activation, causal: bool = False
    ) -> None:
        super().__init__()
        assert isinstance(sizes.layers, int), "a ModifiedResNet has no such blocks"
        self.width = sizes.width
        self.resblocks = nn.ModuleList(
            ResidualAttentionBlock(sizes.width, sizes.n_heads, sizes.n_hidden, activation, causal)
            for _ in range(sizes.layers)
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weights: the deeper the stack, the less each block adds to its input."""
        attention_std = self.width**-0.5
        added_std = attention_std * (2 * len(self.resblocks)) ** -0.5
        for name, parameter in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(parameter)
            elif name.endswith("attn.in_proj_weight"):
                nn.init.normal_(parameter, std=attention_std)
            elif name.endswith(("out_proj.weight", "c_proj.weight")):
                nn.init.normal_(parameter, std=added_std)
            elif name.endswith("c_fc.weight"):
                nn.init.normal_(parameter, std=(2 * self.width) ** -0.5)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, T, width]` → the same."""
        for block in self.resblocks:
            x = block(x)
        return x

    def pooled(self, x: Tensor, rows: Tensor) -> Tensor:
        """`forward(x)` at one row of each sequence: `[B, T, width]` and int64 `[B]` → `[B, width]`.

        Nothing reads the other rows of the last block, so they are not computed there.
        """
        *body, last = self.resblocks
        for block in body:
            x = block(x)
        out: Tensor = last(x, rows)
        return out[:, 0]


def split_heads(x: Tensor, heads: int) -> Tensor:
    """`[B, T, width]` → `[B, heads, T, width / heads]`."""
    batch, length, width = x.shape
    return x.view(batch, length, heads, width // heads).transpose(1, 2)


def take_rows(x: Tensor, rows: Tensor) -> Tensor:
    """Row `rows[i]` of sequence i: `[B, T, width]` and int64 `[B]` → `[B, 1, width]`."""
    return x[torch.arange(x.shape[0], device=x.device), rows][:, None]
