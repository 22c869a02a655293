"""What a Python caller gives, of whatever type → a Query.

In: text, paths, pictures, vectors, and the options. Out: a Query. Knows nothing of libraries;
pictures in memory are encoded by whoever is passed in.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np

from clipsearch.errors import QueryError
from clipsearch.filters import Filter
from clipsearch.parsing import Parts, read, read_filters
from clipsearch.probes import ImageProbe, Probe, Query, VectorProbe
from clipsearch.query.known import placed
from clipsearch.query.wanted import QueryOptions
from clipsearch.vectors import FloatArray

EncodeImage = Callable[[Any], FloatArray]  # a PIL image → `[dim]`


def as_query(given: Any, encode_image: EncodeImage, options: QueryOptions | None = None) -> Query:
    """A Query as it is, anything else as its probes, with the options' filters and templates.

    Folders that begin with ./ ../ or ~/ become absolute. Raises QueryError.
    """
    query, chosen = _query(given, encode_image), options or {}
    filters = query.filters.joined(_filter(chosen.get("filters", Filter())))
    templates = (*query.templates, *_templates(chosen.get("templates", ())))
    return replace(query, filters=placed(filters), templates=templates)


def _query(given: Any, encode_image: EncodeImage) -> Query:
    if isinstance(given, Query):
        return given
    if isinstance(given, str):
        return read(given).query()
    if not isinstance(given, Sequence):
        return Query((_probe(given, encode_image),))
    if all(isinstance(part, str) for part in given):
        return read(given).query()
    whole = Parts()
    for part in given:
        _add(whole, part, encode_image)
    return whole.query()


def _add(whole: Parts, given: Any, encode_image: EncodeImage) -> None:
    """Add what one of several things asks for, each of which counts alike."""
    if not isinstance(given, str | Query):
        whole.probes.append(_probe(given, encode_image))
        return
    part = read(given) if isinstance(given, str) else given
    whole.probes += part.probes
    whole.filters = whole.filters.joined(part.filters)
    whole.templates += part.templates


def _templates(given: Any) -> Sequence[str]:
    if isinstance(given, str):
        return (given,)
    if isinstance(given, Sequence) and all(isinstance(each, str) for each in given):
        return given
    raise QueryError('templates are sentences such as "a photo of a {}": give one, or a list')


def _filter(given: Any) -> Filter:
    if isinstance(given, str):
        return read_filters(given)
    if isinstance(given, Filter):
        return given
    raise QueryError(
        f"a {type(given).__name__} is no filter: give a Filter, or words such as year:2023"
    )


def _probe(given: Any, encode_image: EncodeImage) -> Probe:
    if isinstance(given, get_args(Probe)):
        found: Probe = given
        return found
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
