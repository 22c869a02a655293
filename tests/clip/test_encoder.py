from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from clipsearch.clip.bundle import load_bundle
from clipsearch.clip.cache import ModelCache
from clipsearch.clip.config import OPENAI_CONFIGS, ClipConfig
from clipsearch.clip.encoder import CHUNK_SIZE, Encoder, PixelArray, has_fast_bfloat16
from clipsearch.clip.manifest import WEIGHTS_FILE
from clipsearch.errors import BrokenCheckpoint, SettingsError, UnknownModel
from clipsearch.vectors import FloatArray
from tests.clip.tiny import RESNET, VIT, write_bundle

TEXTS = ["red", "blue", "a red thing", "", "blue blue blue blue blue"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def encoder(folder: Path) -> Encoder:
    return Encoder(folder, device="cpu", precision="float32")


def random_pixels(n: int, size: int = 32) -> PixelArray:
    return np.random.default_rng(0).integers(0, 256, (n, size, size, 3), dtype=np.uint8)


def picture(colour: str = "teal") -> Image.Image:
    image = Image.new("RGB", (50, 40), colour)
    image.paste("white", (10, 10, 30, 20))
    return image


def cosines(a: FloatArray, b: FloatArray) -> FloatArray:
    return np.asarray((a * b).sum(axis=-1), dtype=np.float32)


def test_it_tells_what_it_is(encoder: Encoder, folder: Path) -> None:
    assert (encoder.model_name, encoder.dimension, encoder.input_px) == ("tiny", 16, 32)
    assert (encoder.activation, encoder.precision) == ("quick_gelu", "float32")
    assert encoder.model_sha256 == load_bundle(folder).sha256
    assert encoder.preprocess_info["interpolation"] == "bicubic"


def test_vectors_are_those_of_the_model_at_unit_length(encoder: Encoder, folder: Path) -> None:
    bundle = load_bundle(folder)
    with torch.inference_mode():
        features = bundle.model.encode_image(bundle.preprocess(picture())[None])
    wanted = torch.nn.functional.normalize(features).numpy()
    found = encoder.encode_images([picture()])
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_pixels_meet_the_model_as_preprocess_makes_them(folder: Path) -> None:
    met: list[torch.Tensor] = []
    encoder = Encoder(folder, "cpu", "float32")
    encoder.image_tower().register_forward_pre_hook(lambda _, given: met.append(given[0].clone()))
    image = Image.fromarray(random_pixels(1, 47)[0])
    encoder.encode_images([image])
    assert torch.equal(met[0][0], load_bundle(folder).preprocess(image))  # to the last bit


def test_texts_are_those_of_the_model_on_padded_tokens(encoder: Encoder, folder: Path) -> None:
    bundle = load_bundle(folder)
    tokens = torch.from_numpy(bundle.tokenizer.tokenize(TEXTS, 12, truncate=True))
    with torch.inference_mode():
        wanted = torch.nn.functional.normalize(bundle.model.encode_text(tokens)).numpy()
    np.testing.assert_allclose(encoder.encode_texts(TEXTS), wanted, atol=1e-6)


def test_a_long_text_loses_its_end_and_nothing_else(encoder: Encoder) -> None:
    long, longer = "red " * 10, "red " * 10 + "blue"
    vectors = encoder.encode_texts([long, longer, "red " * 9])
    np.testing.assert_array_equal(vectors[0], vectors[1])
    assert cosines(vectors[0], vectors[2]) < 0.9999


def test_how_long_a_text_is_can_be_asked(encoder: Encoder) -> None:
    tokens = encoder.n_tokens("red")
    assert encoder.n_tokens("red " * 3) == 3 * (tokens - 2) + 2
    assert encoder.max_tokens < encoder.n_tokens("red " * 100)


def test_a_control_token_typed_by_a_user_does_not_end_the_text(encoder: Encoder) -> None:
    vectors = encoder.encode_texts(["red", "red<|endoftext|>blue"])
    assert cosines(vectors[0], vectors[1]) < 0.9999


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_size_of_a_batch_does_not_matter(precision: str, folder: Path) -> None:
    encoder = Encoder(folder, "cpu", precision)
    pixels = random_pixels(CHUNK_SIZE["cpu"] + 3)
    together = encoder.encode_pixels(pixels)
    apart = np.concatenate([encoder.encode_pixels(pixels[i : i + 1]) for i in (0, 20, 33)])
    assert len(together) == len(pixels)
    np.testing.assert_allclose(
        together[[0, 20, 33]], apart, atol=1e-5 if precision == "float32" else 1e-2
    )


def test_the_company_of_a_text_does_not_matter(encoder: Encoder) -> None:
    texts = TEXTS * 9
    together = encoder.encode_texts(texts)
    apart = np.concatenate([encoder.encode_texts([text]) for text in texts])
    np.testing.assert_allclose(together, apart, atol=1e-5)


def test_nothing_in_gives_nothing_out(encoder: Encoder) -> None:
    assert encoder.encode_images([]).shape == (0, 16)
    assert encoder.encode_texts([]).shape == (0, 16)
    assert encoder.encode_pixels(random_pixels(0)).shape == (0, 16)


@pytest.mark.parametrize("config", [VIT, RESNET], ids=["vit", "resnet"])
def test_bfloat16_points_where_float32_does(config: ClipConfig, tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "tiny", config)
    exact, fast = (Encoder(folder, "cpu", p) for p in ("float32", "bfloat16"))
    pixels = random_pixels(8)
    assert cosines(exact.encode_pixels(pixels), fast.encode_pixels(pixels)).min() >= 0.999
    assert cosines(exact.encode_texts(TEXTS), fast.encode_texts(TEXTS)).min() >= 0.999


def test_bfloat16_points_where_float32_does_at_the_size_of_vit_b_32(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "b32", replace(OPENAI_CONFIGS["ViT-B/32"], text=VIT.text))
    pixels = random_pixels(4, 224)
    exact = Encoder(folder, "cpu", "float32").encode_pixels(pixels)
    fast = Encoder(folder, "cpu", "bfloat16").encode_pixels(pixels)
    assert cosines(exact, fast).min() >= 0.999
    assert np.abs(exact - fast).max() > 0  # it did compute otherwise


def test_threads_may_share_it(encoder: Encoder) -> None:
    pixels = random_pixels(16)
    wanted = encoder.encode_pixels(pixels)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(encoder.encode_pixels, np.split(pixels, 8)))
    np.testing.assert_allclose(np.concatenate(found), wanted, atol=1e-5)


