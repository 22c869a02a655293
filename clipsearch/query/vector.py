"""A query → the vector to search for.

In: probes and an encoder. Out: a unit vector, and the images that the query itself shows. Knows
nothing of indexes. Words alone load no Pillow.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from clipsearch.errors import ImageError, QueryError
from clipsearch.probes import ImageProbe, Query, TextProbe, VectorProbe
from clipsearch.vectors import FloatArray, IdArray, normalise, weighted_sum

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clipsearch.catalog import CatalogReads


class ProbeEncoder(Protocol):
    """What asking needs of a model; vectors are of unit length, `[n, dim]`."""

    @property
    def dimension(self) -> int: ...
    @property
    def input_px(self) -> int: ...
    @property
    def preprocess(self) -> Callable[[Any], NDArray[np.uint8]]: ...
    def encode_pixels(self, pixels: NDArray[np.uint8]) -> FloatArray: ...
    def encode_texts(self, texts: Sequence[str]) -> FloatArray: ...


def query_vector(query: Query, encoder: ProbeEncoder, max_pixels: int | None) -> FloatArray:
    """Encode the probes and add them up: a unit vector `[dim]`.

    Raises QueryError for a picture that cannot be read and for probes that cancel each other out.
    """
    texts = [probe.text for probe in query.probes if isinstance(probe, TextProbe)]
    paths = [probe.path for probe in query.probes if isinstance(probe, ImageProbe)]
    text_vectors = iter(encoder.encode_texts(texts) if texts else ())
    image_vectors = iter(_encode_files(paths, encoder, max_pixels) if paths else ())
    vectors: list[FloatArray] = []
    for probe in query.probes:
        if isinstance(probe, VectorProbe):
            vectors.append(_given_vector(probe, encoder.dimension))
        else:
            vectors.append(next(text_vectors if isinstance(probe, TextProbe) else image_vectors))
    try:
        return weighted_sum(vectors, [probe.weight for probe in query.probes])
    except ValueError:
        raise QueryError("the parts of the query cancel each other out: change one") from None


def image_vector(image: Any, encoder: ProbeEncoder) -> FloatArray:
    """A PIL picture of any mode → its unit vector `[dim]`."""
    from clipsearch.pillow import upright_rgb

    vector: FloatArray = encoder.encode_pixels(encoder.preprocess(upright_rgb(image))[None])[0]
    return vector


def probed_images(query: Query, catalog: CatalogReads) -> IdArray:
    """The images that the query's own picture files are: nobody looks for what he holds in hand.

    A copy under another name is another file, and worth finding. Raises QueryError for a picture
    that cannot be opened.
    """
    found: set[int] = set()
    for probe in query.probes:
        if not isinstance(probe, ImageProbe):
            continue
        from clipsearch.images import open_picture

        path = _reachable(probe.path)
        try:
            open_picture(path).close()  # a slip of the pen should not wait for the model to load
        except ImageError as error:
            raise _unusable(error) from error
        # Once as the user reaches it and once without links, as roots are recorded.
        for place in {os.path.abspath(path), os.path.realpath(path)}:
            record = catalog.image_at(os.fsencode(place))
            found |= {record.image_id} if record else set()
    return np.array(sorted(found), dtype=np.int64)


def _encode_files(
    paths: Sequence[Path], encoder: ProbeEncoder, max_pixels: int | None
) -> FloatArray:
    from clipsearch.images import MAX_PIXELS, decode

    pixels = []
    for path in paths:
        # As the indexer reads it, so that a picture and its copy in the library have one vector.
        try:
            decoded = decode(_reachable(path), encoder.input_px, max_pixels or MAX_PIXELS)
        except ImageError as error:
            raise _unusable(error) from error
        pixels.append(encoder.preprocess(decoded.image))
    return encoder.encode_pixels(np.stack(pixels))


def _reachable(path: Path) -> Path:
    try:
        return path.expanduser()
    except RuntimeError:  # ~ of a user without a home folder
        raise QueryError(f"there is no home folder for {path}: give a full path") from None


def _unusable(error: ImageError) -> QueryError:
    return QueryError(f"the picture to look for cannot be used: {error}")


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
