"""What a Python caller gives, of whatever type → a Query.

In: text, paths, pictures, vectors. Out: a Query. Knows nothing of libraries; pictures in memory are
encoded by whoever is passed in.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from clipsearch.errors import QueryError
from clipsearch.probes import ImageProbe, Probe, Query, TextProbe, VectorProbe, parse
from clipsearch.vectors import FloatArray

EncodeImage = Callable[[Any], FloatArray]  # a PIL image → `[dim]`


def as_query(given: Any, encode_image: EncodeImage) -> Query:
    """A Query as it is, anything else as its probes. Raises QueryError."""
    if isinstance(given, Query):
        return given
    if isinstance(given, str):
        return parse(given)
    if isinstance(given, Sequence):
        if all(isinstance(part, str) for part in given):
            return parse(given)
        return Query(tuple(_probe(part, encode_image) for part in given))
    return Query((_probe(given, encode_image),))


def _probe(given: Any, encode_image: EncodeImage) -> Probe:
    if isinstance(given, TextProbe | ImageProbe | VectorProbe):
        return given
    if isinstance(given, str):
        parts = parse(given).probes
        if len(parts) == 1:
            return parts[0]
        raise QueryError(f'"{given}" is more than one probe: give them one by one')
    if isinstance(given, Path):
        return ImageProbe(given)
    if isinstance(given, np.ndarray):
        return VectorProbe(given)
    if hasattr(given, "getexif"):  # a PIL image; asking Pillow would mean to import it
        return VectorProbe(encode_image(given))
    raise QueryError(
        f"a {type(given).__name__} cannot be looked for: give words, a Path, a PIL image, "
        "a vector or a Query"
    )
