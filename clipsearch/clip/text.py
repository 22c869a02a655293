"""The text tower: tokens `[B, T]` → features `[B, embed]`.

Its parameters lie flat beside `visual` in a checkpoint, so CLIP inherits from this class instead
of holding one.
Knows nothing of strings or tokenizers.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from clipsearch.clip.config import Activation, TextConfig
from clipsearch.clip.transformer import LayerNorm, Transformer


class TextTransformer(nn.Module):
    """Tokens through a causal transformer; the end token, which has seen them all, is the text."""

    def __init__(self, config: TextConfig, embed_dim: int, activation: Activation) -> None:
        super().__init__()
        width = config.width
        self.context_length = config.context_length
        self.vocab_size = config.vocab_size
        self.transformer = Transformer(config, activation, causal=True)
        self.token_embedding = nn.Embedding(config.vocab_size, width)
        self.positional_embedding = nn.Parameter(torch.empty(config.context_length, width))
        self.ln_final = LayerNorm(width)
        self.text_projection = nn.Parameter(torch.empty(width, embed_dim))
        nn.init.normal_(self.token_embedding.weight, std=0.02)
        nn.init.normal_(self.positional_embedding, std=0.01)
        nn.init.normal_(self.text_projection, std=width**-0.5)

    def encode_text(self, tokens: Tensor) -> Tensor:
        """Integers `[B, T]`, T at most `context_length` → `[B, embed_dim]`, not normalised.

        The end token is the largest id, and the first one counts. As a token sees only what came
        before it, padding may be cut off. Raises ValueError for another shape.
        """
        if tokens.ndim != 2 or not 0 < tokens.shape[1] <= self.context_length:
            wanted = f"[batch, 1 to {self.context_length}]"
            raise ValueError(f"tokens must have the shape {wanted}, not {list(tokens.shape)}")
        dtype = self.text_projection.dtype
        positions = self.positional_embedding[: tokens.shape[1]]
        x = self.token_embedding(tokens).to(dtype) + positions.to(dtype)  # [B, T, width]
        x = self.transformer.pooled(x, tokens.argmax(dim=-1))
        features: Tensor = self.ln_final(x) @ self.text_projection
        return features
