from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from clipsearch.clip.preprocess import Preprocess
from clipsearch.clip.recipe import Recipe, read_recipe
from clipsearch.errors import BrokenCheckpoint

Values = dict[str, Any]

OPEN_CLIP: Values = {
    "model_cfg": {
        "embed_dim": 1024,
        "vision_cfg": {
            "image_size": 224,
            "layers": 32,
            "width": 1280,
            "head_width": 80,
            "patch_size": 14,
        },
        "text_cfg": {"width": 1024, "heads": 16, "layers": 24},
    },
    "preprocess_cfg": {"mean": [0.5, 0.5, 0.5], "std": 0.25, "resize_mode": "shortest"},
}
TRANSFORMERS: Values = {
    "model_type": "clip",
    "text_config": {"eos_token_id": 2, "hidden_act": "gelu"},
    "vision_config": {"num_attention_heads": 16, "hidden_act": "gelu"},
}
PROCESSOR: Values = {
    "size": {"shortest_edge": 224},
    "crop_size": {"height": 224, "width": 224},
    "resample": 3,
    "image_mean": [0.5, 0.5, 0.5],
}


def changed(values: Values, path: str, value: Any) -> Values:
    """A deep copy with another value at `a.b.c`."""
    copy: Values = json.loads(json.dumps(values))
    *branches, leaf = path.split(".")
    node = copy
    for branch in branches:
        node = node[branch]
    node[leaf] = value
    return copy


def test_the_identity_of_a_recipe_stays_what_libraries_keep() -> None:
    wanted = "399c3563f42af474"
    assert Recipe("gelu", 4, 2, 32, {"mean": [0.5] * 3}).identity("ab").startswith(wanted)


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., Recipe]:
    def read(values: Values, processor: Values | None = None) -> Recipe:
        name = "open_clip_config.json" if "model_cfg" in values else "config.json"
        (tmp_path / name).write_text(json.dumps(values))
        if processor is not None:
            (tmp_path / "preprocessor_config.json").write_text(json.dumps(processor))
        return read_recipe(tmp_path / name)

    return read


def test_head_widths_come_from_the_config_of_open_clip(read: Callable[..., Recipe]) -> None:
    recipe = read(OPEN_CLIP)
    assert (recipe.activation, recipe.vision_heads, recipe.text_heads) == ("gelu", 16, 16)
    assert recipe.preprocess == {"mean": [0.5] * 3, "std": [0.25] * 3}


def test_heads_come_from_the_config_of_transformers(read: Callable[..., Recipe]) -> None:
    recipe = read(TRANSFORMERS, PROCESSOR)
    assert (recipe.activation, recipe.vision_heads, recipe.text_heads) == ("gelu", 16, 8)
    assert recipe.preprocess == {"mean": [0.5] * 3, "interpolation": "bicubic"}


def test_the_second_tables_of_old_configs_win(read: Callable[..., Recipe]) -> None:
    old = TRANSFORMERS | {"vision_config_dict": {"num_attention_heads": 4}}
    assert read(old).vision_heads == 4


def test_squeezed_pictures_are_squeezed(read: Callable[..., Recipe]) -> None:
    squash = read(changed(OPEN_CLIP, "preprocess_cfg.resize_mode", "squash"))
    same = PROCESSOR | {"size": {"height": 224, "width": 224}, "do_center_crop": False}
    for recipe in (squash, read(TRANSFORMERS, same)):
        preprocess = Preprocess.from_dict(Preprocess(8).to_dict() | recipe.preprocess)
        assert preprocess.resize_mode == "squash"


def test_a_processor_inside_a_larger_file_is_found(
    read: Callable[..., Recipe], tmp_path: Path
) -> None:
    whole = {"processor_class": "CLIPProcessor", "image_processor": PROCESSOR}
    (tmp_path / "processor_config.json").write_text(json.dumps(whole))
    assert read(TRANSFORMERS).preprocess["mean"] == [0.5] * 3