def test_read_only_pixels_are_taken(encoder: Encoder) -> None:
    pixels = random_pixels(2)
    pixels.flags.writeable = False
    assert encoder.encode_pixels(pixels).shape == (2, 16)


@pytest.mark.parametrize(
    "pixels",
    [random_pixels(1, 31), random_pixels(1)[0], random_pixels(1).astype(np.float32)],
    ids=["size", "one", "dtype"],
)
def test_pixels_of_another_kind_are_refused(encoder: Encoder, pixels: PixelArray) -> None:
    with pytest.raises(ValueError, match=r"must be uint8 \[n, 32, 32, 3\], not"):
        encoder.encode_pixels(pixels)


def test_a_model_that_gives_nan_is_named(folder: Path) -> None:
    encoder = Encoder(folder, "cpu")
    with torch.no_grad():
        encoder.image_tower().get_parameter("proj").fill_(torch.nan)
    with pytest.raises(BrokenCheckpoint, match="the model tiny gives no usable vector"):
        encoder.encode_pixels(random_pixels(1))


def test_only_the_tower_that_is_needed_is_read(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "half")
    weights = load_file(folder / WEIGHTS_FILE)
    images = {name: tensor for name, tensor in weights.items() if name.startswith("visual.")}
    save_file(images, tmp_path / "half" / WEIGHTS_FILE)
    encoder = Encoder(tmp_path / "half", "cpu", "float32")
    assert encoder.encode_pixels(random_pixels(2)).shape == (2, 16)
    with pytest.raises(
        BrokenCheckpoint, match=r"half/model\.safetensors.*positional_embedding' is"
    ):
        encoder.encode_texts(["red"])


def test_a_folder_can_be_loaded(folder: Path, encoder: Encoder, tmp_path: Path) -> None:
    loaded = Encoder.load(folder, cache=ModelCache(tmp_path), device="cpu", precision="float32")
    np.testing.assert_array_equal(loaded.encode_texts(TEXTS), encoder.encode_texts(TEXTS))


@pytest.mark.parametrize(
    ("device", "precision", "reason"),
    [("toaster", None, "'toaster' cannot be used"), ("cpu", "float8", "'float8' is unknown")],
)
def test_a_bad_option_is_told_before_the_model_is_looked_for(
    device: str, precision: str | None, reason: str, tmp_path: Path
) -> None:
    with pytest.raises(SettingsError, match=reason):
        Encoder.load(
            "no such model", cache=ModelCache(tmp_path), device=device, precision=precision
        )
    with pytest.raises(UnknownModel):
        Encoder.load("no such model", cache=ModelCache(tmp_path), device="cpu")


@pytest.mark.parametrize(
    ("flags", "fast"),
    [
        ("flags : fpu sse avx512f avx512_bf16 sha_ni", True),
        ("flags : fpu amx_bf16 amx_tile", True),
        ("flags : fpu sse avx2 avx512f", False),
        ("flags : fpu avx512_bf16x", False),
    ],
)
def test_fast_bfloat16_is_read_off_the_flags_of_the_cpu(
    flags: str, fast: bool, tmp_path: Path
) -> None:
    (tmp_path / "cpuinfo").write_text(f"processor : 0\n{flags}\n")
    assert has_fast_bfloat16(tmp_path / "cpuinfo") is fast


def test_a_machine_without_cpuinfo_has_no_fast_bfloat16(tmp_path: Path) -> None:
    assert not has_fast_bfloat16(tmp_path / "absent")
