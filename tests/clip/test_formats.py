"""The same random weights, written by every library that writes CLIPs, give the same vectors."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor

from clipsearch.clip.cache import ModelCache
from clipsearch.clip.config import ClipConfig, VisionConfig
from clipsearch.clip.convert import convert_file
from clipsearch.clip.encoder import Encoder
from clipsearch.clip.manifest import read_manifest
from clipsearch.clip.models import find_model
from clipsearch.errors import BrokenCheckpoint, ModelError, UnknownModel
from tests.clip.test_checkpoint import save_torchscript, save_wrapped
from tests.clip.test_parity import hf_clip_of, hf_weights, random_clip
from tests.clip.tiny import RESNET, VIT, write_merges

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit")

GELU = replace(VIT, activation="gelu")
# Heads of 32 channels, which no shape shows.
# As ViT-g and bigG have them: MLPs of another width, which open_clip writes as a ratio.
WIDE = replace(
    GELU,
    vision=replace(GELU.vision, mlp_width=279, heads=4),
    text=replace(GELU.text, mlp_width=320),
)
NARROW = replace(
    VIT, vision=replace(VIT.vision, heads=2), text=replace(VIT.text, heads=2), activation="gelu"
)
TEXTS = ["red blue", "a red blue thing", "", "blue " * 20]
SHOWN = {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.4], "interpolation": "bilinear"}


class NoTokenizer:
    """What open_clip wants to save beside the weights, and we do not want."""

    def save_pretrained(self, folder: Path) -> None:
        write_merges(Path(folder) / "merges.txt.gz")


def model_cfg(config: ClipConfig) -> dict[str, Any]:
    """The sizes in the words of open_clip."""
    vision, text = config.vision, config.text
    pooled = vision.width if vision.patch_size else vision.width * 32
    return {
        "embed_dim": config.embed_dim,
        "quick_gelu": config.activation == "quick_gelu",
        "vision_cfg": {
            "image_size": vision.image_size,
            "layers": vision.layers,
            "width": vision.width,
            "patch_size": vision.patch_size,
            "head_width": pooled // vision.n_heads,
            "mlp_ratio": vision.n_hidden / vision.width,
        },
        "text_cfg": {
            "context_length": text.context_length,
            "vocab_size": text.vocab_size,
            "width": text.width,
            "heads": text.n_heads,
            "layers": text.layers,
            "mlp_ratio": text.n_hidden / text.width,
        },
    }


def save_open_clip(
    config: ClipConfig, weights: dict[str, Tensor], folder: Path, custom_text: bool = False
) -> Any:
    """By open_clip's own hand, with its own model around the weights."""
    import open_clip
    from open_clip.push_to_hf_hub import save_for_hf

    kind = open_clip.CustomTextCLIP if custom_text else open_clip.CLIP
    model = kind(**model_cfg(config))
    prefixed = weights
    if custom_text:
        outside = ("visual.", "logit_scale")
        prefixed = {
            name if name.startswith(outside) else f"text.{name}": tensor
            for name, tensor in weights.items()
        }
    model.load_state_dict(prefixed)
    model.visual.image_mean, model.visual.image_std = SHOWN["mean"], SHOWN["std"]
    model.visual.preprocess_cfg = {"interpolation": SHOWN["interpolation"]}
    save_for_hf(model, NoTokenizer(), model_cfg(config), folder)
    return model.eval()


def save_transformers(config: ClipConfig, weights: dict[str, Tensor], folder: Path) -> Any:
    import transformers

    ours = random_clip(config)
    ours.load_state_dict(weights)
    model = hf_clip_of(config, transformers)
    model.load_state_dict(hf_weights(ours))
    model.save_pretrained(folder)
    size = config.vision.image_size
    transformers.CLIPImageProcessor(
        size={"shortest_edge": size},
        crop_size=size,
        resample=2,
        image_mean=SHOWN["mean"],
        image_std=SHOWN["std"],
    ).save_pretrained(folder)
    write_merges(folder / "merges.txt.gz")
    return model.eval()