REFUSED = [
    (OPEN_CLIP, "model_cfg.vision_cfg.timm_model_name", "vit_x", "timm_model_name = 'vit_x'"),
    (OPEN_CLIP, "model_cfg.vision_cfg.attentional_pool", True, "attentional_pool"),
    (OPEN_CLIP, "model_cfg.vision_cfg.act_kwargs", {"approximate": "tanh"}, "act_kwargs"),
    (OPEN_CLIP, "model_cfg.vision_cfg.head_width", 96, "does not divide 1280"),
    (OPEN_CLIP, "model_cfg.vision_cfg.head_width", 0, "head_width is 0"),
    (OPEN_CLIP, "model_cfg.vision_cfg.image_size", [224, 100], "not square"),
    (OPEN_CLIP, "model_cfg.vision_cfg", [1], "it has no vision_cfg"),
    (OPEN_CLIP, "model_cfg.text_cfg.no_causal_mask", True, "no_causal_mask"),
    (OPEN_CLIP, "model_cfg.text_cfg.hf_tokenizer_name", "x/y", "hf_tokenizer_name"),
    (OPEN_CLIP, "model_cfg.text_cfg.pool_type", "last", "pool_type = 'last'"),
    (OPEN_CLIP, "model_cfg.init_logit_bias", -10, "init_logit_bias"),
    (OPEN_CLIP, "preprocess_cfg.mean", [0.5, 0.5], "mean is not one number"),
    (OPEN_CLIP, "preprocess_cfg.std", ["x", 1, 1], "'x' stands where a number belongs"),
    (OPEN_CLIP, "preprocess_cfg.mean", [float("nan")] * 3, "nan stands where"),
    (OPEN_CLIP, "preprocess_cfg.std", [1, 0, 1], "std is not positive"),
    (OPEN_CLIP, "preprocess_cfg.interpolation", [3], r"interpolation = \[3\]"),
    (OPEN_CLIP, "preprocess_cfg.resize_mode", "longest", "resize_mode = 'longest'"),
    (OPEN_CLIP, "preprocess_cfg.size", 336, "336 px and its tower sees 224"),
    (TRANSFORMERS, "model_type", "siglip", "kind 'siglip' and not 'clip'"),
    (TRANSFORMERS, "text_config.hidden_act", "quick_gelu", "gelu, quick_gelu"),
    (TRANSFORMERS, "text_config.hidden_act", ["gelu"], "activation"),
    (TRANSFORMERS, "text_config.layer_norm_eps", 1e-6, "layer_norm_eps is 1e-06"),
    (TRANSFORMERS, "text_config.eos_token_id", 7, "end token is 7"),
    (TRANSFORMERS, "vision_config.num_attention_heads", "12", "num_attention_heads is '12'"),
    (PROCESSOR, "do_normalize", False, "switches do_normalize off"),
    (PROCESSOR, "do_center_crop", False, "does not cut out a square"),
    (PROCESSOR, "size.shortest_edge", 256, "makes 256 px"),
    (PROCESSOR, "crop_size.height", 100, "not square"),
    (PROCESSOR, "rescale_factor", 1, "rescale_factor of 1"),
    (PROCESSOR, "resample", [], "resamples in the way"),
]


@pytest.mark.parametrize(
    ("values", "path", "value", "reason"), REFUSED, ids=[f"{row[1]} {row[2]}" for row in REFUSED]
)
def test_what_our_towers_do_not_do_is_refused(
    values: Values, path: str, value: Any, reason: str, read: Callable[..., Recipe]
) -> None:
    odd = changed(values, path, value)
    with pytest.raises(BrokenCheckpoint, match=reason) as caught:
        read(*((TRANSFORMERS, odd) if values is PROCESSOR else (odd,)))
    assert "config.json cannot be used" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[1]", b"\xff", b"[" * 100_000, b"{}", b" " * 2_000_000, b'{"model_cfg": 3}'],
    ids=["empty", "cut", "list", "no text", "deep", "nothing", "huge", "number"],
)
@pytest.mark.parametrize("name", ["open_clip_config.json", "config.json"])
def test_a_damaged_config_is_one_sentence(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BrokenCheckpoint, match=r"config\.json cannot be used \(it ") as caught:
        read_recipe(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_of_open_clips_own_configs_the_plain_ones_are_taken(
    open_clip: ModuleType, read: Callable[..., Recipe]
) -> None:
    taken = set()
    for name in open_clip.list_models():
        try:
            read({"model_cfg": open_clip.get_model_config(name)})
            taken.add(name)
        except BrokenCheckpoint:
            pass
    wanted = {"RN50", "RN50x64-quickgelu", "ViT-B-32", "ViT-B-32-256", "ViT-L-14-336", "ViT-H-14"}
    wanted |= {"ViT-g-14", "ViT-bigG-14"}
    assert wanted <= taken
    other = ("SigLIP", "CLIPA", "EVA", "MobileCLIP", "PE-Core", "coca", "roberta", "convnext")
    assert not [name for name in taken if any(word in name for word in other)]
