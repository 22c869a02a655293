"""The query language, from text to a Query of weighted probes and back.

    2:"golden retriever" + ./pool.jpg - water

Pure: looks at spelling only, never at the disk. What begins with ./ ../ / or ~/ names a picture,
and so does one word that ends like one (beach.jpg). `+` and `-` are operators
where they stand alone.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from clipsearch.errors import QueryError
from clipsearch.vectors import FloatArray

PICTURE_ENDINGS = (
    "avif", "bmp", "gif", "heic", "heif", "jfif", "jpe", "jpeg", "jpg", "png", "tif", "tiff",
    "webp",
)  # fmt: skip
# A larger factor drowns every other probe, so it is more likely a slip.
MAX_WEIGHT = 1000.0

_PATH_STARTS = ("./", "../", "/", "~/")
_ENDING = rf"\.(?:{'|'.join(PICTURE_ENDINGS)})"
_PICTURE_NAME = re.compile(rf"\S+{_ENDING}", re.IGNORECASE)
# One file whose name holds an operator: "./Miles - So What.jpg", but not "./a.jpg - ./b.jpg".
_WHOLE_PATH = re.compile(
    rf"(?:\.\.?/|/|~/)(?:(?!{_ENDING}\s+[+-]\s).)*{_ENDING}", re.IGNORECASE | re.DOTALL
)
# "2:dog" has a weight, "16:9" and "10:30" are words.
_WEIGHT = re.compile(r"(-?\d+(?:\.\d+)?(?:e[+-]?\d+)?):(?!\d)\s*", re.IGNORECASE)
_OPERATOR = re.compile(r"(?<!\S)[+-](?!\S)")


@dataclass(frozen=True)
class TextProbe:
    """Words to look for. A negative weight means: not like this."""

    text: str
    weight: float = 1.0


@dataclass(frozen=True)
class ImageProbe:
    """A picture to look for, by the path as the user wrote it."""

    path: Path
    weight: float = 1.0


@dataclass(frozen=True, eq=False)
class VectorProbe:
    """A vector to look for: float `[dim]`, of any length but 0."""

    vector: FloatArray
    weight: float = 1.0


Probe = TextProbe | ImageProbe | VectorProbe


@dataclass(frozen=True)
class Query:
    """Weighted probes, at least one of them wanted. Raises QueryError if it asks for nothing."""

    probes: tuple[Probe, ...]

    def __post_init__(self) -> None:
        if not self.probes:
            raise QueryError("the query is empty: give words or a picture to look for")
        for probe in self.probes:
            _check_probe(probe)
        if all(probe.weight < 0 for probe in self.probes):
            raise QueryError(
                "the query only says what not to look for: put what to look for before the minus"
            )

    @property
    def text(self) -> str:
        """The query in its own language, which `parse` reads back (a vector is only named)."""
        first, *others = self.probes
        parts = [_spelled(first, is_first=True)]
        parts += [_spelled(probe, is_first=False) for probe in others]
        return " ".join(parts)


def parse(text: str | Sequence[str]) -> Query:
    """Read one text, or the words of a command line, where each argument may hold spaces.

    Raises QueryError, whose `column` counts from 0 in the arguments joined by single spaces.
    """
    arguments = [text] if isinstance(text, str) else list(text)
    probes: list[Probe] = []
    sign, operator_column, pieces = 1.0, -1, list[_Piece]()
    column = 0
    for argument in arguments:
        for piece in _pieces(argument, column):
            if not piece.is_operator:
                pieces.append(piece)
                continue
            if pieces:
                probes.append(_probe(pieces, sign))
            elif probes or operator_column >= 0:
                raise QueryError(
                    f'column {piece.column + 1}: "{piece.text}" follows another operator; '
                    "put words or a picture between them",
                    piece.column,
                )
            sign = -1.0 if piece.text == "-" else 1.0
            operator_column, pieces = piece.column, []
        column += len(argument) + 1
    if pieces:
        probes.append(_probe(pieces, sign))
    elif operator_column >= 0:
        raise QueryError(
            f"column {operator_column + 1}: nothing follows the operator; put words or a picture "
            "after it",
            operator_column,
        )
    return Query(tuple(probes))


@dataclass(frozen=True)
class _Piece:
    """A stretch of text without operators outside quotes, or one operator."""

    text: str
    column: int
    is_operator: bool = False
    is_verbatim: bool = False  # a path whose quotation marks belong to it


def _pieces(argument: str, start: int) -> list[_Piece]:
    weight = _WEIGHT.match(argument)
    if _WHOLE_PATH.fullmatch(argument, weight.end() if weight else 0):
        return [_Piece(argument, start, is_verbatim=True)]
    covered = _blank_quotes(argument, start)
    pieces, begin = list[_Piece](), 0
    for match in _OPERATOR.finditer(covered):
        pieces += _stretch(argument, begin, match.start(), start)
        pieces.append(_Piece(match.group(), start + match.start(), is_operator=True))
        begin = match.end()
    return pieces + _stretch(argument, begin, len(argument), start)


def _stretch(argument: str, begin: int, end: int, start: int) -> list[_Piece]:
    text = argument[begin:end]
    column = start + begin + len(text) - len(text.lstrip())
    return [_Piece(text.strip(), column)] if text.strip() else []


def _blank_quotes(text: str, start: int) -> str:
    """`text` with what is inside double quotes covered, so that no operator is found in there."""
    if text.count('"') % 2:
        column = start + text.rindex('"')
        raise QueryError(f"column {column + 1}: this quotation mark has no partner", column)
    return re.sub(r'"[^"]*"', lambda match: "x" * len(match.group()), text)


def _probe(pieces: list[_Piece], sign: float) -> Probe:
    column = pieces[0].column
    match = _WEIGHT.match(pieces[0].text)
    weight = _weight(match.group(1), column) if match else 1.0
    texts = [pieces[0].text[match.end() if match else 0 :], *(p.text for p in pieces[1:])]
    texts = [
        text if piece.is_verbatim else text.replace('"', "").strip()
        for text, piece in zip(texts, pieces, strict=True)
    ]
    pictures = [is_picture(text) for text in texts]
    if not any(texts):
        raise QueryError(f"column {column + 1}: no words stand here", column)
    if not any(pictures):
        return TextProbe(" ".join(text for text in texts if text), sign * weight)
    if len(texts) > 1:
        raise QueryError(
            f'column {pieces[1].column + 1}: put + or - between "{texts[0]}" and "{texts[1]}"',
            pieces[1].column,
        )
    return ImageProbe(Path(texts[0]), sign * weight)


def _weight(text: str, column: int) -> float:
    weight = float(text)
    if not 0 < weight <= MAX_WEIGHT:
        raise QueryError(
            f"column {column + 1}: the weight {text} must be above 0 and at most {MAX_WEIGHT:g}",
            column,
        )
    return weight


def is_picture(text: str) -> bool:
    """Whether the spelling names a picture file rather than words."""
    return text.startswith(_PATH_STARTS) or _PICTURE_NAME.fullmatch(text) is not None


def _check_probe(probe: Probe) -> None:
    if not math.isfinite(probe.weight) or not 0 < abs(probe.weight) <= MAX_WEIGHT:
        raise QueryError(
            f"the weight {probe.weight:g} must not be 0, nor further from it than {MAX_WEIGHT:g}"
        )
    if isinstance(probe, TextProbe):
        if not probe.text.strip():
            raise QueryError("the query is empty: give words or a picture to look for")
        if not _is_unicode(probe.text):
            raise QueryError("the words are not valid UTF-8: type them again")
    if isinstance(probe, ImageProbe) and "\0" in str(probe.path):
        raise QueryError("the picture's path holds a NUL character, which no file name can")


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _spelled(probe: Probe, is_first: bool) -> str:
    sign = "- " if probe.weight < 0 else "" if is_first else "+ "
    weight = "" if abs(probe.weight) == 1 else f"{abs(float(probe.weight))!r}:".replace(".0:", ":")
    if isinstance(probe, VectorProbe):
        return f"{sign}{weight}<vector>"
    if isinstance(probe, TextProbe):
        words = probe.text
        # A number in front could be taken for a weight, or keep one from being seen.
        needs_quotes = bool(_OPERATOR.search(words) or re.match(r"-?\d", words))
        return f'{sign}{weight}"{words}"' if needs_quotes else f"{sign}{weight}{words}"
    path = str(probe.path)
    path = path if is_picture(path) else f"./{path}"
    needs_quotes = bool(re.search(r"\s", path)) and '"' not in path
    return f'{sign}{weight}"{path}"' if needs_quotes else f"{sign}{weight}{path}"