@pytest.fixture(autouse=True)
def quiet(open_clip: ModuleType, transformers: ModuleType) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # those of the other libraries
        yield


@pytest.fixture
def cache(tmp_path: Path) -> ModelCache:
    return ModelCache(tmp_path / "cache", offline=True)


def pictures() -> list[Image.Image]:
    draw = np.random.default_rng(7)
    shapes = [(32, 32, 3), (60, 41, 3), (20, 90, 3)]
    return [Image.fromarray(draw.integers(0, 256, shape, dtype=np.uint8)) for shape in shapes]


def vectors(path: Path, cache: ModelCache) -> np.ndarray[Any, Any]:
    encoder = Encoder.load(path, cache=cache, device="cpu", precision="float32")
    return np.concatenate([encoder.encode_images(pictures()), encoder.encode_texts(TEXTS)])


def weights_of(config: ClipConfig) -> dict[str, Tensor]:
    torch.manual_seed(1)
    return random_clip(config).state_dict()


def one_file(save: Callable[..., None], weights: dict[str, Tensor], folder: Path) -> Path:
    folder.mkdir()
    save(weights, folder / "weights.pt")
    write_merges(folder / "merges.txt.gz")
    return folder / "weights.pt"


def with_usual_pixels(folder: Path) -> None:
    """OpenAI's preprocessing, which files without a config have."""
    config = folder / "open_clip_config.json"
    if config.is_file():
        values = json.loads(config.read_text())
        config.write_text(json.dumps(values | {"preprocess_cfg": {}}))
    (folder / "preprocessor_config.json").unlink(missing_ok=True)


@pytest.mark.parametrize("config", [VIT, RESNET], ids=["vit", "resnet"])
def test_every_format_gives_equal_vectors(
    config: ClipConfig, cache: ModelCache, tmp_path: Path
) -> None:
    weights = weights_of(config)
    places = [
        one_file(save_file, weights, tmp_path / "safetensors"),
        one_file(torch.save, weights, tmp_path / "torch"),
        one_file(save_wrapped, weights, tmp_path / "wrapped"),
        one_file(save_torchscript, weights, tmp_path / "torchscript"),
    ]
    save_open_clip(config, weights, tmp_path / "flat")
    save_open_clip(config, weights, tmp_path / "custom", custom_text=True)
    (tmp_path / "bin").mkdir()
    for name in ("open_clip_pytorch_model.bin", "open_clip_config.json", "merges.txt.gz"):
        shutil.copy(tmp_path / "flat" / name, tmp_path / "bin")
    places += [tmp_path / "flat", tmp_path / "custom", tmp_path / "bin"]
    places += [tmp_path / "flat" / "open_clip_model.safetensors"]
    if config is VIT:  # there is no ResNet among transformers' CLIPs
        save_transformers(config, weights, tmp_path / "hf")
        shutil.copytree(tmp_path / "hf", tmp_path / "hf-bin")
        torch.save(hf_weights(clip_of(config, weights)), tmp_path / "hf-bin" / "pytorch_model.bin")
        (tmp_path / "hf-bin" / "model.safetensors").unlink()
        places += [tmp_path / "hf", tmp_path / "hf-bin"]
    for folder in tmp_path.iterdir():
        with_usual_pixels(folder)
    wanted = vectors(places[0], cache)
    assert np.abs(wanted[0] - wanted[1]).max() > 1e-3  # else equality would say little
    for place in places[1:]:
        np.testing.assert_array_equal(vectors(place, cache), wanted, err_msg=str(place))


def clip_of(config: ClipConfig, weights: dict[str, Tensor]) -> Any:
    model = random_clip(config)
    model.load_state_dict(weights)
    return model


