from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from clipsearch.clip.model import ClipConfig, VisionConfig
from clipsearch.clip.vision import AttentionPool2d, Bottleneck, ModifiedResNet, VisionTransformer


def test_a_vision_transformer_makes_one_vector_of_each_picture(tiny_config: ClipConfig) -> None:
    tower = VisionTransformer(tiny_config.vision, 32, "quick_gelu").eval()
    pixels = torch.randn(3, 3, 64, 64)
    features = tower(pixels)
    assert features.shape == (3, 32)
    torch.testing.assert_close(tower(pixels[1:2]), features[1:2], atol=1e-5, rtol=0)


def test_a_vision_transformer_is_its_patches_and_not_their_places(tiny_config: ClipConfig) -> None:
    tower = VisionTransformer(tiny_config.vision, 32, "quick_gelu").eval()
    pixels = torch.randn(1, 3, 64, 64)
    moved = pixels.roll(16, dims=-1)  # by one patch
    assert not torch.allclose(tower(pixels), tower(moved), atol=1e-4)
    with torch.no_grad():
        tower.positional_embedding.zero_()
    torch.testing.assert_close(tower(pixels), tower(moved), atol=1e-5, rtol=0)


def test_a_modified_resnet_makes_one_vector_of_each_picture(
    tiny_resnet_config: ClipConfig,
) -> None:
    tower = ModifiedResNet(tiny_resnet_config.vision, 32).eval()
    assert tower(torch.randn(2, 3, 64, 64)).shape == (2, 32)
    assert (tower.input_resolution, tower.output_dim) == (64, 32)


def test_attention_pooling_equals_full_attention_at_the_mean() -> None:
    torch.manual_seed(0)
    pool = AttentionPool2d(grid=3, width=16, heads=4, output_dim=8)
    x = torch.randn(2, 16, 3, 3)
    places = x.flatten(2).permute(2, 0, 1)
    places = torch.cat([places.mean(0, keepdim=True), places]) + pool.positional_embedding[:, None]
    expected, _ = nn.functional.multi_head_attention_forward(
        *(places, places, places),
        embed_dim_to_check=16,
        num_heads=4,
        in_proj_weight=None,
        in_proj_bias=torch.cat([pool.q_proj.bias, pool.k_proj.bias, pool.v_proj.bias]),
        bias_k=None,
        bias_v=None,
        add_zero_attn=False,
        dropout_p=0,
        out_proj_weight=pool.c_proj.weight,
        out_proj_bias=pool.c_proj.bias,
        use_separate_proj_weight=True,
        q_proj_weight=pool.q_proj.weight,
        k_proj_weight=pool.k_proj.weight,
        v_proj_weight=pool.v_proj.weight,
    )
    torch.testing.assert_close(pool(x), expected[0], atol=1e-5, rtol=0)


def test_a_new_bottleneck_adds_nothing_to_its_input() -> None:
    block = Bottleneck(inplanes=16, planes=4).eval()
    x = torch.rand(1, 16, 5, 5)
    assert torch.equal(block(x), x)


def test_a_bottleneck_with_a_stride_pools_on_both_paths() -> None:
    block = Bottleneck(inplanes=8, planes=4, stride=2)
    names = set(block.state_dict())
    assert {"downsample.0.weight", "downsample.1.weight"} <= names
    assert not any(name.startswith("downsample.-1") for name in names)
    assert block(torch.rand(2, 8, 6, 6)).shape == (2, 16, 3, 3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"patch_size": 15}, "64 is no multiple of the patch size 15"),
        ({"patch_size": None}, "needs a patch size"),
        ({"heads": 3}, "width of 64 cannot be split into 3"),
    ],
)
def test_a_vision_transformer_refuses_sizes_that_do_not_fit(
    change: dict[str, int], message: str, tiny_config: ClipConfig
) -> None:
    with pytest.raises(ValueError, match=message):
        VisionTransformer(replace(tiny_config.vision, **change), 32, "gelu")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (VisionConfig(64, 4, 8, None), "depths of its four stages"),
        (VisionConfig(65, (1, 1, 1, 1), 8, None), "65 is not a multiple of 32"),
    ],
)
def test_a_modified_resnet_refuses_sizes_that_do_not_fit(
    config: VisionConfig, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        ModifiedResNet(config, 32)
