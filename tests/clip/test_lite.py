"""The encoder for probes: the vectors of torch's encoder, without torch."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from clipsearch.clip.bundle import save_bundle, to_half
from clipsearch.clip.config import ClipConfig, TextConfig, VisionConfig
from clipsearch.clip.encoder import Encoder
from clipsearch.clip.lite import LiteEncoder
from clipsearch.clip.manifest import WEIGHTS_FILE, Manifest
from clipsearch.clip.model import CLIP, OPENAI_CONFIGS
from clipsearch.clip.preprocess import Preprocess
from clipsearch.errors import BrokenCheckpoint
from clipsearch.library import Library
from tests.clip.tiny import RESNET, VIT, random_weights, write_bundle, write_merges

TEXTS = ["red", "blue", "a red thing", "", "blue blue blue blue blue", "<|endoftext|> red", "é 水"]
TOLERANCE = 1e-5

# Shapes cannot tell the number of heads; the towers have different widths, depths and activations.
ODD = ClipConfig(
    embed_dim=24,
    vision=VisionConfig(image_size=48, layers=3, width=48, patch_size=16, heads=6),
    text=TextConfig(context_length=7, vocab_size=VIT.text.vocab_size, width=40, heads=5, layers=1),
    activation="gelu",
)
WIDE = replace(
    ODD,
    vision=replace(ODD.vision, mlp_width=101),
    text=replace(ODD.text, mlp_width=77),
)
CONFIGS = {
    "wide": WIDE,
    "ViT": VIT,
    "ViT with GELU": replace(VIT, activation="gelu"),
    "odd": ODD,
    "RN": RESNET,
}

# What is imported by the end of a run of the command line, without modules inside packages.
PROGRAM = (
    "import sys; from clipsearch.__main__ import main; code = main(); "
    "print(*sorted({name.split('.')[0] for name in sys.modules}), file=sys.stderr); sys.exit(code)"
)


def bundle_of(folder: Path, config: ClipConfig, dtype: str = "float32") -> Path:
    weights = {name: weight * 1.5 for name, weight in random_weights(config, seed=3).items()}
    if dtype == "float16":
        weights = to_half(weights)
    elif dtype == "bfloat16":
        weights = {name: weight.bfloat16() for name, weight in weights.items()}
    preprocess = Preprocess(config.vision.image_size, mean=(0.5, 0.4, 0.3)).to_dict()
    merges = write_merges(folder / "merges")
    save_bundle(folder / "model", weights, merges, Manifest("tiny", config, preprocess))
    return folder / "model"


def both(folder: Path) -> tuple[LiteEncoder, Encoder]:
    # Without a precision, as a query has it: torch by itself would choose bfloat16 where it can.
    return LiteEncoder(folder, "cpu"), Encoder(folder, "cpu", "float32")


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_words_get_the_vectors_of_torch(tmp_path: Path, config: ClipConfig, dtype: str) -> None:
    lite, wanted = both(bundle_of(tmp_path, config, dtype))
    vectors = lite.encode_texts(TEXTS)
    np.testing.assert_allclose(vectors, wanted.encode_texts(TEXTS), rtol=0, atol=TOLERANCE)
    assert np.abs(vectors[0] - vectors[1]).max() > 1000 * TOLERANCE  # the weights do matter


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_pictures_get_the_vectors_of_torch(tmp_path: Path, config: ClipConfig, dtype: str) -> None:
    lite, wanted = both(bundle_of(tmp_path, config, dtype))
    noise = np.random.default_rng(0).integers(0, 256, (2, 90, 70, 3), dtype=np.uint8)
    pixels = np.stack([lite.preprocess(Image.fromarray(one)) for one in noise])
    vectors = lite.encode_pixels(pixels)
    np.testing.assert_allclose(vectors, wanted.encode_pixels(pixels), rtol=0, atol=TOLERANCE)
    assert np.abs(vectors[0] - vectors[1]).max() > 10 * TOLERANCE


def test_pictures_of_a_resnet_are_not_encoded_in_bfloat16(tmp_path: Path) -> None:
    lite = LiteEncoder(bundle_of(tmp_path, RESNET), "cpu")
    assert lite._with_torch.precision == lite.precision == "float32"


def test_it_tells_the_same_of_itself_as_torchs_encoder(tmp_path: Path) -> None:
    lite, wanted = both(write_bundle(tmp_path / "tiny"))
    names = ("model_name", "model_sha256", "dimension", "input_px", "activation", "preprocess_info")
    assert [getattr(lite, name) for name in names] == [getattr(wanted, name) for name in names]
    assert lite.precision == wanted.precision == "float32"


def test_no_text_and_no_picture_give_no_vector(tmp_path: Path) -> None:
    lite = LiteEncoder(write_bundle(tmp_path / "tiny"))
    assert lite.encode_texts([]).shape == (0, 16)
    assert lite.encode_pixels(np.empty((0, 32, 32, 3), np.uint8)).shape == (0, 16)


def test_pixels_of_another_shape_are_refused(tmp_path: Path) -> None:
    lite = LiteEncoder(write_bundle(tmp_path / "tiny"))
    with pytest.raises(ValueError, match=r"\[n, 32, 32, 3\]"):
        lite.encode_pixels(np.zeros((1, 3, 32, 32), np.uint8))


def test_weights_that_are_no_numbers_are_an_error_and_no_vector(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "tiny")
    content = (folder / WEIGHTS_FILE).read_bytes()
    data = 8 + int.from_bytes(content[:8], "little")
    (folder / WEIGHTS_FILE).write_bytes(content[:data] + b"\xff" * (len(content) - data))
    lite = LiteEncoder(folder)
    with pytest.raises(BrokenCheckpoint, match="damaged"):
        lite.encode_texts(["red"])
    with pytest.raises(BrokenCheckpoint, match="damaged"):
        lite.encode_pixels(np.zeros((1, 32, 32, 3), np.uint8))


def test_merges_of_another_model_are_refused(tmp_path: Path) -> None:
    config = replace(VIT, text=replace(VIT.text, vocab_size=VIT.text.vocab_size + 1))
    lite = LiteEncoder(write_bundle(tmp_path / "tiny", config))
    with pytest.raises(BrokenCheckpoint, match="belongs to another model"):
        lite.encode_texts(["red"])


def modules_after(library: Path, *probe: str) -> set[str]:
    """What a new process that asks this library has imported in the end."""
    command = [sys.executable, "-c", PROGRAM, "query", "--all", *probe, "-L", str(library)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "photos" in done.stdout  # there are hits
    return set(done.stderr.split())


def test_a_cold_query_of_a_model_as_large_as_vit_b_32_imports_no_torch(
    tmp_path: Path, photos: Path, openai_merges_path: Path
) -> None:
    config = OPENAI_CONFIGS["ViT-B/32"]
    torch.manual_seed(0)
    weights, preprocess = to_half(CLIP(config).state_dict()), Preprocess(224).to_dict()
    save_bundle(
        tmp_path / "model", weights, openai_merges_path, Manifest("b32", config, preprocess)
    )
    for colour in ("red", "green"):
        Image.new("RGB", (300, 200), colour).save(photos / f"{colour}.png")
    with Library(tmp_path / "library", model=tmp_path / "model") as library:
        library.index(photos)
    for probe in ("a dog", str(photos / "red.png")):
        assert not modules_after(tmp_path / "library", probe) & {"torch", "torchvision", "faiss"}
    lite, wanted = both(tmp_path / "model")
    words = ["a dog", "a photograph of an astronaut, who rides a horse"]
    pixels = lite.preprocess(Image.effect_mandelbrot((90, 80), (-2, -1, 1, 1), 50))[None]
    for ours, theirs in (
        (lite.encode_texts(words), wanted.encode_texts(words)),
        (lite.encode_pixels(pixels), wanted.encode_pixels(pixels)),
    ):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("config", [VIT, RESNET], ids=["ViT", "ResNet"])
def test_a_query_in_words_imports_neither_torch_nor_pillow_nor_faiss(
    tmp_path: Path, photos: Path, config: ClipConfig
) -> None:
    Image.new("RGB", (30, 20), "red").save(photos / "red.png")
    with Library(tmp_path / "library", model=write_bundle(tmp_path / "m", config)) as library:
        library.index(photos)
    modules = modules_after(tmp_path / "library", "a red thing")
    assert "numpy" in modules
    assert not modules & {"torch", "torchvision", "PIL", "faiss", "safetensors", "alembic"}
    assert not modules & {"sqlalchemy", "ftfy", "regex", "filelock", "http", "rich"}
