"""What is asked for: a Query of weighted probes, with filters and templates.

    2:"golden retriever" + ./pool.jpg - water year:2023

Pure: looks at spelling only, never at a disk or a library. `parsing.py` reads the language,
`spelling.py` writes it.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from clipsearch.errors import QueryError
from clipsearch.filters import Filter
from clipsearch.vectors import FloatArray
from clipsearch.wording import is_unicode, plain, quoted

# A larger factor drowns every other probe, so it is more likely a slip.
MAX_WEIGHT = 1000.0
PLACE_OF_WORDS = "{}"  # in a template

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_ADDRESS = re.compile(r'https?://[^/?#\s"][^\s"]*', re.IGNORECASE)
_MAX_ID = 2**63 - 1  # what a database can number


@dataclass(frozen=True)
class TextProbe:
    """Words to look for. A negative weight means: not like this.

    Runs of whitespace and control characters become single spaces, as they mean nothing to a model.
    Every probe raises QueryError for what cannot be meant.
    """

    text: str
    weight: float = 1.0

    def __post_init__(self) -> None:
        _check_weight(self.weight)
        object.__setattr__(self, "text", plain(self.text))
        if not self.text:
            raise QueryError("the query is empty: give words or a picture to look for")
        if not is_unicode(self.text):
            raise QueryError("the words are not valid UTF-8: type them again")


@dataclass(frozen=True)
class ImageProbe:
    """A picture to look for, by the path as the user wrote it."""

    path: Path
    weight: float = 1.0

    def __post_init__(self) -> None:
        _check_weight(self.weight)
        if "\0" in str(self.path):
            raise QueryError("the picture's path holds a NUL character, which no file name can")
        try:
            os.fsencode(self.path)
        except UnicodeEncodeError:
            raise QueryError(
                f"the path {quoted(str(self.path))} cannot be that of a file: type it again"
            ) from None


@dataclass(frozen=True)
class UrlProbe:
    """A picture to look for, by its address on the web: http or https."""

    url: str
    weight: float = 1.0

    def __post_init__(self) -> None:
        _check_weight(self.weight)
        if not _ADDRESS.fullmatch(self.url) or not is_unicode(self.url):
            raise QueryError(
                f"{quoted(self.url)} is no address of a picture: give one without spaces, such as "
                "https://host/cat.jpg"
            )


@dataclass(frozen=True)
class IndexedProbe:
    """A picture of the library to look for, by its id."""

    image_id: int
    weight: float = 1.0

    def __post_init__(self) -> None:
        _check_weight(self.weight)
        if not 0 < self.image_id <= _MAX_ID:
            shown = f"#{self.image_id}" if abs(self.image_id) < 10**30 else "such a number"
            raise QueryError(f"{shown} is no image's id: ids are counted from #1")


@dataclass(frozen=True)
class SavedProbe:
    """A saved query to look for, by its name. `meaning` is what the library knows by that name."""

    name: str
    weight: float = 1.0
    meaning: Query | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        _check_weight(self.weight)
        checked_name(self.name)


@dataclass(frozen=True, eq=False)
class VectorProbe:
    """A vector to look for: float `[dim]`, of any length but 0."""

    vector: FloatArray
    weight: float = 1.0

    def __post_init__(self) -> None:
        _check_weight(self.weight)


Probe = TextProbe | ImageProbe | UrlProbe | IndexedProbe | SavedProbe | VectorProbe


@dataclass(frozen=True)
class Query:
    """Weighted probes, at least one of them wanted. Raises QueryError if it asks for nothing.

    `filters` must be fulfilled by every hit. `templates` are sentences with {} for the words of a
    text probe, which are then looked for as the mean of the filled sentences.
    """

    probes: tuple[Probe, ...]
    filters: Filter = field(default_factory=Filter)
    templates: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "probes", tuple(self.probes))
        templates = tuple(dict.fromkeys(map(checked_template, self.templates)))
        object.__setattr__(self, "templates", templates)
        if not self.probes and self.filters:
            raise QueryError("the query only filters: add words or a picture to look for")
        if not self.probes:
            raise QueryError("the query is empty: give words or a picture to look for")
        if all(probe.weight < 0 for probe in self.probes):
            raise QueryError(
                "the query only says what not to look for: put what to look for before the minus"
            )

    @property
    def text(self) -> str:
        """The query in its own language, which `parse` reads back (a vector is only named)."""
        from clipsearch.spelling import spelled

        return spelled(self)


def parse(text: str | Sequence[str]) -> Query:
    """Read one text, or the words of a command line, where each argument may hold spaces.

    Raises QueryError, whose `column` counts from 0 in the arguments joined by single spaces.
    """
    from clipsearch.parsing import read

    return read(text).query()


def checked_name(name: str) -> str:
    """The name of a saved query, if it is one. Raises QueryError."""
    if not _NAME.fullmatch(name):
        raise QueryError(
            f"{quoted(name)} is no name for a query: use at most 64 letters from a to z, digits, "
            "- _ and ., the first a letter or digit"
        )
    return name


def checked_template(template: str) -> str:
    """A template, if it is one, with single spaces. Raises QueryError."""
    if PLACE_OF_WORDS not in template:
        raise QueryError(
            f"the template {quoted(template)} has no {{}} for the words: write it like "
            '"a photo of a {}"'
        )
    if not is_unicode(template):
        raise QueryError(f"the template {quoted(template)} is not valid UTF-8: type it again")
    return plain(template)


def _check_weight(weight: float) -> None:
    if not math.isfinite(weight) or not 0 < abs(weight) <= MAX_WEIGHT:
        raise QueryError(
            f"the weight {weight:g} must not be 0, nor further from it than {MAX_WEIGHT:g}"
        )
