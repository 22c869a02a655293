"""What programs written for the reference package do, with only their import line changed."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from clipsearch import clip
from clipsearch.clip.bundle import save_bundle
from clipsearch.clip.config import ClipConfig, TextConfig, VisionConfig
from clipsearch.clip.manifest import MERGES_FILE, Manifest
from clipsearch.clip.preprocess import Preprocess
from clipsearch.clip.registry import MINI_FOLDER
from clipsearch.clip.tokenizer import Tokenizer
from tests.clip.tiny import random_weights

DEMO = Path(__file__).parents[2] / "data" / "demo"

# ViT-B/32 on the outside, and hardly anything inside: its sizes of pictures, texts and vectors.
HOLLOW = ClipConfig(
    embed_dim=512,
    vision=VisionConfig(image_size=224, layers=1, width=64, patch_size=32),
    text=TextConfig(width=64, layers=1),
)


@pytest.fixture
def at_a_prompt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, openai_merges_path: Path
) -> Callable[[str], dict[str, Any]]:
    """Runs a program with this one import line, where photo.jpg lies and ViT-B/32 was fetched."""
    weights = {name: tensor.half() for name, tensor in random_weights(HOLLOW).items()}
    manifest = Manifest("ViT-B/32", HOLLOW, Preprocess(224).to_dict())
    save_bundle(tmp_path / "cache" / "ViT-B-32", weights, openai_merges_path, manifest)
    Image.effect_noise((90, 60), 80).convert("RGB").save(tmp_path / "photo.jpg")
    monkeypatch.setenv("CLIPSEARCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)

    def run(program: str) -> dict[str, Any]:
        names: dict[str, Any] = {}
        exec("from clipsearch import clip\n" + program, names)
        return names

    return run


ENCODE_A_PICTURE = """
import torch
from PIL import Image
device = "cuda" if torch.cuda.is_available() else "cpu"
model, preprocess = clip.load("ViT-B/32", device=device)
image = preprocess(Image.open("photo.jpg")).unsqueeze(0).to(device)
with torch.no_grad():
    raw = model.encode_image(image)
    unit = raw / raw.norm(dim=-1, keepdim=True)
"""


def test_a_picture_is_encoded_and_normalised_by_hand(
    at_a_prompt: Callable[[str], dict[str, Any]],
) -> None:
    names = at_a_prompt(ENCODE_A_PICTURE)
    raw, unit = names["raw"].float().cpu(), names["unit"].float().cpu()
    assert raw.shape == unit.shape == (1, 512)
    assert unit.norm().item() == pytest.approx(1, abs=1e-3)
    assert raw.norm().item() != pytest.approx(1, abs=1e-3)


def test_a_model_is_loaded_by_its_name_alone(at_a_prompt: Callable[[str], dict[str, Any]]) -> None:
    names = at_a_prompt('model, preprocess = clip.load("ViT-B/32")')
    assert names["model"].visual.output_dim == 512
    assert names["preprocess"](Image.new("RGB", (9, 9))).shape == (3, 224, 224)


COMPARE = """
import torch
from PIL import Image
model, preprocess = clip.load("ViT-B/32", "cpu")
images = torch.stack([preprocess(Image.open("photo.jpg"))] * 2)
text = clip.tokenize(["a diagram", "a dog", "a cat"]).to("cpu")
with torch.no_grad():
    logits_per_image, logits_per_text = model(images, text)
    probabilities = logits_per_image.softmax(dim=-1).numpy()
    a, b = model.encode_image(images), model.encode_text(text)
    a, b = a / a.norm(dim=1, keepdim=True), b / b.norm(dim=1, keepdim=True)
    by_hand = model.logit_scale.exp() * a @ b.t()
