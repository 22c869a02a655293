from __future__ import annotations

import json
from math import log

import pytest
import torch
from torch import nn

from clipsearch.clip.model import CLIP, OPENAI_CONFIGS, ClipConfig
from clipsearch.errors import BrokenCheckpoint

# name: all parameters, those of the image tower
PARAMETERS = {
    "RN50": (102_007_137, 38_316_896),
    "RN101": (119_688_033, 56_259_936),
    "RN50x4": (178_300_601, 87_137_080),
    "RN50x16": (290_979_217, 167_328_912),
    "RN50x64": (623_258_305, 420_380_352),
    "ViT-B/32": (151_277_313, 87_849_216),
    "ViT-B/16": (149_620_737, 86_192_640),
    "ViT-L/14": (427_616_513, 303_966_208),
    "ViT-L/14@336px": (427_944_193, 304_293_888),
}
SHAPES: dict[str, dict[str, tuple[int, ...]]] = {
    "ViT-B/32": {
        "visual.conv1.weight": (768, 3, 32, 32),
        "visual.positional_embedding": (50, 768),
        "visual.proj": (768, 512),
        "token_embedding.weight": (49408, 512),
        "positional_embedding": (77, 512),
        "text_projection": (512, 512),
        "logit_scale": (),
    },
    "ViT-L/14": {"visual.positional_embedding": (257, 1024)},
    "ViT-L/14@336px": {"visual.positional_embedding": (577, 1024)},
    "RN50": {"visual.attnpool.positional_embedding": (50, 2048)},
    "RN50x64": {"visual.attnpool.positional_embedding": (197, 4096)},
}


def without_weights(config: ClipConfig) -> CLIP:
    with torch.device("meta"):
        return CLIP(config)


def n_parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def tokens(n: int) -> torch.Tensor:
    drawn = torch.randint(1, 590, (n, 16))
    drawn[:, 9] = 599
    return drawn


@pytest.mark.parametrize("name", PARAMETERS)
def test_the_published_models_have_their_number_of_parameters(name: str) -> None:
    model = without_weights(OPENAI_CONFIGS[name])
    assert (n_parameters(model), n_parameters(model.visual)) == PARAMETERS[name]


def test_the_published_models_are_nine_in_the_order_of_the_reference() -> None:
    assert list(OPENAI_CONFIGS) == list(PARAMETERS)


@pytest.mark.parametrize("name", SHAPES)
def test_tensors_have_the_names_and_shapes_of_the_checkpoints(name: str) -> None:
    weights = without_weights(OPENAI_CONFIGS[name]).state_dict()
    assert {key: tuple(weights[key].shape) for key in SHAPES[name]} == SHAPES[name]


@pytest.mark.parametrize("name", PARAMETERS)
def test_sizes_are_read_off_the_shapes(name: str) -> None:
    config = OPENAI_CONFIGS[name]
    assert ClipConfig.from_state_dict(without_weights(config).state_dict()) == config


@pytest.mark.parametrize("name", PARAMETERS)
def test_sizes_survive_json(name: str) -> None:
    config = OPENAI_CONFIGS[name]
    assert ClipConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_what_shapes_do_not_tell_can_be_given(tiny_config: ClipConfig, tiny_model: CLIP) -> None:
    weights = tiny_model.state_dict()
    read = ClipConfig.from_state_dict(weights, "quick_gelu", vision_heads=2, text_heads=2)
    assert read == tiny_config


def test_a_state_dict_that_is_no_clip_is_refused_by_naming_what_is_missing() -> None:
    with pytest.raises(BrokenCheckpoint, match=r"'visual\.layer1\.0\.conv1\.weight' is missing"):
        ClipConfig.from_state_dict({"fc.weight": torch.zeros(1)})


def test_positions_that_are_no_square_are_refused(tiny_model: CLIP) -> None:
    weights = tiny_model.state_dict() | {"visual.positional_embedding": torch.zeros(15, 64)}
    with pytest.raises(BrokenCheckpoint, match="15 positions"):
        ClipConfig.from_state_dict(weights)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"activation": "relu"}, "unknown activation 'relu'"),
        ({"colour": 1}, "colour"),
        ({"text": {"depth": 1}}, "depth"),
        ({"vision": {}}, "layers"),
        ({"vision": None}, "incomplete or unknown"),
    ],
)
def test_sizes_that_make_no_sense_are_refused(
    change: dict[str, object], message: str, tiny_config: ClipConfig
) -> None:
    with pytest.raises(BrokenCheckpoint, match=message):
        ClipConfig.from_dict(tiny_config.to_dict() | change)


@pytest.mark.parametrize("shape", [(3, 64, 64), (1, 3, 32, 32), (1, 1, 64, 64), (1, 3, 64, 65)])
def test_pixels_of_a_wrong_shape_are_refused_by_naming_the_right_one(
    shape: tuple[int, ...], tiny_model: CLIP
) -> None:
    with pytest.raises(ValueError, match=r"shape \[batch, 3, 64, 64\], not \["):
        tiny_model.encode_image(torch.zeros(shape))


def test_features_are_not_normalised_and_logits_are_scaled_cosines(tiny_model: CLIP) -> None:
    pixels, words = torch.randn(3, 3, 64, 64), tokens(2)
    images, texts = tiny_model.encode_image(pixels), tiny_model.encode_text(words)
    assert (images.norm(dim=-1) - 1).abs().min().item() > 0.01
    per_image, per_text = tiny_model(pixels, words)
    cosines = nn.functional.cosine_similarity(images[:, None], texts[None], dim=-1)
    torch.testing.assert_close(per_image, cosines / 0.07, atol=1e-4, rtol=0)
    assert torch.equal(per_text, per_image.T)


def test_the_scale_is_stored_as_a_logarithm(tiny_model: CLIP) -> None:
    assert tiny_model.logit_scale.item() == pytest.approx(log(1 / 0.07))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_inputs_are_cast_to_the_dtype_of_the_weights(dtype: torch.dtype, tiny_model: CLIP) -> None:
    model = tiny_model.to(dtype)
    assert model.dtype == dtype
    assert model.encode_image(torch.randn(2, 3, 64, 64, dtype=torch.float64)).dtype == dtype
    assert model.encode_text(tokens(2)).dtype == dtype


@pytest.mark.parametrize("towers", ["tiny_config", "tiny_resnet_config"])
def test_it_learns_in_bfloat16_autocast(towers: str, request: pytest.FixtureRequest) -> None:
    torch.manual_seed(0)
    model = CLIP(request.getfixturevalue(towers)).train()
    pixels, words, pairs = torch.randn(6, 3, 64, 64), tokens(6), torch.arange(6)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3)
    losses = []
    for _ in range(15):
        with torch.autocast("cpu", torch.bfloat16):
            per_image, per_text = model(pixels, words)
        loss = nn.functional.cross_entropy(per_image.float(), pairs)
        loss = loss + nn.functional.cross_entropy(per_text.float(), pairs)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        losses.append(loss.item())
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert losses[-1] < losses[0] / 4
