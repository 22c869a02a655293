"""An encoder without weights: a picture's vector is its mean colour, a word's the one it names."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from clipsearch.vectors import FloatArray, normalise

COLOURS = {
    "red": (255, 0, 0),
    "green": (0, 255, 0),
    "blue": (0, 0, 255),
    "yellow": (255, 255, 0),
    "magenta": (255, 0, 255),
    "cyan": (0, 255, 255),
    "white": (255, 255, 255),
    "black": (0, 0, 0),
}


class ColourEncoder:
    """The interface of `clipsearch.clip.encoder.Encoder`. Unknown words are grey, and dim.

    The first three axes are colour, the fourth says that there is anything at all (for black).
    """

    model_name = "colour"
    activation = "none"
    precision = "float32"
    folder = None  # it lies nowhere
    dimension = 4
    max_tokens = 77

    def __init__(self, name: str = "colour", input_px: int = 8) -> None:
        self.model_name = name
        self.input_px = input_px
        self.model_sha256 = hashlib.sha256(name.encode()).hexdigest()
        self.preprocess_info: dict[str, Any] = {"size": input_px}
        self.n_encoded = 0  # pictures that went through, for "was not encoded again"
        self.batch_sizes: list[int] = []

    @property
    def preprocess(self) -> Callable[[Image.Image], NDArray[np.uint8]]:
        return partial(shrunk, self.input_px)

    def encode_pixels(self, pixels: NDArray[np.uint8]) -> FloatArray:
        assert pixels.dtype == np.uint8 and pixels.shape[1:] == (self.input_px, self.input_px, 3)
        self.n_encoded += len(pixels)
        self.batch_sizes.append(len(pixels))
        return np.stack([colour_vector(p.reshape(-1, 3).mean(axis=0)) for p in pixels])

    def encode_images(self, images: Sequence[Image.Image]) -> FloatArray:
        return np.stack(
            [colour_vector(self.preprocess(i).reshape(-1, 3).mean(axis=0)) for i in images]
        )

    def encode_texts(self, texts: Sequence[str]) -> FloatArray:
        return np.stack([self._word_vector(text) for text in texts])

    def n_tokens(self, text: str) -> int:
        return len(text.split()) + 2

    def _word_vector(self, text: str) -> FloatArray:
        named = [COLOURS[word] for word in text.lower().split() if word in COLOURS]
        return colour_vector(np.mean(named or [(128, 128, 128)], axis=0))


def shrunk(input_px: int, image: Image.Image) -> NDArray[np.uint8]:
    """For the processes that decode, so it has to be a function of a module."""
    return np.asarray(image.convert("RGB").resize((input_px, input_px)))


def colour_vector(rgb: Any) -> FloatArray:
    """Mean colour, 0 to 255 a channel → a unit vector `[4]`."""
    return normalise(np.append(np.asarray(rgb) / 255.0, 0.25))