"""


def test_a_picture_is_compared_with_texts(at_a_prompt: Callable[[str], dict[str, Any]]) -> None:
    names = at_a_prompt(COMPARE)
    assert names["logits_per_image"].shape == (2, 3)
    assert torch.equal(names["logits_per_text"], names["logits_per_image"].t())
    torch.testing.assert_close(names["logits_per_image"], names["by_hand"])
    np.testing.assert_allclose(names["probabilities"].sum(axis=-1), 1, rtol=1e-5)
    assert np.array_equal(names["probabilities"][0], names["probabilities"][1])


# --- a small labelled set --------------------------------------------------------------------

SHAPES = ("disc", "square", "bar")


def drawn(label: int, random: np.random.Generator) -> Image.Image:
    """One of the shapes, anywhere, of any size and colour, on a dark page with specks on it."""
    page = Image.fromarray(random.integers(0, 70, (96, 96, 3), dtype=np.uint8))
    side = int(random.integers(30, 50))
    left, top = (int(random.integers(4, 92 - side)) for _ in range(2))
    colour = tuple(int(value) for value in random.integers(150, 256, 3))
    pen = ImageDraw.Draw(page)
    if SHAPES[label] == "disc":
        pen.ellipse((left, top, left + side, top + side), fill=colour)
    else:
        height = side if SHAPES[label] == "square" else side // 5
        pen.rectangle((left, top, left + side, top + height), fill=colour)
    return page


def features(model: Any, preprocess: Any, images: list[Image.Image]) -> NDArray[np.float64]:
    with torch.no_grad():
        encoded = model.encode_image(torch.stack([preprocess(image) for image in images]))
    unit: NDArray[np.float64] = (encoded / encoded.norm(dim=-1, keepdim=True)).double().numpy()
    return unit


def test_a_linear_probe_on_the_features_tells_shapes_apart() -> None:
    model, preprocess = clip.load("mini", device="cpu")
    random = np.random.default_rng(5)
    labels = np.arange(300) % len(SHAPES)
    found = features(model, preprocess, [drawn(int(label), random) for label in labels])
    train, test = slice(0, 240), slice(240, 300)
    centre = found[train].mean(axis=0)
    x, wanted = found - centre, np.eye(len(SHAPES))[labels]
    ridge = x[train].T @ x[train] + 0.01 * np.eye(x.shape[1])
    weights = np.linalg.solve(ridge, x[train].T @ wanted[train])
    right = (x[test] @ weights).argmax(axis=1) == labels[test]
    assert right.mean() >= 0.8, f"{right.mean():.2f}, and a guess would be 0.33"


def test_zero_shot_names_what_was_drawn_on_pictures_it_never_saw() -> None:
    model, preprocess = clip.load("mini", device="cpu")
    tokenizer = Tokenizer.from_file(MINI_FOLDER / MERGES_FILE)
    names = ["banana", "bus", "cactus", "castle", "cat", "crown", "bicycle", "balloon"]
    shown = {
        file: names.index(picture["things"][0]["name"])
        for file, picture in json.loads((DEMO / "captions.json").read_text())["pictures"].items()
        if len(picture["things"]) == 1 and picture["things"][0]["name"] in names
    }
    assert len(shown) >= 8
    pictures = torch.stack([preprocess(Image.open(DEMO / file)) for file in shown])
    prompts = tokenizer.tokenize([f"a {name}" for name in names], model.context_length)
    with torch.no_grad():
        logits, _ = model(pictures, torch.from_numpy(prompts))
    right = logits.argmax(dim=-1).numpy() == np.array(list(shown.values()))
    assert right.mean() >= 0.8, f"{right.mean():.2f} of {len(shown)}, and a guess would be 0.13"


# --- the pictures that people have -----------------------------------------------------------


def stored(image: Image.Image, form: str, **options: Any) -> Image.Image:
    """A picture as it comes back from a file of that form."""
    file = io.BytesIO()
    image.save(file, form, **options)
    return Image.open(file)


def brought(kind: str) -> Image.Image:
    """One picture of a kind that needs more than an RGB file does."""
    red = Image.new("RGB", (40, 30), "red")
    if kind == "palette":
        return stored(red.convert("P"), "PNG")
    if kind == "alpha":
        return stored(Image.new("RGBA", (40, 30), (255, 0, 0, 100)), "PNG")
    if kind == "palette with transparency":
        return stored(red.convert("P"), "PNG", transparency=red.convert("P").getpixel((0, 0)))
    if kind == "16-bit grey":
        return stored(Image.fromarray(np.full((30, 40), 100, dtype=np.uint16)), "PNG")
    if kind == "cmyk":
        return stored(red.convert("CMYK"), "JPEG", quality=95)
    if kind == "animated":
        return stored(red, "GIF", save_all=True, append_images=[Image.new("RGB", (40, 30), "blue")])
    if kind == "rotated":
        exif = Image.Exif()
        exif[0x0112] = 6  # the top is at the right
        red.paste("blue", (0, 0, 20, 30))
        return stored(red, "PNG", exif=exif)
    return stored(Image.new("RGB", (40_000, 2), "red"), "PNG")


KINDS = ("palette", "alpha", "palette with transparency", "16-bit grey", "cmyk", "animated")


@pytest.mark.parametrize("kind", [*KINDS, "rotated", "very long"])
def test_the_reference_preprocess_takes_whatever_people_have(kind: str) -> None:
    _, preprocess = clip.load("mini", device="cpu")
    side = preprocess.size
    pixels = preprocess(brought(kind))
    assert pixels.shape == (3, side, side) and pixels.dtype == torch.float32
    assert bool(torch.isfinite(pixels).all())


@pytest.mark.parametrize(
    ("kind", "colour"),
    [
        ("palette", (255, 0, 0)),
        ("alpha", (255, 0, 0)),
        ("animated", (255, 0, 0)),
        ("16-bit grey", (0, 0, 0)),  # all white in the reference, which helps nobody
    ],
)
def test_the_reference_drops_alpha_and_takes_the_first_frame(
    kind: str, colour: tuple[int, int, int]
) -> None:
    pixels = Preprocess(16, parity=True).resize_and_crop(brought(kind))
    assert np.abs(pixels.astype(int) - colour).max() <= 3


def test_the_reference_leaves_a_picture_lying_on_its_side() -> None:
    pixels = Preprocess(16, parity=True).resize_and_crop(brought("rotated"))
    assert np.all(pixels[:, 0] == (0, 0, 255)) and np.all(pixels[:, -1] == (255, 0, 0))


@pytest.mark.parametrize(
    ("kind", "colour"),
    [
        ("palette", (255, 0, 0)),
        ("alpha", (255, 155, 155)),
        ("palette with transparency", (255, 255, 255)),
        ("16-bit grey", (0, 0, 0)),
        ("cmyk", (254, 0, 0)),
        ("animated", (255, 0, 0)),
        ("very long", (255, 0, 0)),
    ],
)
def test_a_search_sees_what_a_viewer_on_a_white_page_shows(
    kind: str, colour: tuple[int, int, int]
) -> None:
    pixels = Preprocess(16).resize_and_crop(brought(kind))
    assert np.abs(pixels.astype(int) - colour).max() <= 3


def test_a_search_sees_a_rotated_picture_upright() -> None:
    pixels = Preprocess(16).resize_and_crop(brought("rotated"))
    assert np.all(pixels[0] == (0, 0, 255)) and np.all(pixels[-1] == (255, 0, 0))
