from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from clipsearch import clip
from clipsearch.clip.bundle import load_bundle
from clipsearch.clip.config import ClipConfig
from clipsearch.clip.model import CLIP, build_model
from clipsearch.errors import BrokenCheckpoint, ChecksumMismatch
from tests.clip.tiny import RESNET, VIT, random_weights, write_bundle


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("models") / "tiny")


def test_the_names_are_those_of_the_reference() -> None:
    assert clip.__all__ == ["available_models", "load", "tokenize"]
    assert set(clip.__all__) <= set(dir(clip))
    assert clip.available_models()[:2] == ["RN50", "RN101"]
    assert len(clip.available_models()) == 9


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'loda'"):
        clip.loda  # noqa: B018


def test_importing_the_package_imports_no_torch() -> None:
    program = "import sys, clipsearch.clip; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_the_example_of_the_reference_runs(folder: Path) -> None:
    model, preprocess = clip.load(str(folder), device="cpu")
    image = preprocess(Image.new("RGBA", (60, 40), "red")).unsqueeze(0)
    text = torch.randint(0, 519, (3, 12))
    with torch.no_grad():
        image_features, text_features = model.encode_image(image), model.encode_text(text)
        logits_per_image, logits_per_text = model(image, text)
    assert (image_features.shape, text_features.shape) == ((1, 16), (3, 16))
    assert torch.equal(logits_per_image, logits_per_text.T)
    assert logits_per_image.softmax(dim=-1).sum().item() == pytest.approx(1)


def test_the_model_has_the_attributes_of_the_reference(folder: Path) -> None:
    model, _ = clip.load(folder, device=torch.device("cpu"))
    assert not model.training
    assert model.dtype == torch.float32
    assert (model.visual.input_resolution, model.visual.output_dim) == (32, 16)
    assert (model.context_length, model.vocab_size) == (12, 519)
    assert model.logit_scale.exp().item() == pytest.approx(1 / 0.07, rel=1e-5)


def test_preprocessing_resizes_before_it_converts_as_the_reference_does(folder: Path) -> None:
    image = Image.effect_noise((64, 64), 90).convert("P")
    image.putpalette([value for index in range(256) for value in (index * 37 % 256, index, 0)])
    _, preprocess = clip.load(folder, device="cpu")
    assert not torch.equal(preprocess(image), load_bundle(folder).preprocess(image))


def test_an_unknown_model_is_a_runtime_error_with_the_names(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"'ViT-Z'.*ViT-L/14@336px"):
        clip.load("ViT-Z", device="cpu", download_root=str(tmp_path))


def test_a_file_that_is_not_a_model_says_so_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "weights.pt").write_bytes(b"<html>not found</html>")
    with pytest.raises(BrokenCheckpoint, match=r"weights\.pt is a web page"):
        clip.load(tmp_path / "weights.pt", device="cpu", download_root=tmp_path / "cache")


def test_wrong_bytes_under_a_published_name_are_a_runtime_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> Path:
        raise ChecksumMismatch("the model has another SHA-256")

    monkeypatch.setattr("clipsearch.clip.reference.find_model", refuse)
    with pytest.raises(RuntimeError, match="another SHA-256"):
        clip.load("ViT-B/32", device="cpu", download_root=tmp_path)


def test_download_root_is_where_models_are_kept(tmp_path: Path) -> None:
    write_bundle(tmp_path / "ViT-B-32")
    model, _ = clip.load("ViT-B/32", "cpu", False, str(tmp_path))
    assert model.visual.output_dim == 16


def test_a_resnet_has_the_attributes_too(tmp_path: Path) -> None:
    model, preprocess = clip.load(write_bundle(tmp_path / "resnet", RESNET), device="cpu")
    assert (model.visual.input_resolution, model.visual.output_dim) == (32, 16)
    assert (model.dtype, preprocess.size) == (torch.float32, 32)


def test_features_are_not_normalised_and_logits_are_scaled_cosines(folder: Path) -> None:
    model, _ = clip.load(folder, device="cpu")
    image, text = torch.randn(2, 3, 32, 32), torch.randint(0, 519, (3, 12))
    with torch.no_grad():
        a, b = model.encode_image(image), model.encode_text(text)
        logits, _ = model(image, text)
    cosines = torch.nn.functional.cosine_similarity(a[:, None], b[None], dim=-1)
    torch.testing.assert_close(logits, cosines * model.logit_scale.exp())
    assert (a.norm(dim=-1) - 1).abs().max() > 0.01


def test_jit_is_declined_with_a_warning(folder: Path) -> None:
    with pytest.warns(UserWarning, match="jit=True has no effect"):
        clip.load(folder, device="cpu", jit=True)


@pytest.mark.usefixtures("openai_merges_path")
def test_tokens_are_those_of_the_reference() -> None:
    tokens = clip.tokenize(["Hello World!", "a diagram"])
    assert (tokens.dtype, tokens.shape) == (torch.int32, (2, 77))
    assert tokens[0, :6].tolist() == [49406, 3306, 1002, 256, 49407, 0]
    assert tokens[1, :5].tolist() == [49406, 320, 22697, 49407, 0]
    assert torch.equal(clip.tokenize("a diagram"), tokens[1:])


@pytest.mark.usefixtures("openai_merges_path")
def test_too_long_a_text_is_a_runtime_error_unless_it_may_be_cut() -> None:
    with pytest.raises(RuntimeError, match="the 5 that"):
        clip.tokenize("a b c d", context_length=5)
    cut = clip.tokenize("a b c d", context_length=5, truncate=True)
    assert cut[0].tolist()[-1] == 49407


HALVED = ("conv", "in_proj", "out_proj", "c_fc", "c_proj", "q_proj", "k_proj", "v_proj")
HALVED += ("text_projection", "visual.proj", "downsample.0")


@pytest.mark.parametrize("config", [VIT, RESNET], ids=["vit", "resnet"])
def test_a_model_is_built_from_a_state_dict_with_the_dtypes_of_the_reference(
    config: ClipConfig,
) -> None:
    numbers = {"input_resolution": torch.tensor(32), "context_length": torch.tensor(12)}
    weights = random_weights(config)
    built = build_model({**weights, **numbers, "vocab_size": torch.tensor(519)})
    assert not built.training and built.dtype == torch.float16
    for name, tensor in built.state_dict().items():
        halved = any(part in name for part in HALVED) and tensor.is_floating_point()
        assert tensor.dtype == (torch.float16 if halved else weights[name].dtype), name
    tokens = torch.randint(0, 519, (2, 12))
    with torch.no_grad():
        exact = CLIP(config)
        exact.load_state_dict(weights)
        wanted = exact.eval().encode_text(tokens)
        torch.testing.assert_close(built.float().encode_text(tokens), wanted, rtol=0.02, atol=0.02)


def test_the_module_of_the_reference_is_there_without_a_model_having_been_loaded() -> None:
    program = "from clipsearch import clip; clip.model.convert_weights, clip.model.build_model"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_state_dict_of_something_else_is_refused() -> None:
    weights = random_weights(VIT)
    with pytest.raises(BrokenCheckpoint, match="not those of a CLIP"):
        build_model({**weights, "classifier.weight": torch.zeros(3)})
    del weights["visual.proj"], weights["ln_final.weight"]
    with pytest.raises(BrokenCheckpoint, match="is missing"):
        build_model(weights)
