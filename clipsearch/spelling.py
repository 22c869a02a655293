"""The query language, from a Query to text that `parse` reads back."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from clipsearch.errors import QueryError
from clipsearch.parsing import TEMPLATE, ends_like_picture, is_picture, read
from clipsearch.probes import (
    ImageProbe,
    IndexedProbe,
    Probe,
    Query,
    SavedProbe,
    TextProbe,
    UrlProbe,
)


def spelled(query: Query) -> str:
    """Probes, then filters, then templates. A vector is only named."""
    first, *others = query.probes
    parts = [_signed(first, "")]
    parts += [_signed(probe, "+ ") for probe in others]
    parts += [f"{key}:{_value(value)}" for key, value in query.filters.words()]
    parts += [f"{TEMPLATE}:{_quoted(template)}" for template in query.templates]
    return " ".join(parts)


def _signed(probe: Probe, plus: str) -> str:
    factor = abs(float(probe.weight))
    weight = "" if factor == 1 else f"{factor!r}:".replace(".0:", ":")
    wanted = replace(probe, weight=factor)
    # Whether words need quotation marks is for the parser to say, which knows all the reasons.
    *likelier, last = _bodies(probe)
    body = next((each for each in likelier if _reads_as(weight + each, wanted)), last)
    return ("- " if probe.weight < 0 else plus) + weight + body


def _bodies(probe: Probe) -> Iterator[str]:
    """Ways to write a probe, the shortest first, the last one always right."""
    if isinstance(probe, TextProbe):
        yield probe.text
        yield _quoted(probe.text)
        yield f'"" {_quoted(probe.text)}'  # two stretches in quotation marks are never a picture
    elif isinstance(probe, ImageProbe):
        path = str(probe.path)
        # Without such an ending, a picture that follows could be taken for the rest of it.
        if ends_like_picture(path) and not re.search(r"\s", path):
            yield path
            yield f"./{path}"
        yield _quoted(path if is_picture(path) else f"./{path}")
    elif isinstance(probe, UrlProbe):
        yield probe.url
    elif isinstance(probe, IndexedProbe):
        yield f"#{probe.image_id}"
    elif isinstance(probe, SavedProbe):
        yield f"@{probe.name}"
    else:
        yield "<vector>"


def _reads_as(text: str, probe: Probe) -> bool:
    try:
        parts = read(text)
    except QueryError:
        return False
    return parts.probes == [probe] and not (parts.filters or parts.templates)


def _value(text: str) -> str:
    return _quoted(text) if not text or re.search(r'[\s"]', text) else text


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'
