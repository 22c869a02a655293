"""What both encoders know of a bundle before they read its weights.

In: a bundle's folder. Out: its name, sizes, preprocessing and tokens. Imports no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from clipsearch.clip.manifest import MERGES_FILE, read_manifest
from clipsearch.clip.preprocess import Preprocess
from clipsearch.clip.tokenizer import TokenArray, Tokenizer

if TYPE_CHECKING:
    from PIL import Image


class BundledModel:
    """The base of Encoder and LiteEncoder. Raises BrokenCheckpoint if `model.json` is damaged."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self._manifest = read_manifest(folder)
        self._preprocess = Preprocess.from_dict(self._manifest.preprocess)

    @property
    def model_name(self) -> str:
        """What people call the model."""
        return self._manifest.name

    @property
    def model_sha256(self) -> str:
        """What identifies the model to a library: the SHA-256 of its weights' source, in hex."""
        return self._manifest.source_sha256

    @property
    def dimension(self) -> int:
        """The length of a vector."""
        return self._manifest.config.embed_dim

    @property
    def input_px(self) -> int:
        """The side of the square that the image tower sees."""
        return self._preprocess.size

    @property
    def activation(self) -> str:
        """Of the two approximations of GELU, the one that the model was trained with."""
        return self._manifest.config.activation

    @property
    def preprocess_info(self) -> dict[str, Any]:
        """What happens to a picture before the image tower, JSON-able."""
        return self._preprocess.to_dict()

    @property
    def preprocess(self) -> Callable[[Image.Image], NDArray[np.uint8]]:
        """A picture of any mode → RGB pixels `[input_px, input_px, 3]`, as a function.

        It does without torch and is small when pickled, for the processes that decode. It raises
        UnreadableImage for a picture that cannot be loaded.
        """
        return self._preprocess.resize_and_crop

    @property
    def max_tokens(self) -> int:
        """How many tokens of a text the model reads, with the two at its start and end."""
        return self._manifest.config.text.context_length

    def n_tokens(self, text: str) -> int:
        """How many tokens a text makes, with the two at its start and end."""
        return len(self._tokenizer.encode(text, allow_special=False)) + 2

    def _tokens(self, texts: Sequence[str]) -> TokenArray:
        """Texts as their users typed them → `[n, context_length]`; too long ones lose their end."""
        return self._tokenizer.tokenize(
            list(texts), self.max_tokens, truncate=True, allow_special=False
        )

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        vocab_size = self._manifest.config.text.vocab_size
        return Tokenizer.for_model(self.folder / MERGES_FILE, vocab_size)
