"""The same random weights in our towers and in other people's give the same vectors."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from clipsearch.clip.model import CLIP, OPENAI_CONFIGS, ClipConfig, TextConfig, VisionConfig

TOLERANCE = 1e-4

# Sides and depths in which no two are alike, so that none can stand in for another.
SMALL = ClipConfig(
    embed_dim=96,
    vision=VisionConfig(image_size=56, layers=3, width=128, patch_size=14),
    text=TextConfig(context_length=24, vocab_size=700, width=192, layers=2),
)


@pytest.fixture(autouse=True)
def seeded() -> Iterator[None]:
    torch.manual_seed(0)
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # those of the other libraries
        yield


def random_clip(config: ClipConfig) -> CLIP:
    """Nothing left at 0 or 1, where a mistake could hide."""
    model = CLIP(config)
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            nn.init.normal_(parameter, std=0.1)
        elif parameter.ndim == 1 and name.endswith("weight"):
            nn.init.uniform_(parameter, 0.6, 1.4)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # take the statistics of the first batch as they are
    # Without statistics of its own a deep random ResNet makes the same of every picture.
    model.train().encode_image(random_pixels(config, 4))
    return model.eval()


def random_tokens(config: ClipConfig, n: int = 4) -> Tensor:
    """Texts of different lengths, padded with 0."""
    length, end = config.text.context_length, config.text.vocab_size - 1
    tokens = torch.randint(1, end - 1, (n, length))
    tokens[:, 0] = end - 1
    for row, last in enumerate(torch.linspace(2, length - 1, n).long().tolist()):
        tokens[row, last] = end
        tokens[row, last + 1 :] = 0
    return tokens


def random_pixels(config: ClipConfig, n: int = 2) -> Tensor:
    """Noise, each picture tinted in another colour."""
    side = config.vision.image_size
    return torch.randn(n, 3, side, side) + torch.randn(n, 3, 1, 1)


def assert_same_directions(ours: Tensor, theirs: Tensor) -> None:
    unit = nn.functional.normalize
    difference = (unit(ours, dim=-1) - unit(theirs, dim=-1)).abs().max().item()
    assert difference <= TOLERANCE
    spread = torch.pdist(unit(ours, dim=-1)).min().item()
    assert spread > 100 * TOLERANCE, "the inputs are told apart, so equality means something"


def open_clip_of(config: ClipConfig, open_clip: ModuleType) -> Any:
    vision, text = config.vision, config.text
    return open_clip.model.CLIP(
        embed_dim=config.embed_dim,
        vision_cfg={
            "image_size": vision.image_size,
            "layers": vision.layers,
            "width": vision.width,
            "patch_size": vision.patch_size,
            "head_width": 64,
        },
        text_cfg={
            "context_length": text.context_length,
            "vocab_size": text.vocab_size,
            "width": text.width,
            "heads": text.n_heads,
            "layers": text.layers,
        },
        quick_gelu=config.activation == "quick_gelu",
    )


def assert_towers_agree(ours: CLIP, theirs: Any) -> None:
    theirs.eval().load_state_dict(ours.state_dict(), strict=True)
    pixels, tokens = random_pixels(ours.config), random_tokens(ours.config)
    assert_same_directions(ours.encode_image(pixels), theirs.encode_image(pixels))
    assert_same_directions(ours.encode_text(tokens), theirs.encode_text(tokens))


@pytest.mark.parametrize("activation", ["quick_gelu", "gelu"])
def test_a_small_vit_equals_open_clip(activation: Any, open_clip: ModuleType) -> None:
    config = ClipConfig(SMALL.embed_dim, SMALL.vision, SMALL.text, activation)
    assert_towers_agree(random_clip(config), open_clip_of(config, open_clip))


def test_a_small_resnet_equals_open_clip(open_clip: ModuleType) -> None:
    vision = VisionConfig(image_size=96, layers=(1, 2, 3, 1), width=16, patch_size=None)
    config = ClipConfig(SMALL.embed_dim, vision, SMALL.text)
    assert_towers_agree(random_clip(config), open_clip_of(config, open_clip))


@pytest.mark.parametrize(
    ("name", "theirs"), [("ViT-B/32", "ViT-B-32-quickgelu"), ("RN50", "RN50-quickgelu")]
)
def test_a_published_architecture_equals_open_clip(
    name: str, theirs: str, open_clip: ModuleType
) -> None:
    model = open_clip.create_model(theirs, pretrained=None)
    assert_towers_agree(random_clip(OPENAI_CONFIGS[name]), model)


def test_logits_equal_open_clip(open_clip: ModuleType) -> None:
    ours, theirs = random_clip(SMALL), open_clip_of(SMALL, open_clip)
    theirs.eval().load_state_dict(ours.state_dict())
    pixels, tokens = random_pixels(SMALL), random_tokens(SMALL)
    expected = theirs.get_logits(pixels, tokens)
    for our_logits, their_logits in zip(ours(pixels, tokens), expected, strict=True):
        torch.testing.assert_close(our_logits, their_logits, atol=1e-3, rtol=0)


# Their names for ours. Inside the layers of both towers:
HF_LAYER = {
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "self_attn.out_proj": "attn.out_proj",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
}
HF_REST = {
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


def hf_weights(ours: CLIP) -> dict[str, Tensor]:
    """Our state dict under the names of transformers' CLIPModel."""
    state = ours.state_dict()
    weights = {theirs: state[name] for theirs, name in HF_REST.items()}
    weights["text_projection.weight"] = state["text_projection"].T
    weights["visual_projection.weight"] = state["visual.proj"].T
    for name in state:
        layer = re.fullmatch(r"((visual\.)?transformer\.resblocks\.(\d+)\.)ln_1\.(\w+)", name)
        if layer:
            block, is_vision, number, kind = layer.groups()
            tower = "vision_model" if is_vision else "text_model"
            their_block = f"{tower}.encoder.layers.{number}."
            for theirs, inner in HF_LAYER.items():
                weights[f"{their_block}{theirs}.{kind}"] = state[f"{block}{inner}.{kind}"]
            parts = state[f"{block}attn.in_proj_{kind}"].chunk(3)
            for part, values in zip("qkv", parts, strict=True):
                weights[f"{their_block}self_attn.{part}_proj.{kind}"] = values
    return weights


