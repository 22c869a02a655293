"""What the shapes of weights cannot tell: the configs of open_clip and transformers → a Recipe.

In: a JSON file. Out: activation, heads, preprocessing. Whatever a config asks for that our towers
do not do is refused, because it would run without an error and answer wrongly. Imports no torch.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from math import isfinite
from pathlib import Path
from typing import Any, cast

from clipsearch.clip.config import Activation
from clipsearch.errors import BrokenCheckpoint

OPEN_CLIP_CONFIG = "open_clip_config.json"
TRANSFORMERS_CONFIG = "config.json"
# transformers keeps the preprocessing in a file of its own, since version 5 inside a larger one.
PREPROCESSOR_CONFIG = "preprocessor_config.json"
PROCESSOR_CONFIG = "processor_config.json"

MAX_CONFIG_BYTES = 1024 * 1024

# Options of open_clip that the shapes confirm, or that change nothing when a model only answers.
SIZES = {"layers", "width", "head_width", "patch_size", "image_size", "heads"}
SIZES |= {"mlp_ratio", "context_length", "vocab_size", "embed_dim", "vision_cfg", "text_cfg"}
NO_MATTER = {"patch_dropout", "output_tokens", "attn_pooler_queries", "attn_pooler_heads"}
NO_MATTER |= {"timm_pool", "timm_proj", "timm_drop", "timm_drop_path", "timm_model_pretrained"}
NO_MATTER |= {"hf_model_pretrained", "hf_proj_type", "hf_pooler_type", "pad_id", "eos_id"}
NO_MATTER |= {"init_logit_scale", "nonscalar_logit_scale", "custom_text", "quick_gelu"}
NO_MATTER |= {"output_dict", "cast_dtype"}
# Values that say in words what a tower does anyway.
AS_USUAL = {
    "pos_embed_type": ("learnable",),
    "pool_type": ("tok", "argmax"),
    "block_type": ("default",),
    "proj_type": ("linear",),
}

# What makes another model of the same weights. Libraries keep the digest: nothing may be added.
IDENTITY = ("activation", "image_size", "preprocess", "text_heads", "vision_heads")

ACTIVATIONS = ("quick_gelu", "gelu")
LAYER_NORM_EPS = 1e-5

# Pillow's numbers for the ways to resample, which transformers writes.
RESAMPLING_NAMES = {0: "nearest", 2: "bilinear", 3: "bicubic"}


@dataclass(frozen=True)
class Recipe:
    """`preprocess` holds those values of `Preprocess.to_dict` that are not OpenAI's.

    Heads of None are 64 channels wide. `image_size` and the layers, if given, must be what the
    shapes say: a file that lacks its last layers looks whole.
    """

    activation: Activation = "quick_gelu"
    vision_heads: int | None = None
    text_heads: int | None = None
    image_size: int | None = None
    preprocess: dict[str, Any] = field(default_factory=dict)
    vision_layers: object = None  # as in the config; a list for a ResNet
    text_layers: object = None

    def identity(self, weights_sha256: str) -> str:
        """The digest, in hex, of weights used in this way: used otherwise it is another model."""
        found = asdict(self)
        values = json.dumps({name: found[name] for name in IDENTITY}, sort_keys=True)
        return sha256(f"{weights_sha256}\n{values}".encode()).hexdigest()


def read_recipe(config: Path) -> Recipe:
    """Read `open_clip_config.json`, or `config.json` and its neighbours.

    Raises BrokenCheckpoint if it is damaged, or if the model needs what our towers do not do.
    """
    try:
        if config.name == OPEN_CLIP_CONFIG:
            return _open_clip(read_json(config))
        return _transformers(read_json(config), _image_processor(config.parent))
    except BrokenCheckpoint as error:
        raise BrokenCheckpoint(
            f"{config} cannot be used ({error}): get it again, or choose another model"
        ) from error


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object. Raises BrokenCheckpoint, without the file's name, if it is anything else."""
    try:
        if path.stat().st_size > MAX_CONFIG_BYTES:
            raise BrokenCheckpoint("it is too large for a model's config")
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        reason = type(error).__name__ if isinstance(error, RecursionError) else str(error)
        raise BrokenCheckpoint(f"it is no JSON: {reason}") from error
    if not isinstance(values, dict):
        raise BrokenCheckpoint("it is no JSON object")
    return values


