"""Picture → pixels, to the last bit what the reference's torchvision transforms make of it.

In: a PIL image. Out: uint8 `[n, n, 3]` or normalised float32 `[3, n, n]`. Imports no torchvision,
Pillow only where there is a picture, torch only where a tensor is asked for. Knows nothing of
files, orientation or models.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from clipsearch.errors import BrokenCheckpoint, UnreadableImage
from clipsearch.vectors import FloatArray

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

OPENAI_MEAN = (0.48145466, 0.4578275, 0.40821073)
OPENAI_STD = (0.26862954, 0.26130258, 0.27577711)

INTERPOLATIONS = ("bicubic", "bilinear", "nearest")  # Pillow calls them the same

# What becomes of a picture that is not square: cut to its middle, or squeezed.
RESIZE_MODES = ("shortest", "squash")

# A picture this much longer than wide is not resized whole: 10000x20 would become 112000x224.
LONG_PICTURE = 32


@dataclass(frozen=True)
class Preprocess:
    """Resize the short side to `size`, cut out the central square, make it RGB, normalise it.

    The `resize_mode` "squash" makes it square instead, whatever its proportions.
    A picture may be of any mode, and is seen as on a white page, turned as its EXIF says.
    `parity` does as the reference: it leaves a picture lying on its side, drops transparency, and
    resizes before it converts to RGB, which mars palettes. Only grey of more than 8 bits, which
    the reference makes all white, is scaled here too.
    Raises BrokenCheckpoint for values that make no sense, because they come with a model.
    """

    size: int
    mean: tuple[float, float, float] = OPENAI_MEAN
    std: tuple[float, float, float] = OPENAI_STD
    interpolation: str = "bicubic"
    resize_mode: str = "shortest"
    parity: bool = False

    def __post_init__(self) -> None:
        if self.interpolation not in INTERPOLATIONS:
            raise BrokenCheckpoint(
                f"unknown interpolation {self.interpolation!r}: it must be one of"
                f" {', '.join(INTERPOLATIONS)}"
            )
        if self.resize_mode not in RESIZE_MODES:
            raise BrokenCheckpoint(
                f"unknown resize_mode {self.resize_mode!r}: it must be one of"
                f" {', '.join(RESIZE_MODES)}"
            )
        triples = len(self.mean) == 3 and len(self.std) == 3
        if self.size < 1 or not triples or 0 in self.std:
            raise BrokenCheckpoint(f"the model's preprocessing makes no sense: {self.to_dict()}")

    def __call__(self, image: Image.Image) -> Tensor:
        """A picture → float32 tensor `[3, size, size]`."""
        # Decoding threads and whoever runs the towers in numpy never come here, and need no torch.
        from torch import from_numpy

        return from_numpy(self.normalise(self.resize_and_crop(image)))

    def resize_and_crop(self, image: Image.Image) -> NDArray[np.uint8]:
        """A picture of any mode → uint8 `[size, size, 3]`, RGB.

        Raises UnreadableImage if it is empty or cannot be loaded.
        """
        # A query in words reads the preprocessing of a model, and does without Pillow.
        from clipsearch.pillow import as_shown, is_deep_grey, to_rgb

        if not (image.width and image.height):
            raise UnreadableImage(f"a picture of {image.width}x{image.height} pixels shows nothing")
        if not self.parity:
            image = as_shown(image)
        elif is_deep_grey(image):
            image = to_rgb(image)
        square = self._central_square(image)
        return np.array(square if square.mode == "RGB" else square.convert("RGB"))

    def normalise(self, pixels: NDArray[np.uint8]) -> FloatArray:
        """Pixels uint8 `[..., n, n, 3]` → float32 `[..., 3, n, n]`."""
        mean, std = (np.array(values, dtype=np.float32) for values in (self.mean, self.std))
        # In this order and in float32 throughout: ToTensor, then Normalize, to the last bit.
        scaled = (pixels.astype(np.float32) / np.float32(255) - mean) / std
        return np.ascontiguousarray(np.moveaxis(scaled, -1, -3))

    def to_dict(self) -> dict[str, Any]:
        """What belongs to the model, as JSON-able values; `parity` belongs to the caller."""
        values: dict[str, Any] = {
            "size": self.size,
            "mean": list(self.mean),
            "std": list(self.std),
            "interpolation": self.interpolation,
        }
        # Libraries compare this with what they were made with, and most were made without.
        return values if self.resize_mode == "shortest" else values | {"resize_mode": "squash"}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`. Raises BrokenCheckpoint if a value is missing or unknown."""
        try:
            triples = {key: tuple(float(value) for value in values[key]) for key in ("mean", "std")}
            return cls(**{**values, **triples, "size": int(values["size"])})
        except (KeyError, TypeError, ValueError) as error:
            raise BrokenCheckpoint(
                f"the model's preprocessing is incomplete or unknown ({error}):"
                " fetch or export it again"
            ) from error

    def require_pixels(self, pixels: NDArray[np.uint8]) -> None:
        """Raise ValueError unless `pixels` is uint8 `[n, size, size, 3]`."""
        size = self.size
        if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[1:] != (size, size, 3):
            raise ValueError(
                f"pixels must be uint8 [n, {size}, {size}, 3], not {pixels.dtype}"
                f" {list(pixels.shape)}"
            )

    def _central_square(self, image: Image.Image) -> Image.Image:
        from PIL.Image import Resampling

        resampling = Resampling[self.interpolation.upper()]
        if self.resize_mode == "squash":
            return image.resize((self.size, self.size), resampling)
        width, height = image.size
        short, long = min(width, height), max(width, height)
        new_long = int(self.size * long / short)  # cut off, not rounded, as torchvision does
        new_width, new_height = (self.size, new_long) if width <= height else (new_long, self.size)
        # Python rounds halves to even: a margin of 1 leaves 0 on this side, a margin of 3 leaves 2.
        left, top = (round((side - self.size) / 2) for side in (new_width, new_height))
        if new_long > LONG_PICTURE * self.size:
            across, down = width / new_width, height / new_height
            right = min((left + self.size) * across, width)
            bottom = min((top + self.size) * down, height)
            box = (left * across, top * down, right, bottom)
            return image.resize((self.size, self.size), resampling, box=box)
        resized = image.resize((new_width, new_height), resampling)
        return resized.crop((left, top, left + self.size, top + self.size))
