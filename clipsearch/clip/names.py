"""State dicts of open_clip and transformers → the same tensors under OpenAI's names.

In: names and tensors of any CLIP. Out: a new dict. Checks no shapes and knows nothing of files.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from clipsearch.errors import BrokenCheckpoint

# What transformers calls things, and what OpenAI does.
REST = {
    "text_model.embeddings.token_embedding.weight": "token_embedding.weight",
    "text_model.embeddings.position_embedding.weight": "positional_embedding",
    "text_model.final_layer_norm.weight": "ln_final.weight",
    "text_model.final_layer_norm.bias": "ln_final.bias",
    "vision_model.embeddings.class_embedding": "visual.class_embedding",
    "vision_model.embeddings.patch_embedding.weight": "visual.conv1.weight",
    "vision_model.embeddings.position_embedding.weight": "visual.positional_embedding",
    "vision_model.pre_layrnorm.weight": "visual.ln_pre.weight",
    "vision_model.pre_layrnorm.bias": "visual.ln_pre.bias",
    "vision_model.post_layernorm.weight": "visual.ln_post.weight",
    "vision_model.post_layernorm.bias": "visual.ln_post.bias",
    "logit_scale": "logit_scale",
}
# The layers of linear projections, which OpenAI keeps as matrices to multiply with from the right.
TRANSPOSED = {
    "text_projection.weight": "text_projection",
    "visual_projection.weight": "visual.proj",
}
LAYER = re.compile(r"(text|vision)_model\.encoder\.layers\.(\d+)\.(.+)\.(weight|bias)")
IN_LAYER = {
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "self_attn.out_proj": "attn.out_proj",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
}
QUERY, KEY, VALUE = (f"self_attn.{letter}_proj" for letter in "qkv")

# Text towers of open_clip that are a module of their own.
TEXT_PREFIX = "text."
TEXT_NAMES = (
    "token_embedding.",
    "positional_embedding",
    "transformer.",
    "ln_final.",
    "text_projection",
    "attn_mask",
)


def is_transformers(weights: Mapping[str, Tensor]) -> bool:
    """Whether the names are those of transformers' CLIPModel."""
    return any(name.startswith("vision_model.embeddings.") for name in weights)


def openai_names(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors by OpenAI's names; a name that is not known stays as it is.

    Raises BrokenCheckpoint if a part of an attention layer is missing.
    """
    if is_transformers(weights):
        return _from_transformers(weights)
    return {_without_text_prefix(name): tensor for name, tensor in weights.items()}


def _without_text_prefix(name: str) -> str:
    inner = name.removeprefix(TEXT_PREFIX)
    return inner if inner.startswith(TEXT_NAMES) else name


def _from_transformers(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    renamed: dict[str, Tensor] = {}
    for name, tensor in weights.items():
        if name in TRANSPOSED:
            renamed[TRANSPOSED[name]] = tensor.T if tensor.ndim == 2 else tensor
        elif layer := LAYER.fullmatch(name):
            tower, number, inner, kind = layer.groups()
            block = f"{'visual.' if tower == 'vision' else ''}transformer.resblocks.{number}"
            if inner == QUERY:
                parts = [weights.get(name.replace(QUERY, part)) for part in (QUERY, KEY, VALUE)]
                renamed[f"{block}.attn.in_proj_{kind}"] = _joined(parts, name)
            elif inner not in (KEY, VALUE):
                renamed[f"{block}.{IN_LAYER.get(inner, inner)}.{kind}"] = tensor
        else:
            renamed[REST.get(name, name)] = tensor
    return renamed


def _joined(parts: list[Tensor | None], name: str) -> Tensor:
    tensors = [part for part in parts if part is not None]
    if len(tensors) != len(parts) or len({tensor.shape for tensor in tensors}) != 1:
        raise BrokenCheckpoint(
            f"the tensor {name!r} has no key or value of the same shape beside it"
        )
    return torch.cat(tensors)
