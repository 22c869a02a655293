from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import (
    CenterCrop,
    Compose,
    InterpolationMode,
    Normalize,
    Resize,
    ToTensor,
)

from clipsearch.clip.preprocess import OPENAI_MEAN, OPENAI_STD, Preprocess
from clipsearch.errors import BrokenCheckpoint, UnreadableImage

# Margins of 0 to 7 pixels on both axes, upscaling, downscaling, and a picture of the very size.
SIZES = [(224, 224), (1, 1), (5, 7), (640, 480), (481, 640), (333, 500), (1023, 77), (9, 287)]
MARGINS = [(224 + margin, 224) for margin in range(1, 8)]
MARGINS += [(448, 448 + margin) for margin in range(2, 16, 2)]


def noise(width: int, height: int, channels: int = 3) -> Image.Image:
    drawn = np.random.default_rng(width * 1000 + height).integers(
        0, 256, (height, width, channels), dtype=np.uint8
    )
    return Image.fromarray(drawn)


def torchvision_compose(size: int, interpolation: str = "bicubic") -> Any:
    resize = Resize(size, InterpolationMode(interpolation))
    to_rgb = [CenterCrop(size), lambda image: image.convert("RGB")]
    return Compose([resize, *to_rgb, ToTensor(), Normalize(OPENAI_MEAN, OPENAI_STD)])


@pytest.mark.parametrize("size", SIZES + MARGINS, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("parity", [False, True])
def test_rgb_pictures_equal_torchvision_to_the_last_bit(
    size: tuple[int, int], parity: bool
) -> None:
    picture = noise(*size)
    ours = Preprocess(224, parity=parity)(picture)
    assert ours.shape == (3, 224, 224) and ours.dtype == torch.float32
    assert torch.equal(ours, torchvision_compose(224)(picture))


@pytest.mark.parametrize("target", [1, 63, 64, 288, 336])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear", "nearest"])
def test_other_targets_and_interpolations_equal_torchvision(
    target: int, interpolation: str
) -> None:
    picture = noise(311, 205)
    ours = Preprocess(target, interpolation=interpolation)(picture)
    assert torch.equal(ours, torchvision_compose(target, interpolation)(picture))


@pytest.mark.parametrize("mode", ["L", "P", "1", "LA", "RGBA", "CMYK", "YCbCr"])
def test_other_modes_equal_torchvision_in_parity_mode(mode: str) -> None:
    picture = noise(301, 403, channels=4)
    picture = picture.convert(mode) if "A" in mode else picture.convert("RGB").convert(mode)
    assert torch.equal(Preprocess(224, parity=True)(picture), torchvision_compose(224)(picture))


@pytest.mark.parametrize("mode", ["P", "1", "L", "RGBA"])
def test_other_modes_are_resized_as_rgb_otherwise(mode: str) -> None:
    picture = noise(301, 403).convert(mode)
    expected = torchvision_compose(224)(picture.convert("RGB"))
    assert torch.equal(Preprocess(224)(picture), expected)


@pytest.mark.parametrize("size", [(2000, 40), (40, 2000), (3001, 37), (37, 3001)])
def test_a_long_picture_equals_torchvision_but_for_rounding(size: tuple[int, int]) -> None:
    smooth = noise(60, 60).resize(size, Image.Resampling.BILINEAR)
    whole = CenterCrop(64)(Resize(64, InterpolationMode.BICUBIC)(smooth))
    ours = Preprocess(64).resize_and_crop(smooth)
    assert np.abs(ours.astype(int) - np.asarray(whole, dtype=int)).max() <= 1


@pytest.mark.parametrize("size", [(60_000, 1), (1, 60_000), (2**24, 1), (2**24, 3)])
def test_a_very_long_picture_shows_its_middle(size: tuple[int, int]) -> None:
    picture = Image.new("RGB", size, "blue")
    middle = (size[0] // 2 - 8, size[1] // 2 - 8, size[0] // 2 + 8, size[1] // 2 + 8)
    picture.paste("red", middle)
    assert np.all(Preprocess(64).resize_and_crop(picture) == (255, 0, 0))


def test_pixels_are_rgb_bytes_that_may_be_written_to() -> None:
    pixels = Preprocess(8).resize_and_crop(Image.new("RGB", (20, 10), (1, 2, 3)))
    assert pixels.shape == (8, 8, 3) and pixels.dtype == np.uint8
    assert np.all(pixels == (1, 2, 3))
    assert pixels.flags.writeable


def test_batches_are_normalised_as_single_pictures_are() -> None:
    preprocess = Preprocess(16)
    pixels = np.stack([preprocess.resize_and_crop(noise(30, side)) for side in (20, 40)])
    batch = preprocess.normalise(pixels)
    assert batch.shape == (2, 3, 16, 16) and batch.dtype == np.float32
    assert np.array_equal(batch[1], preprocess(noise(30, 40)).numpy())


def test_the_picture_itself_is_left_alone() -> None:
    picture = noise(30, 20)
    before = picture.tobytes()
    Preprocess(8)(picture)
    assert (picture.size, picture.tobytes()) == ((30, 20), before)


def test_an_empty_picture_is_refused() -> None:
    with pytest.raises(UnreadableImage, match="0x5 pixels"):
        Preprocess(8)(Image.new("RGB", (0, 5)))


def test_settings_survive_json() -> None:
    preprocess = Preprocess(64, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6), "bilinear")
    assert Preprocess.from_dict(json.loads(json.dumps(preprocess.to_dict()))) == preprocess


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"interpolation": "lanczos"}, "unknown interpolation 'lanczos'"),
        ({"size": 0}, "makes no sense"),
        ({"size": None}, "incomplete or unknown"),
        ({"mean": [0, 1]}, "makes no sense"),
        ({"mean": ["red", 0, 0]}, "incomplete or unknown"),
        ({"std": [1, 0, 1]}, "makes no sense"),
        ({"colour": 1}, "colour"),
    ],
)
def test_settings_that_make_no_sense_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(BrokenCheckpoint, match=message):
        Preprocess.from_dict(Preprocess(64).to_dict() | change)


@pytest.mark.parametrize("size", [(640, 480), (31, 500), (9000, 20), (64, 64)])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
def test_squeezing_equals_torchvision(size: tuple[int, int], interpolation: str) -> None:
    picture = noise(*size)
    ours = Preprocess(64, interpolation=interpolation, resize_mode="squash")
    squeeze = Resize((64, 64), InterpolationMode(interpolation))
    theirs = Compose([squeeze, ToTensor(), Normalize(OPENAI_MEAN, OPENAI_STD)])
    assert torch.equal(ours(picture), theirs(picture))
    assert Preprocess.from_dict(json.loads(json.dumps(ours.to_dict()))) == ours


def test_the_usual_way_to_fit_is_not_written_down() -> None:
    """Libraries that were made before there was another know their preprocessing without it."""
    assert Preprocess(64).to_dict().keys() == {"size", "mean", "std", "interpolation"}
    with pytest.raises(BrokenCheckpoint, match="resize_mode 'longest'"):
        Preprocess(64, resize_mode="longest")
