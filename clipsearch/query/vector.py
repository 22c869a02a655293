"""A query → the vector to search for.

In: probes, what the library knows of them, and an encoder. Out: a unit vector, and what its asker
should be told. Knows nothing of indexes. Words alone load no Pillow.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from clipsearch.errors import QueryError
from clipsearch.probes import (
    PLACE_OF_WORDS,
    ImageProbe,
    IndexedProbe,
    Probe,
    Query,
    SavedProbe,
    TextProbe,
    UrlProbe,
    VectorProbe,
)
from clipsearch.query.known import Known
from clipsearch.settings import Settings
from clipsearch.vectors import FloatArray, normalise, weighted_sum
from clipsearch.wording import quoted

if TYPE_CHECKING:
    from collections.abc import Sequence


class ProbeEncoder(Protocol):
    """What asking needs of a model; vectors are of unit length, `[n, dim]`."""

    @property
    def dimension(self) -> int: ...
    @property
    def input_px(self) -> int: ...
    @property
    def max_tokens(self) -> int:
        """How many tokens of a text are read, with the two at its start and end."""

    @property
    def preprocess(self) -> Callable[[Any], NDArray[np.uint8]]: ...
    def encode_pixels(self, pixels: NDArray[np.uint8]) -> FloatArray: ...
    def encode_texts(self, texts: Sequence[str]) -> FloatArray: ...
    def n_tokens(self, text: str) -> int:
        """How many tokens it makes, with the two at its start and end."""


@dataclass(frozen=True)
class Composed:
    """The unit vector `[dim]` of a query, and what is to be said about it."""

    vector: FloatArray
    notes: tuple[str, ...] = ()


def query_vector(known: Known, encoder: ProbeEncoder, settings: Settings) -> Composed:
    """Encode the probes and add them up.

    Raises QueryError for a picture that cannot be had and for probes that cancel each other out.
    """
    composing = _Composing(known, encoder, settings)
    vector = composing.vector(known.query, ())
    return Composed(vector, tuple(dict.fromkeys(composing.notes)))


def image_vector(image: Any, encoder: ProbeEncoder) -> FloatArray:
    """A PIL picture of any mode → its unit vector `[dim]`."""
    from clipsearch.pillow import upright_rgb

    vector: FloatArray = encoder.encode_pixels(encoder.preprocess(upright_rgb(image))[None])[0]
    return vector


class _Composing:
    """One query on its way to a vector."""

    def __init__(self, known: Known, encoder: ProbeEncoder, settings: Settings) -> None:
        self._known = known
        self._encoder = encoder
        self._settings = settings
        self._saved: dict[tuple[str, tuple[str, ...]], FloatArray] = {}
        self.notes: list[str] = []

    def vector(self, query: Query, templates: tuple[str, ...]) -> FloatArray:
        """The vector of a query; `templates` are for one that has none of its own."""
        templates = query.templates or templates
        texts = [probe.text for probe in query.probes if isinstance(probe, TextProbe)]
        pictures = [each for each in query.probes if isinstance(each, ImageProbe | UrlProbe)]
        text_vectors = iter(self._text_vectors(texts, templates))
        picture_vectors = iter(self._picture_vectors(pictures))
        vectors: list[FloatArray] = []
        for probe in query.probes:
            if isinstance(probe, TextProbe):
                vectors.append(next(text_vectors))
            elif isinstance(probe, ImageProbe | UrlProbe):
                vectors.append(next(picture_vectors))
            else:
                vectors.append(self._other_vector(probe, templates))
        try:
            return weighted_sum(vectors, [probe.weight for probe in query.probes])
        except ValueError:
            raise QueryError("the parts of the query cancel each other out: change one") from None

    def _text_vectors(
        self, texts: Sequence[str], templates: tuple[str, ...]
    ) -> Sequence[FloatArray]:
        """Of each text the vector, or the mean of the vectors of its filled templates."""
        if not texts:
            return ()
        filled = [
            template.replace(PLACE_OF_WORDS, text)
            for text in texts
            for template in templates or (PLACE_OF_WORDS,)
        ]
        self._note_cut(filled)
        vectors = self._encoder.encode_texts(filled)
        if len(filled) == len(texts):
            return list(vectors)
        # [n texts * n templates, dim] -> [n texts, n templates, dim]
        grouped = vectors.reshape(len(texts), -1, vectors.shape[-1])
        try:
            return list(normalise(grouped.mean(axis=1, dtype=np.float64)))
        except ValueError:
            raise QueryError("the templates cancel each other out: leave one out") from None

    def _picture_vectors(self, pictures: Sequence[ImageProbe | UrlProbe]) -> Sequence[FloatArray]:
        if not pictures:
            return ()
        from clipsearch.query.pictures import decoded

        pixels = [
            self._encoder.preprocess(decoded(each, self._encoder.input_px, self._settings).image)
            for each in pictures
        ]
        return list(self._encoder.encode_pixels(np.stack(pixels)))

    def _other_vector(self, probe: Probe, templates: tuple[str, ...]) -> FloatArray:
        if isinstance(probe, VectorProbe):
            return _given_vector(probe, self._encoder.dimension)
        if isinstance(probe, IndexedProbe):
            return normalise(self._known.vectors[probe.image_id])
        assert isinstance(probe, SavedProbe) and probe.meaning is not None, "it was not looked up"
        key = (probe.name, templates)
        if key not in self._saved:
            self._saved[key] = self.vector(probe.meaning, templates)
        return self._saved[key]

    def _note_cut(self, texts: Sequence[str]) -> None:
        """Tell of texts that the model does not read to their end."""
        for text in texts:
            n_tokens = self._encoder.n_tokens(text)
            if n_tokens > self._encoder.max_tokens:
                self.notes.append(
                    f"the text {quoted(text, 40)} is longer than the model reads: the first "
                    f"{self._encoder.max_tokens - 2} of its {n_tokens - 2:,} tokens were used"
                )


def _given_vector(probe: VectorProbe, dimension: int) -> FloatArray:
    if probe.vector.shape != (dimension,):
        raise QueryError(
            f"the vector has the shape {list(probe.vector.shape)}, but the library's model makes "
            f"[{dimension}]: use vectors of the same model"
        )
    try:
        return normalise(probe.vector)
    except ValueError as error:
        raise QueryError(f"the vector cannot be used: {error}") from None