def hf_clip_of(config: ClipConfig, transformers: ModuleType) -> Any:
    vision, text = config.vision, config.text
    vision_config = transformers.CLIPVisionConfig(
        image_size=vision.image_size,
        patch_size=vision.patch_size,
        hidden_size=vision.width,
        intermediate_size=vision.n_hidden,
        num_hidden_layers=vision.layers,
        num_attention_heads=vision.n_heads,
        hidden_act=config.activation,
    )
    text_config = transformers.CLIPTextConfig(
        vocab_size=text.vocab_size,
        max_position_embeddings=text.context_length,
        hidden_size=text.width,
        intermediate_size=text.n_hidden,
        num_hidden_layers=text.layers,
        num_attention_heads=text.n_heads,
        hidden_act=config.activation,
        eos_token_id=text.vocab_size - 1,
    )
    return transformers.CLIPModel(
        transformers.CLIPConfig(
            text_config=text_config.to_dict(),
            vision_config=vision_config.to_dict(),
            projection_dim=config.embed_dim,
        )
    )


@pytest.mark.parametrize("activation", ["quick_gelu", "gelu"])
def test_a_small_vit_equals_transformers(activation: Any, transformers: ModuleType) -> None:
    config = ClipConfig(SMALL.embed_dim, SMALL.vision, SMALL.text, activation)
    ours, theirs = random_clip(config), hf_clip_of(config, transformers).eval()
    theirs.load_state_dict(hf_weights(ours), strict=True)
    pixels, tokens = random_pixels(config), random_tokens(config)
    output = theirs(input_ids=tokens, pixel_values=pixels)
    assert_same_directions(ours.encode_image(pixels), output.image_embeds)
    assert_same_directions(ours.encode_text(tokens), output.text_embeds)