@pytest.mark.parametrize(
    "config", [VIT, GELU, NARROW, WIDE], ids=["quick_gelu", "gelu", "narrow heads", "wide mlps"]
)
@pytest.mark.parametrize("save", [save_open_clip, save_transformers])
@torch.inference_mode()
def test_a_model_with_its_config_answers_as_its_own_library(
    save: Callable[..., Any], config: ClipConfig, cache: ModelCache, tmp_path: Path
) -> None:
    theirs = save(config, weights_of(config), tmp_path / "model")
    encoder = Encoder.load(tmp_path / "model", cache=cache, device="cpu", precision="float32")
    assert encoder.preprocess_info == {"size": 32} | SHOWN
    assert encoder.model_name == "model"
    pixels = torch.rand(2, 3, 32, 32)
    as_bytes = (pixels * 255).round().to(torch.uint8)
    mean, std = (torch.tensor(SHOWN[key]).view(3, 1, 1) for key in ("mean", "std"))
    shown = (as_bytes / 255 - mean) / std
    tokens = encoder._tokens(TEXTS)
    if save is save_open_clip:
        wanted = [theirs.encode_image(shown), theirs.encode_text(torch.from_numpy(tokens).long())]
    else:
        output = theirs(input_ids=torch.from_numpy(tokens).long(), pixel_values=shown)
        wanted = [output.image_embeds, output.text_embeds]
    found = [
        encoder.encode_pixels(as_bytes.permute(0, 2, 3, 1).contiguous().numpy()),
        encoder.encode_texts(TEXTS),
    ]
    for ours, other in zip(found, wanted, strict=True):
        unit = torch.nn.functional.normalize(other, dim=-1).numpy()
        np.testing.assert_allclose(ours, unit, atol=1e-5)


def split_in_two(folder: Path, file: str) -> None:
    """What transformers does with a model that is too large for one file."""
    weights = load_file(folder / file)
    names = sorted(weights)
    parts = {f"part-{n}.safetensors": names[n::2] for n in range(2)}
    for part, inside in parts.items():
        save_file({name: weights[name] for name in inside}, folder / part)
    places = {name: part for part, inside in parts.items() for name in inside}
    (folder / f"{file}.index.json").write_text(json.dumps({"weight_map": places}))
    (folder / file).unlink()


@pytest.mark.parametrize(
    ("save", "file"),
    [(save_open_clip, "open_clip_model.safetensors"), (save_transformers, "model.safetensors")],
)
def test_weights_in_several_files_are_put_together(
    save: Callable[..., Any], file: str, cache: ModelCache, tmp_path: Path
) -> None:
    save(GELU, weights_of(GELU), tmp_path / "model")
    wanted = vectors(tmp_path / "model", cache)
    split_in_two(tmp_path / "model", file)
    np.testing.assert_array_equal(vectors(tmp_path / "model", cache), wanted)
    index = tmp_path / "model" / f"{file}.index.json"
    np.testing.assert_array_equal(vectors(index, cache), wanted)


def test_transformers_own_shards_are_read(cache: ModelCache, tmp_path: Path) -> None:
    theirs = save_transformers(GELU, weights_of(GELU), tmp_path / "model")
    wanted = vectors(tmp_path / "model", cache)
    (tmp_path / "model" / "model.safetensors").unlink()
    theirs.save_pretrained(tmp_path / "model", max_shard_size="100KB")
    assert len(list((tmp_path / "model").glob("model-0*.safetensors"))) > 1
    np.testing.assert_array_equal(vectors(tmp_path / "model", cache), wanted)