def _open_clip(values: Mapping[str, Any]) -> Recipe:
    model = _table(values, "model_cfg")
    vision, text = _table(model, "vision_cfg"), _table(model, "text_cfg")
    for table in (model, vision, text):
        _refuse_unknown(table)
    width, head_width = _whole(vision, "width", 768), _whole(vision, "head_width", 64)
    pooled = width * 32 if isinstance(vision.get("layers"), list) else width
    size = _square(vision.get("image_size"))
    shown = _table(values, "preprocess_cfg", {})
    if _square(shown.get("size")) not in (None, size):
        raise BrokenCheckpoint(f"its pictures have {shown['size']} px and its tower sees {size}")
    preprocess: dict[str, Any] = {}
    preprocess |= {key: _triple(shown[key], key) for key in ("mean", "std") if shown.get(key)}
    if interpolation := shown.get("interpolation"):
        # "random" is for training only.
        preprocess["interpolation"] = "bicubic" if interpolation == "random" else interpolation
        _check_among(list(RESAMPLING_NAMES.values()), "interpolation", preprocess["interpolation"])
    if (resize_mode := shown.get("resize_mode") or "shortest") != "shortest":
        preprocess["resize_mode"] = resize_mode
        _check_among(["squash"], "resize_mode", resize_mode)
    return Recipe(
        activation="quick_gelu" if model.get("quick_gelu") else "gelu",
        vision_heads=_heads(pooled, head_width),
        text_heads=_whole(text, "heads", 8),
        image_size=size,
        preprocess=preprocess,
        vision_layers=vision.get("layers", 12),
        text_layers=text.get("layers", 12),
    )


def _transformers(values: Mapping[str, Any], shown: Mapping[str, Any] | None) -> Recipe:
    if values.get("model_type") != "clip":
        raise BrokenCheckpoint(
            f"it describes a model of the kind {values.get('model_type')!r} and not 'clip'"
        )
    # Configs of the first years repeat the tables under a second name, which wins.
    text, vision = (
        _table(values, f"{tower}_config", {}) | _table(values, f"{tower}_config_dict", {})
        for tower in ("text", "vision")
    )
    activations = {str(table.get("hidden_act", "quick_gelu")) for table in (text, vision)}
    if len(activations) != 1 or not activations <= set(ACTIVATIONS):
        names = ", ".join(sorted(activations))
        raise BrokenCheckpoint(f"its activation is {names}, and must be one of quick_gelu and gelu")
    for table in (text, vision):
        if table.get("layer_norm_eps", LAYER_NORM_EPS) != LAYER_NORM_EPS:
            raise BrokenCheckpoint(f"its layer_norm_eps is {table['layer_norm_eps']} and not 1e-05")
    vocab_size = _whole(text, "vocab_size", 49408)
    end = text.get("eos_token_id")
    # Two is what OpenAI's own configs say, and transformers takes it for the largest id.
    if isinstance(end, int) and end < vocab_size - 1 and end != 2:
        raise BrokenCheckpoint(f"its end token is {end} and not its last token")
    size = _square(vision.get("image_size", 224))
    return Recipe(
        activation=cast(Activation, activations.pop()),
        vision_heads=_whole(vision, "num_attention_heads", 12),
        text_heads=_whole(text, "num_attention_heads", 8),
        image_size=size,
        preprocess={} if shown is None else _shown_by_transformers(shown, size),
        vision_layers=vision.get("num_hidden_layers", 12),
        text_layers=text.get("num_hidden_layers", 12),
    )


def _image_processor(folder: Path) -> Mapping[str, Any] | None:
    if (folder / PREPROCESSOR_CONFIG).is_file():
        return read_json(folder / PREPROCESSOR_CONFIG)
    if (folder / PROCESSOR_CONFIG).is_file():
        return _table(read_json(folder / PROCESSOR_CONFIG), "image_processor", {})
    return None


