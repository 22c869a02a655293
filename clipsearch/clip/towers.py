"""The transformer towers in numpy: a few texts or one picture → features, in float32.

In: token ids or normalised pixels `[3, n, n]`, and mapped weights. Out: `[n, embed]` or `[embed]`,
not normalised. The same arithmetic as text.py and vision.py, which are the ones to train; knows
nothing of torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clipsearch.clip.config import Activation, ClipConfig, TextConfig, VisionConfig
from clipsearch.clip.mapped import MappedWeights
from clipsearch.vectors import FloatArray

EPSILON = 1e-5  # of the layer norms, as in torch


@dataclass(frozen=True)
class Stack:
    """The blocks of one tower, by their names in the file."""

    prefix: str
    sizes: VisionConfig | TextConfig
    activation: Activation
    is_hidden: NDArray[np.bool_] | None = None  # [T, T]: what each row does not attend to


def text_features(
    weights: MappedWeights, config: ClipConfig, texts: Sequence[Sequence[int]]
) -> FloatArray:
    """n times the token ids from start to end token, without padding → `[n, embed]`.

    The end token has seen all others and none sees what comes after it: nothing else is computed.
    The texts stand one behind the other, T tokens in all, so that the weights are read once.
    """
    text = config.text
    width = text.width
    lengths = [len(tokens) for tokens in texts]
    tokens = [token for each in texts for token in each]
    places = [place for length in lengths for place in range(length)]
    x = weights.rows("token_embedding.weight", tokens, text.vocab_size, width)
    x = x + weights.rows("positional_embedding", places, text.context_length, width)  # [T, width]
    owner = np.repeat(np.arange(len(texts)), lengths)
    is_later = np.triu(np.ones((len(tokens), len(tokens)), dtype=bool), k=1)
    is_hidden = is_later | (owner[:, None] != owner[None])
    stack = Stack("transformer", text, config.activation, is_hidden)
    pooled = _pooled(x, np.cumsum(lengths) - 1, stack, weights)  # [n, width]
    projection = weights.array("text_projection", width, config.embed_dim)
    return _layer_norm(pooled, "ln_final", weights) @ projection


def image_features(weights: MappedWeights, config: ClipConfig, pixels: FloatArray) -> FloatArray:
    """Normalised pixels `[3, n, n]` → `[embed]`. Only for a VisionTransformer."""
    vision = config.vision
    assert isinstance(vision.layers, int) and vision.patch_size is not None
    width, patch = vision.width, vision.patch_size
    grid = vision.image_size // patch
    # A convolution whose stride is its size is a product of patches and kernels.
    patches = pixels.reshape(3, grid, patch, grid, patch).transpose(1, 3, 0, 2, 4)
    kernels = weights.array("visual.conv1.weight", width, 3, patch, patch).reshape(width, -1)
    first = weights.array("visual.class_embedding", width)
    x = np.vstack([first[None], patches.reshape(grid * grid, -1) @ kernels.T])
    x = x + weights.array("visual.positional_embedding", grid * grid + 1, width)
    x = _layer_norm(x, "visual.ln_pre", weights)
    stack = Stack("visual.transformer", vision, config.activation)
    pooled = _pooled(x, np.array([0]), stack, weights)[0]
    projection = weights.array("visual.proj", width, config.embed_dim)
    return _layer_norm(pooled, "visual.ln_post", weights) @ projection


def _pooled(
    x: FloatArray, rows: NDArray[np.int64], stack: Stack, weights: MappedWeights
) -> FloatArray:
    """All blocks over `[T, width]`, and of the last one only the rows asked for: `[R, width]`."""
    n_layers = stack.sizes.layers
    assert isinstance(n_layers, int)
    every = np.arange(len(x))
    for layer in range(n_layers - 1):
        x = _block(x, every, f"{stack.prefix}.resblocks.{layer}", stack, weights)
    return _block(x, rows, f"{stack.prefix}.resblocks.{n_layers - 1}", stack, weights)


def _block(
    x: FloatArray, rows: NDArray[np.int64], name: str, stack: Stack, weights: MappedWeights
) -> FloatArray:
    """Attention of some rows to all of `[T, width]`, then the MLP: `[R, width]`."""
    normed = _layer_norm(x, f"{name}.ln_1", weights)
    asking = x[rows] + _attention(normed, rows, f"{name}.attn", stack, weights)
    inner = _layer_norm(asking, f"{name}.ln_2", weights)
    hidden = _linear(inner, f"{name}.mlp.c_fc", weights, stack.sizes.n_hidden)
    hidden = _quick_gelu(hidden) if stack.activation == "quick_gelu" else _gelu(hidden)
    return asking + _linear(hidden, f"{name}.mlp.c_proj", weights, stack.sizes.width)


def _attention(
    x: FloatArray, rows: NDArray[np.int64], name: str, stack: Stack, weights: MappedWeights
) -> FloatArray:
    width, heads = stack.sizes.width, stack.sizes.n_heads
    projections = weights.array(f"{name}.in_proj_weight", 3 * width, width)  # rows: q, k, v
    biases = weights.array(f"{name}.in_proj_bias", 3 * width)
    query = x[rows] @ projections[:width].T + biases[:width]
    keys_values = x @ projections[width:].T + biases[width:]
    q, k, v = (
        part.reshape(len(part), heads, width // heads).transpose(1, 0, 2)  # [heads, rows, channels]
        for part in (query, keys_values[:, :width], keys_values[:, width:])
    )
    scores = q @ k.transpose(0, 2, 1) * np.float32((width // heads) ** -0.5)  # [heads, R, T]
    if stack.is_hidden is not None:
        scores = np.where(stack.is_hidden[rows], np.float32(-np.inf), scores)
    attended = (_softmax(scores) @ v).transpose(1, 0, 2).reshape(len(rows), width)
    return _linear(attended, f"{name}.out_proj", weights, width)


def _linear(x: FloatArray, name: str, weights: MappedWeights, n_out: int) -> FloatArray:
    matrix = weights.array(f"{name}.weight", n_out, x.shape[-1])
    out: FloatArray = x @ matrix.T + weights.array(f"{name}.bias", n_out)
    return out


def _layer_norm(x: FloatArray, name: str, weights: MappedWeights) -> FloatArray:
    """Along the last axis."""
    width = x.shape[-1]
    centred = x - x.mean(axis=-1, keepdims=True)
    variance = np.square(centred).mean(axis=-1, keepdims=True)
    scaled: FloatArray = centred / np.sqrt(variance + np.float32(EPSILON))
    return scaled * weights.array(f"{name}.weight", width) + weights.array(f"{name}.bias", width)


def _softmax(scores: FloatArray) -> FloatArray:
    powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
    shares: FloatArray = powers / powers.sum(axis=-1, keepdims=True)
    return shares


def _quick_gelu(x: FloatArray) -> FloatArray:
    # sigmoid(2 z) = (1 + tanh z) / 2, and a tanh cannot overflow as an exponential can.
    out: FloatArray = x * (np.float32(0.5) * np.tanh(np.float32(0.851) * x) + np.float32(0.5))
    return out


def _gelu(x: FloatArray) -> FloatArray:
    """x · Φ(x) with the error function by formula 7.1.26 of Abramowitz and Stegun, off by 1.5e-7.

    As max(x, 0) - |x| · Φ(-|x|), where nothing cancels out.
    """
    magnitude = np.abs(x)
    z = magnitude * np.float32(0.5**0.5)
    t = 1 / (1 + np.float32(0.3275911) * z)
    series = t * np.float32(1.061405429)
    for coefficient in (-1.453152027, 1.421413741, -0.284496736, 0.254829592):
        series = (series + np.float32(coefficient)) * t
    tail = np.float32(0.5) * series * np.exp(-z * z)  # the formula is for 2 Φ(-|x|)
    out: FloatArray = np.maximum(x, 0) - magnitude * tail
    return out