@pytest.mark.parametrize(
    ("places", "reason"),
    [
        ({"a": "absent.safetensors"}, "its part absent.safetensors is missing"),
        ({"a": "../secret.safetensors"}, "no file beside it"),
        ({"a": "/etc/passwd"}, "no file beside it"),
        ({"a": 3}, "no file beside it"),
        ({}, "it has no weight_map"),
    ],
)
def test_an_index_that_names_other_places_is_refused(
    places: dict[str, Any], reason: str, cache: ModelCache, tmp_path: Path
) -> None:
    save_transformers(VIT, weights_of(VIT), tmp_path / "model")
    (tmp_path / "model" / "model.safetensors").unlink()
    index = tmp_path / "model" / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": places}))
    with pytest.raises(BrokenCheckpoint, match=r"index\.json cannot be used") as caught:
        find_model(tmp_path / "model", cache)
    assert reason in str(caught.value) and "\n" not in str(caught.value)


def test_a_part_of_another_model_is_refused(cache: ModelCache, tmp_path: Path) -> None:
    save_transformers(VIT, weights_of(VIT), tmp_path / "model")
    split_in_two(tmp_path / "model", "model.safetensors")
    save_file({"alien": torch.zeros(3)}, tmp_path / "model" / "part-1.safetensors")
    with pytest.raises(BrokenCheckpoint, match=r"index\.json cannot be used"):
        find_model(tmp_path / "model", cache)


def test_what_the_config_says_makes_another_model(cache: ModelCache, tmp_path: Path) -> None:
    weights = weights_of(VIT)
    save_open_clip(VIT, weights, tmp_path / "one")
    save_open_clip(GELU, weights, tmp_path / "two")
    one, two = (read_manifest(find_model(tmp_path / name, cache)) for name in ("one", "two"))
    assert (one.config.activation, two.config.activation) == ("quick_gelu", "gelu")
    assert one.source_sha256 != two.source_sha256
    assert np.abs(vectors(tmp_path / "one", cache) - vectors(tmp_path / "two", cache)).max() > 1e-4


def test_a_config_of_other_sizes_is_refused(cache: ModelCache, tmp_path: Path) -> None:
    save_transformers(VIT, weights_of(VIT), tmp_path / "model")
    other = replace(VIT, vision=VisionConfig(64, 2, 64, 8))
    config = tmp_path / "model" / "config.json"
    values = json.loads(config.read_text())
    values["vision_config"]["image_size"] = other.vision.image_size
    config.write_text(json.dumps(values))
    (tmp_path / "model" / "preprocessor_config.json").unlink()
    with pytest.raises(BrokenCheckpoint, match=r"model\.safetensors.*32 px and its config for 64"):
        find_model(tmp_path / "model", cache)


@pytest.mark.parametrize("tower", ["image", "text"])
@pytest.mark.parametrize(
    ("save", "file"),
    [(save_open_clip, "open_clip_model.safetensors"), (save_transformers, "model.safetensors")],
)
def test_weights_without_their_last_layer_are_refused(
    save: Callable[..., Any], file: str, tower: str, cache: ModelCache, tmp_path: Path
) -> None:
    save(VIT, weights_of(VIT), tmp_path / "model")
    weights = load_file(tmp_path / "model" / file)
    starts = {"image": ("visual.transf", "vision_model"), "text": ("transf", "text_model")}[tower]
    lost = {name for name in weights if name.startswith(starts) and "s.1." in name}
    assert lost
    save_file({n: t for n, t in weights.items() if n not in lost}, tmp_path / "model" / file)
    with pytest.raises(BrokenCheckpoint, match=f"its {tower} tower has 1 layers and its config"):
        find_model(tmp_path / "model", cache)


def test_transformers_weights_without_their_config_say_so(
    cache: ModelCache, tmp_path: Path
) -> None:
    save_transformers(VIT, weights_of(VIT), tmp_path / "model")
    weights = (tmp_path / "model" / "model.safetensors").rename(tmp_path / "alone.safetensors")
    with pytest.raises(BrokenCheckpoint, match=r"alone\.safetensors.* without its config\.json"):
        find_model(weights, cache)


