"""CLIP itself: two towers that map pixels and tokens into one space.

In: tensors. Out: features that are not normalised. Knows nothing of files, PIL or numpy.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import log

import torch
from torch import Tensor, nn

from clipsearch.clip.config import (
    OPENAI_CONFIGS,
    Activation,
    ClipConfig,
    TextConfig,
    VisionConfig,
)
from clipsearch.clip.text import TextTransformer
from clipsearch.clip.transformer import Attention
from clipsearch.clip.vision import ModifiedResNet, VisionTransformer
from clipsearch.errors import BrokenCheckpoint

__all__ = [
    "CLIP",
    "OPENAI_CONFIGS",
    "Activation",
    "ClipConfig",
    "TextConfig",
    "VisionConfig",
    "build_model",
    "convert_weights",
]

INITIAL_TEMPERATURE = 0.07

# Three numbers that OpenAI's archives hold beside the weights.
NO_WEIGHTS = ("input_resolution", "context_length", "vocab_size")
PROJECTIONS = ("text_projection", "proj")


ImageTower = VisionTransformer | ModifiedResNet


def image_tower(config: ClipConfig) -> ImageTower:
    """A new image tower of these sizes."""
    if config.vision.patch_size is None:
        return ModifiedResNet(config.vision, config.embed_dim)
    return VisionTransformer(config.vision, config.embed_dim, config.activation)


def build_model(state_dict: Mapping[str, Tensor]) -> CLIP:
    """A CLIP in eval mode with a copy of OpenAI's weights, in float16 as in the reference package.

    For a CPU call `.float()` on it. Raises BrokenCheckpoint for names or shapes of no CLIP.
    """
    weights = {name: tensor for name, tensor in state_dict.items() if name not in NO_WEIGHTS}
    model = convert_weights(CLIP(ClipConfig.from_state_dict(weights)))
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise BrokenCheckpoint(f"these weights are not those of a CLIP: {error}") from error
    return model.eval()


def convert_weights(model: CLIP) -> CLIP:
    """Convert in place what the reference package keeps in float16: all that matrices multiply.

    Norms, tables and positions stay as they are, and so does the scale.
    """
    for module in model.modules():
        parameters = dict(module.named_parameters(recurse=False))
        if not isinstance(module, nn.Linear | nn.Conv2d | Attention):
            parameters = {name: parameters[name] for name in PROJECTIONS if name in parameters}
        for parameter in parameters.values():
            parameter.data = parameter.data.half()
    return model


class CLIP(TextTransformer):
    """The names of its parameters are exactly those of an OpenAI checkpoint."""

    def __init__(self, config: ClipConfig) -> None:
        super().__init__(config.text, config.embed_dim, config.activation)
        self.config = config
        self.visual = image_tower(config)
        self.logit_scale = nn.Parameter(torch.tensor(log(1 / INITIAL_TEMPERATURE)))  # a logarithm

    @property
    def dtype(self) -> torch.dtype:
        """The dtype in which the towers compute."""
        return self.visual.conv1.weight.dtype

    def encode_image(self, image: Tensor) -> Tensor:
        """Pixels `[B, 3, n, n]` of any float dtype → `[B, embed_dim]`, not normalised.

        n is `visual.input_resolution`. Raises ValueError for another shape.
        """
        size = self.visual.input_resolution
        if image.ndim != 4 or image.shape[1:] != (3, size, size):
            raise ValueError(
                f"pixels must have the shape [batch, 3, {size}, {size}], not {list(image.shape)}"
            )
        features: Tensor = self.visual(image.to(self.dtype))
        return features

    def forward(self, image: Tensor, text: Tensor) -> tuple[Tensor, Tensor]:
        """Scaled cosines of every image with every text: `[B_image, B_text]` and its transpose."""
        image_features = nn.functional.normalize(self.encode_image(image), dim=-1)
        text_features = nn.functional.normalize(self.encode_text(text), dim=-1)
        logits_per_image = self.logit_scale.exp() * image_features @ text_features.T
        return logits_per_image, logits_per_image.T