def _shown_by_transformers(shown: Mapping[str, Any], size: int | None) -> dict[str, Any]:
    """The values of a CLIPImageProcessor that differ from OpenAI's, by our names."""
    for step in ("do_resize", "do_rescale", "do_normalize"):
        if shown.get(step, True) is not True:
            raise BrokenCheckpoint(f"its preprocessing switches {step} off")
    if abs(_number(shown.get("rescale_factor", 1 / 255)) - 1 / 255) > 1e-9:
        raise BrokenCheckpoint(
            f"its preprocessing has a rescale_factor of {shown['rescale_factor']}"
        )
    triples = {key: shown.get(f"image_{key}") for key in ("mean", "std")}
    preprocess: dict[str, Any] = {}
    preprocess |= {key: _triple(value, key) for key, value in triples.items() if value}
    resample = shown.get("resample", 3)
    if not isinstance(resample, int) or resample not in RESAMPLING_NAMES:
        raise BrokenCheckpoint(f"its preprocessing resamples in the way {resample!r}")
    preprocess["interpolation"] = RESAMPLING_NAMES[resample]
    wanted = shown.get("size", size)
    edge = wanted.get("shortest_edge") if isinstance(wanted, dict) else wanted
    if edge is None:  # height and width
        preprocess["resize_mode"] = "squash"
        edge = _square([wanted.get("height"), wanted.get("width")])
    elif shown.get("do_center_crop", True) is not True:
        raise BrokenCheckpoint("its preprocessing does not cut out a square")
    crop = shown.get("crop_size") or size
    crop = _square([crop.get("height"), crop.get("width")] if isinstance(crop, dict) else crop)
    if edge != size or crop != size:
        raise BrokenCheckpoint(f"its preprocessing makes {edge} px, cuts {crop}, and not {size}")
    return preprocess


def _check_among(known: list[str], key: str, value: Any) -> None:
    if value not in known:
        raise BrokenCheckpoint(f"{key} = {value!r} is not among {', '.join(known)}")


def _refuse_unknown(table: Mapping[str, Any]) -> None:
    for key, value in table.items():
        known = key in SIZES or key in NO_MATTER or value in AS_USUAL.get(key, ())
        if not known and value not in (None, False, {}, [], ""):
            raise BrokenCheckpoint(f"{key} = {value!r} makes a tower that clipsearch does not have")


def _table(values: Mapping[str, Any], key: str, default: Any = None) -> dict[str, Any]:
    table = values.get(key) or default
    if not isinstance(table, dict):
        raise BrokenCheckpoint(f"it has no {key}")
    return table


def _whole(values: Mapping[str, Any], key: str, default: int) -> int:
    value = values.get(key, default)
    if type(value) is not int or value < 1:
        raise BrokenCheckpoint(f"its {key} is {value!r} and not a whole number of at least 1")
    return value


def _heads(width: int, head_width: int) -> int:
    if width % head_width:
        raise BrokenCheckpoint(f"its heads are {head_width} wide, which does not divide {width}")
    return width // head_width


def _square(size: Any) -> int | None:
    """A side in pixels, also of a list of two that are alike."""
    if isinstance(size, list) and len(size) == 2 and size[0] == size[1]:
        size = size[0]
    if size is not None and type(size) is not int:
        raise BrokenCheckpoint(f"its pictures are {size!r} and not square")
    return size


def _triple(values: Any, key: str) -> list[float]:
    """Three numbers, or one for all three channels."""
    numbers = [_number(value) for value in (values if isinstance(values, list) else [values] * 3)]
    if len(numbers) != 3:
        raise BrokenCheckpoint(f"its {key} is not one number for each of three channels")
    if key == "std" and min(numbers) <= 0:
        raise BrokenCheckpoint("its std is not positive")
    return numbers


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        raise BrokenCheckpoint(f"{value!r} stands where a number belongs")
    return float(value)
