"""LiteEncoder: one probe at a time → a unit float32 vector, without torch where numpy will do.

In: words or pixels. Out: vectors. It is ready before torch would be imported; many pictures at once
are a matter for Encoder.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from clipsearch.clip.bundled import BundledModel
from clipsearch.clip.cache import ModelCache
from clipsearch.clip.intact import require_intact
from clipsearch.clip.manifest import WEIGHTS_FILE, is_bundle
from clipsearch.clip.mapped import MappedWeights
from clipsearch.clip.towers import image_features, text_features
from clipsearch.errors import BrokenCheckpoint
from clipsearch.vectors import FloatArray, normalise

if TYPE_CHECKING:
    from clipsearch.clip.encoder import Encoder

# A probe's vector is the same to the last digit, whatever stands beside it in the query.
FEW_TEXTS = 16
TEXTS_AT_ONCE = 48


def is_lite_enough(device: str | None, precision: str | None) -> bool:
    """Whether numpy can give what these settings ask for; it always computes so."""
    return device in (None, "cpu") and precision in (None, "float32")


def encoder_class(lite: bool) -> type[Encoder] | type[LiteEncoder]:
    """The one in numpy, or the one in torch, which takes more than a second to import."""
    if lite:
        return LiteEncoder
    from clipsearch.clip.encoder import Encoder

    return Encoder


class LiteEncoder(BundledModel):
    """A bundle, of which only what a probe needs is read. Threads may share it.

    Only the pictures of a ResNet go through torch, which is imported when the first one comes.
    """

    precision = "float32"

    def __init__(self, folder: Path, device: str | None = None) -> None:
        """Read sizes and preprocessing; `device` is for torch, if it is needed.

        Raises BrokenCheckpoint.
        """
        super().__init__(folder)
        self._weights = MappedWeights(folder / WEIGHTS_FILE)
        self._device = device

    @classmethod
    def load(
        cls,
        name_or_path: str | Path,
        *,
        cache: ModelCache,
        device: str | None = None,
        precision: str | None = None,
    ) -> LiteEncoder:
        """Find the model, fetching and converting it if need be, as `Encoder.load` does.

        `precision` is for those who choose between the two: `is_lite_enough`. Raises the errors of
        `find_model`, and BrokenCheckpoint.
        """
        folder = Path(name_or_path)
        if folder.is_absolute() and is_bundle(folder):  # a library's own: nothing has to be found
            require_intact(folder, cache.folder)
            return cls(folder, device)
        from clipsearch.clip.models import find_model

        return cls(find_model(name_or_path, cache), device)

    def encode_pixels(self, pixels: NDArray[np.uint8]) -> FloatArray:
        """Pixels uint8 `[n, input_px, input_px, 3]` in RGB → `[n, dimension]`, unit length.

        Raises ValueError for another shape or dtype.
        """
        config = self._manifest.config
        if config.vision.patch_size is None:
            return self._with_torch.encode_pixels(pixels)
        self._preprocess.require_pixels(pixels)
        return self._each(
            lambda one: image_features(self._weights, config, self._preprocess.normalise(one)),
            list(pixels),
        )

    def encode_texts(self, texts: Sequence[str]) -> FloatArray:
        """Texts → `[n, dimension]`, unit length. Too long a text loses its end."""
        config = self._manifest.config
        # The end token is the largest id; after it there is only padding.
        cut = [row[: int(row.argmax()) + 1].tolist() for row in self._tokens(texts)]
        if len(cut) <= FEW_TEXTS:
            return self._each(lambda one: text_features(self._weights, config, [one])[0], cut)
        # Reading the weights takes the time, so many texts share it.
        groups = [cut[at : at + TEXTS_AT_ONCE] for at in range(0, len(cut), TEXTS_AT_ONCE)]
        return self._unit(text_features(self._weights, config, group) for group in groups)

    def rest(self) -> None:
        """Give back the memory that the weights take; the next probe brings it back."""
        self._weights.rest()

    def _each(self, encode: Callable[[Any], FloatArray], probes: Sequence[Any]) -> FloatArray:
        return self._unit(encode(probe)[None] for probe in probes)

    def _unit(self, parts: Iterable[FloatArray]) -> FloatArray:
        """Features `[n, dimension]` in parts → unit vectors. Raises BrokenCheckpoint."""
        nothing = np.empty((0, self.dimension), dtype=np.float32)
        try:
            with np.errstate(over="ignore", invalid="ignore"):  # normalise looks at what comes
                return normalise(np.concatenate([nothing, *parts]))
        except ValueError as error:
            raise BrokenCheckpoint(
                f"the model {self.model_name} gives no usable vector: its weights in {self.folder}"
                " are damaged; fetch or convert it again"
            ) from error

    @cached_property
    def _with_torch(self) -> Encoder:
        from clipsearch.clip.encoder import Encoder

        return Encoder(self.folder, self._device, self.precision)
