"""CLIP itself: two towers that map pixels and tokens into one space.

In: tensors. Out: features that are not normalised. Knows nothing of files, PIL or numpy.
"""

from __future__ import annotations

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
from clipsearch.clip.vision import ModifiedResNet, VisionTransformer

__all__ = ["CLIP", "OPENAI_CONFIGS", "Activation", "ClipConfig", "TextConfig", "VisionConfig"]

INITIAL_TEMPERATURE = 0.07


class CLIP(TextTransformer):
    """The names of its parameters are exactly those of an OpenAI checkpoint."""

    def __init__(self, config: ClipConfig) -> None:
        super().__init__(config.text, config.embed_dim, config.activation)
        self.config = config
        self.visual: VisionTransformer | ModifiedResNet
        if config.vision.patch_size is None:
            self.visual = ModifiedResNet(config.vision, config.embed_dim)
        else:
            self.visual = VisionTransformer(config.vision, config.embed_dim, config.activation)
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