def test_open_clip_weights_without_their_config_say_so(cache: ModelCache, tmp_path: Path) -> None:
    save_open_clip(VIT, weights_of(VIT), tmp_path / "model")
    (tmp_path / "model" / "open_clip_config.json").unlink()
    with pytest.raises(BrokenCheckpoint, match=r"put open_clip_config\.json .* beside it"):
        find_model(tmp_path / "model" / "open_clip_model.safetensors", cache)


@pytest.mark.parametrize("missing", ["k_proj", "v_proj"])
def test_half_an_attention_layer_is_refused(
    missing: str, cache: ModelCache, tmp_path: Path
) -> None:
    save_transformers(VIT, weights_of(VIT), tmp_path / "model")
    weights = hf_weights(clip_of(VIT, weights_of(VIT)))
    name = f"text_model.encoder.layers.1.self_attn.{missing}.weight"
    kept = {key: tensor.contiguous() for key, tensor in weights.items() if key != name}
    save_file(kept, tmp_path / "model" / "model.safetensors")
    with pytest.raises(BrokenCheckpoint, match=r"model\.safetensors.*layers\.1\.self_attn\.q_proj"):
        find_model(tmp_path / "model", cache)


def test_a_file_is_converted_to_a_folder_of_the_users_choice(
    cache: ModelCache, tmp_path: Path
) -> None:
    save_open_clip(GELU, weights_of(GELU), tmp_path / "model")
    (tmp_path / "model" / "merges.txt.gz").rename(tmp_path / "words.gz")
    with pytest.raises(BrokenCheckpoint, match="--vocab FILE"):
        convert_file(tmp_path / "model", tmp_path / "out", cache=cache)
    assert not (tmp_path / "out").exists()
    written = convert_file(tmp_path / "model", tmp_path / "out", tmp_path / "words.gz", cache)
    assert read_manifest(tmp_path / "out") == written
    assert find_model(tmp_path / "out", cache) == tmp_path / "out"
    assert find_model(tmp_path / "out" / "model.safetensors", cache) == tmp_path / "out"
    convert_file(tmp_path / "model", tmp_path / "out", tmp_path / "words.gz", cache)  # once more
    other = one_file(save_file, weights_of(VIT), tmp_path / "weights")
    with pytest.raises(ModelError, match="out exists already"):
        convert_file(other, tmp_path / "out", cache=cache)
    assert read_manifest(tmp_path / "out") == written


def test_converting_never_replaces_what_is_no_model(cache: ModelCache, tmp_path: Path) -> None:
    source = one_file(save_file, weights_of(VIT), tmp_path / "weights")
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "a.jpg").write_bytes(b"dear to someone")
    with pytest.raises(ModelError, match=r"photos exists already"):
        convert_file(source, photos, cache=cache)
    assert (photos / "a.jpg").read_bytes() == b"dear to someone"
    with pytest.raises(UnknownModel, match=r"no file or folder .*nowhere\.pt"):
        convert_file(tmp_path / "nowhere.pt", tmp_path / "out", cache=cache)


def test_merges_of_another_model_are_refused(cache: ModelCache, tmp_path: Path) -> None:
    source = one_file(save_file, weights_of(VIT), tmp_path / "weights")
    source.with_name("merges.txt.gz").unlink()
    source.with_name("merges.txt").write_text("#version: 0.2\na b\n")
    with pytest.raises(BrokenCheckpoint, match=r"makes 515 tokens and .* knows 519: put the "):
        find_model(source, cache)


def test_merges_as_transformers_writes_them_are_taken(cache: ModelCache, tmp_path: Path) -> None:
    import gzip

    source = one_file(save_file, weights_of(VIT), tmp_path / "weights")
    wanted = vectors(source, cache)
    zipped = source.with_name("merges.txt.gz")
    source.with_name("merges.txt").write_bytes(gzip.decompress(zipped.read_bytes()))
    zipped.unlink()
    other = ModelCache(tmp_path / "other", offline=True)
    np.testing.assert_array_equal(vectors(source, other), wanted)
