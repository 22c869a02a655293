"""The sizes of a CLIP: frozen dataclasses, JSON in and out, and the nine that OpenAI published.

In: a dict, or the shapes of a state dict. Out: a ClipConfig. Knows nothing of modules or files.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from math import isqrt
from typing import Any, Literal, Self, TypeVar

from clipsearch.errors import BrokenCheckpoint

Activation = Literal["quick_gelu", "gelu"]

# Every tower that OpenAI published has heads of 64 channels. Shapes cannot tell how many.
HEAD_WIDTH = 64
MLP_RATIO = 4


@dataclass(frozen=True)
class VisionConfig:
    """A VisionTransformer (`layers` is a number) or a ModifiedResNet (the blocks of four stages).

    `image_size` and `patch_size` are in pixels; a ModifiedResNet has no patches.
    """

    image_size: int
    layers: int | tuple[int, int, int, int]
    width: int
    patch_size: int | None
    heads: int | None = None
    mlp_width: int | None = None

    @property
    def n_hidden(self) -> int:
        """The width inside an MLP, usually four times that outside."""
        return self.mlp_width or MLP_RATIO * self.width

    @property
    def n_heads(self) -> int:
        """Attention heads; in a ModifiedResNet those of the pooling, which is 32 times as wide."""
        pooled_width = self.width * 32 if self.patch_size is None else self.width
        return self.heads or max(1, pooled_width // HEAD_WIDTH)


@dataclass(frozen=True)
class TextConfig:
    """The text tower: `context_length` in tokens, start and end token included."""

    context_length: int = 77
    vocab_size: int = 49408
    width: int = 512
    heads: int | None = None
    layers: int = 12
    mlp_width: int | None = None

    @property
    def n_hidden(self) -> int:
        """The width inside an MLP, usually four times that outside."""
        return self.mlp_width or MLP_RATIO * self.width

    @property
    def n_heads(self) -> int:
        """Attention heads."""
        return self.heads or max(1, self.width // HEAD_WIDTH)


@dataclass(frozen=True)
class ClipConfig:
    """Everything that the shapes of a CLIP follow from. `embed_dim` is the length of a vector."""

    embed_dim: int
    vision: VisionConfig
    text: TextConfig
    activation: Activation = "quick_gelu"

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON-able values."""
        values = asdict(self)
        if isinstance(self.vision.layers, tuple):
            values["vision"]["layers"] = list(self.vision.layers)
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`. Raises BrokenCheckpoint if a value is missing or unknown."""
        try:
            vision = dict(values["vision"])
            if not isinstance(vision["layers"], int):
                vision["layers"] = tuple(vision["layers"])
            towers = {"vision": VisionConfig(**vision), "text": TextConfig(**values["text"])}
            config = cls(**{**values, **towers})
        except (KeyError, TypeError) as error:
            raise BrokenCheckpoint(
                f"the model's sizes are incomplete or unknown ({error}): fetch or export it again"
            ) from error
        if config.activation not in ("quick_gelu", "gelu"):
            raise BrokenCheckpoint(
                f"unknown activation {config.activation!r}: it must be 'quick_gelu' or 'gelu'"
            )
        return config

    @classmethod
    def from_state_dict(
        cls,
        weights: Mapping[str, Any],
        activation: Activation = "quick_gelu",
        vision_heads: int | None = None,
        text_heads: int | None = None,
    ) -> Self:
        """Read the sizes off the shapes of a state dict with OpenAI's names.

        Only `.shape` is looked at. Activation and heads are not in the shapes; heads are 64 wide
        unless their number is given. Raises BrokenCheckpoint if a tensor is missing or sizes make
        no sense.
        """
        try:
            is_vit = "visual.proj" in weights
            vision = _vit(weights, vision_heads) if is_vit else _resnet(weights, vision_heads)
            text = TextConfig(
                context_length=weights["positional_embedding"].shape[0],
                vocab_size=weights["token_embedding.weight"].shape[0],
                width=weights["ln_final.weight"].shape[0],
                heads=text_heads,
                layers=_count(weights, r"transformer\.resblocks\.(\d+)\."),
                mlp_width=_mlp_width(weights, "transformer"),
            )
            embed_dim = weights["text_projection"].shape[1]
        except KeyError as error:
            raise BrokenCheckpoint(
                f"this is no CLIP with OpenAI's names: the tensor {error} is missing"
            ) from error
        return cls(embed_dim, _without_the_usual(vision), _without_the_usual(text), activation)


Tower = TypeVar("Tower", VisionConfig, TextConfig)


def _without_the_usual(tower: Tower) -> Tower:
    """Leave heads and MLPs out where they are the usual ones: equal models have equal configs."""
    usual = replace(tower, heads=None, mlp_width=None)
    heads = None if usual.n_heads == tower.n_heads else tower.heads
    mlp_width = None if usual.n_hidden == tower.n_hidden else tower.mlp_width
    return replace(tower, heads=heads, mlp_width=mlp_width)


def _mlp_width(weights: Mapping[str, Any], stack: str) -> int | None:
    """The width inside the first MLP of a stack; that all have it is looked at when they fit."""
    first = weights.get(f"{stack}.resblocks.0.mlp.c_fc.weight")
    return None if first is None else int(first.shape[0])


def _vit(weights: Mapping[str, Any], heads: int | None) -> VisionConfig:
    width, _, _, patch_size = weights["visual.conv1.weight"].shape
    grid = _grid(weights["visual.positional_embedding"].shape[0])
    layers = _count(weights, r"visual\.transformer\.resblocks\.(\d+)\.")
    mlp_width = _mlp_width(weights, "visual.transformer")
    return VisionConfig(patch_size * grid, layers, width, patch_size, heads, mlp_width)


def _resnet(weights: Mapping[str, Any], heads: int | None) -> VisionConfig:
    one, two, three, four = (_count(weights, rf"visual\.layer{n}\.(\d+)\.") for n in range(1, 5))
    width = weights["visual.layer1.0.conv1.weight"].shape[0]
    grid = _grid(weights["visual.attnpool.positional_embedding"].shape[0])
    return VisionConfig(32 * grid, (one, two, three, four), width, None, heads)


def _grid(positions: int) -> int:
    """The side of the square of positions that is left without the class token."""
    grid = isqrt(positions - 1)
    if grid * grid + 1 != positions:
        raise BrokenCheckpoint(
            f"the image tower has {positions} positions, which are not a square and one class token"
        )
    return grid


def _count(names: Iterable[str], pattern: str) -> int:
    """How many different numbers stand at the group of `pattern`."""
    matches = (re.match(pattern, name) for name in names)
    return len({match.group(1) for match in matches if match})


def _vit_config(embed_dim: int, image_size: int, patch_size: int, layers: int = 12) -> ClipConfig:
    large = layers == 24
    vision = VisionConfig(image_size, layers, 1024 if large else 768, patch_size)
    return ClipConfig(embed_dim, vision, TextConfig(width=768 if large else 512))


def _resnet_config(
    embed_dim: int, image_size: int, layers: tuple[int, int, int, int], width: int, text_width: int
) -> ClipConfig:
    vision = VisionConfig(image_size, layers, width, None)
    return ClipConfig(embed_dim, vision, TextConfig(width=text_width))


OPENAI_CONFIGS: dict[str, ClipConfig] = {
    "RN50": _resnet_config(1024, 224, (3, 4, 6, 3), 64, 512),
    "RN101": _resnet_config(512, 224, (3, 4, 23, 3), 64, 512),
    "RN50x4": _resnet_config(640, 288, (4, 6, 10, 6), 80, 640),
    "RN50x16": _resnet_config(768, 384, (6, 8, 18, 8), 96, 768),
    "RN50x64": _resnet_config(1024, 448, (3, 15, 36, 10), 128, 1024),
    "ViT-B/32": _vit_config(512, 224, 32),
    "ViT-B/16": _vit_config(512, 224, 16),
    "ViT-L/14": _vit_config(768, 224, 14, layers=24),
    "ViT-L/14@336px": _vit_config(768, 336, 14, layers=24),
}
