"""Encoder: pictures and words → unit float32 vectors in numpy. The only door out of torch.

In: PIL images, uint8 pixels or strings. Out: arrays. Knows nothing of files of pictures, catalogs
or indexes.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from clipsearch.clip.bundle import load_image_tower, load_text_tower
from clipsearch.clip.bundled import BundledModel
from clipsearch.clip.cache import ModelCache
from clipsearch.clip.model import ImageTower
from clipsearch.clip.models import find_model
from clipsearch.clip.text import TextTransformer
from clipsearch.cores import available_cores
from clipsearch.errors import BrokenCheckpoint, SettingsError
from clipsearch.vectors import FloatArray, normalise

if TYPE_CHECKING:
    from PIL import Image

Precision = Literal["float32", "bfloat16", "float16"]
PixelArray = NDArray[np.uint8]
Tower = TypeVar("Tower", bound=nn.Module)

# Larger batches are cut into these, so that a caller's batch size decides nothing about memory.
CHUNK_SIZE = {"cpu": 32, "cuda": 256}

CPU_FLAGS = Path("/proc/cpuinfo")
BFLOAT16_FLAGS = {"amx_bf16", "avx512_bf16"}

# These compute in float32 whatever comes in, and cost nothing by it.
NORMS = (nn.LayerNorm, nn.BatchNorm2d)


class Encoder(BundledModel):
    """One model on one device. Threads may share it. A tower is loaded when it is first needed."""

    def __init__(
        self, folder: Path, device: str | None = None, precision: str | None = None
    ) -> None:
        """Read the sizes of a bundle.

        Raises BrokenCheckpoint, SettingsError for a device or precision that there is not.
        """
        super().__init__(folder)
        self._device = _device(device)
        if torch.get_num_threads() > available_cores():
            # Of a container's share of a large machine, torch sees the machine.
            torch.set_num_threads(available_cores())
        self.precision: Precision = _precision(precision, self._device)
        self._mean, self._std = (
            torch.tensor(values, device=self._device).view(3, 1, 1)
            for values in (self._preprocess.mean, self._preprocess.std)
        )
        self._image_tower: ImageTower | None = None
        self._text_tower: TextTransformer | None = None
        self._loading = threading.Lock()

    @classmethod
    def load(
        cls,
        name_or_path: str | Path,
        *,
        cache: ModelCache,
        device: str | None = None,
        precision: str | None = None,
    ) -> Encoder:
        """Find the model, fetching and converting it if need be.

        Raises the errors of `find_model`, SettingsError for a device or precision that there is
        not.
        """
        # A wrong option must not come to light after a long download only.
        _precision(precision, _device(device))
        return cls(find_model(name_or_path, cache), device, precision)

    def image_tower(self) -> ImageTower:
        """The image tower on the device. Raises BrokenCheckpoint if it cannot be loaded."""
        with self._loading:
            if self._image_tower is None:
                tower = load_image_tower(self.folder, self._manifest.config)
                self._image_tower = self._placed(tower)
            return self._image_tower

    def text_tower(self) -> TextTransformer:
        """The text tower on the device. Raises BrokenCheckpoint if it cannot be loaded."""
        with self._loading:
            if self._text_tower is None:
                self._text_tower = self._placed(load_text_tower(self.folder, self._manifest.config))
            return self._text_tower

    def encode_images(self, images: Sequence[Image.Image]) -> FloatArray:
        """Pictures → `[n, dimension]`, unit length."""
        size = self.input_px
        pixels = [self.preprocess(image) for image in images]
        return self.encode_pixels(
            np.stack(pixels) if pixels else np.empty((0, size, size, 3), np.uint8)
        )

    def encode_pixels(self, pixels: PixelArray) -> FloatArray:
        """Pixels uint8 `[n, input_px, input_px, 3]` in RGB → `[n, dimension]`, unit length.

        Raises ValueError for another shape or dtype.
        """
        self._preprocess.require_pixels(pixels)
        return self._encode(self._image_features(chunk) for chunk in self._chunks(pixels))

    def encode_texts(self, texts: Sequence[str]) -> FloatArray:
        """Texts → `[n, dimension]`, unit length. Too long a text loses its end."""
        return self._encode(
            self._text_features(chunk) for chunk in self._chunks(self._tokens(texts))
        )

    def _placed(self, tower: Tower) -> Tower:
        return lower_precision(tower, getattr(torch, self.precision)).to(self._device)

    def _chunks(self, rows: NDArray[Any]) -> Iterator[Tensor]:
        step = CHUNK_SIZE.get(self._device.type, 32)
        for start in range(0, len(rows), step):
            chunk = np.ascontiguousarray(rows[start : start + step])
            if not chunk.flags.writeable:  # torch will not share memory that it may not write to
                chunk = chunk.copy()
            yield torch.from_numpy(chunk).to(self._device)

    def _image_features(self, pixels: Tensor) -> Tensor:
        # The arithmetic of ToTensor and Normalize, to the last bit. [n, S, S, 3] -> [n, 3, S, S]
        scaled = pixels.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format)
        scaled.div_(255).sub_(self._mean).div_(self._std)
        tower = self.image_tower()
        features: Tensor = tower(scaled.to(tower.conv1.weight.dtype))
        return features

    def _text_features(self, tokens: Tensor) -> Tensor:
        # Nothing after the last end token can change a vector, and the end token is the largest id.
        longest = int(tokens.argmax(dim=-1).max()) + 1
        return self.text_tower().encode_text(tokens[:, :longest])

    @torch.inference_mode()
    def _encode(self, features: Iterator[Tensor]) -> FloatArray:
        """Exhaust the generator without gradients and scale what it yields to unit length."""
        vectors = [chunk.float().cpu().numpy() for chunk in features]
        if not vectors:
            return np.empty((0, self.dimension), dtype=np.float32)
        try:
            return normalise(np.concatenate(vectors))
        except ValueError as error:
            raise BrokenCheckpoint(
                f"the model {self.model_name} gives no usable vector in {self.precision}:"
                " its weights are damaged, or need the precision float32"
            ) from error


def lower_precision(model: Tower, dtype: torch.dtype) -> Tower:
    """Convert a model in place, all but its norms, which compute in float32 whatever comes in.

    A copy of the weights in the lower precision, unlike autocast, converts nothing per layer and
    call.
    """
    for module in model.modules():
        if not isinstance(module, NORMS):
            for parameter in module.parameters(recurse=False):
                parameter.data = parameter.data.to(dtype)
    return model


def has_fast_bfloat16(cpu_flags: Path = CPU_FLAGS) -> bool:
    """Whether the CPU multiplies bfloat16 matrices in hardware (AMX or AVX512-BF16)."""
    try:
        return not BFLOAT16_FLAGS.isdisjoint(cpu_flags.read_text(encoding="utf-8").split())
    except OSError:  # not Linux
        return False


def _device(name: str | None) -> torch.device:
    """The device of that name, tried out; by default the GPU if there is one."""
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (
        RuntimeError,
        AssertionError,
        NotImplementedError,
    ) as error:  # torch has no one class for it
        reason = str(error).strip().splitlines()[0]
        raise SettingsError(f"the device {name!r} cannot be used ({reason}): choose cpu") from error
    return device


def _precision(name: str | None, device: torch.device) -> Precision:
    if name is None:
        if device.type == "cuda":
            return "float16"
        return "bfloat16" if device.type == "cpu" and has_fast_bfloat16() else "float32"
    if name not in get_args(Precision):
        raise SettingsError(
            f"the precision {name!r} is unknown: choose one of {', '.join(get_args(Precision))}"
        )
    return cast(Precision, name)
