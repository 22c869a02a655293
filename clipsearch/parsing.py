"""The query language, from text to the parts of a Query.

`+` and `-` are operators where they stand alone, `key:value` is a filter where a word begins so,
and quotation marks make words of anything but a picture. What begins with ./ ../ / or ~/ names a
picture, and so does one word that ends like one (beach.jpg). Pure: never looks at a disk.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from clipsearch.errors import QueryError
from clipsearch.filters import KEYS, Filter, filter_of
from clipsearch.probes import (
    MAX_WEIGHT,
    ImageProbe,
    IndexedProbe,
    Probe,
    Query,
    SavedProbe,
    TextProbe,
    UrlProbe,
    checked_template,
)
from clipsearch.wording import quoted

PICTURE_ENDINGS = (
    "avif", "bmp", "gif", "heic", "heif", "jfif", "jpe", "jpeg", "jpg", "png", "tif", "tiff",
    "webp",
)  # fmt: skip
TEMPLATE = "template"
# What may hold spaces, which a shell has taken the quotation marks off.
_SPACED_KEYS = ("in", "camera", "lens", TEMPLATE)

_PATH_STARTS = ("./", "../", "/", "~/")
_ENDING = rf"\.(?:{'|'.join(PICTURE_ENDINGS)})"
_PICTURE_NAME = re.compile(rf"\S+{_ENDING}", re.IGNORECASE)
_KEY = rf"(?:{'|'.join((*KEYS, TEMPLATE))}):"
# One file whose name holds an operator: "./Miles - So What.jpg", but not "./a.jpg - ./b.jpg".
_WHOLE_PATH = re.compile(
    rf"(?:\.\.?/|/|~/)(?:(?!{_ENDING}\s+(?:[+-]\s|{_KEY})).)*{_ENDING}", re.IGNORECASE | re.DOTALL
)
# "2:dog" has a weight, "16:9" and "10:30" are words.
_WEIGHT = re.compile(r"(-?[0-9]+(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?):(?![0-9])\s*", re.IGNORECASE)
_QUOTED = re.compile(r'"((?:[^"]|"")*)"')  # a quotation mark in there is written twice
# An operator, or a word that may be a filter: "colour:red", but not "note: buy" or "std::map".
_MARK = re.compile(
    r"(?<!\S)(?:(?P<operator>[+-])(?!\S)"
    r"|(?P<minus>-?)(?P<key>[A-Za-z][A-Za-z-]+):(?P<value>\S*))"
)
_ID = re.compile(r"#([0-9]+)")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9.-]+://")
# What is a probe of its own, and so is not meant as one word among others.
_STRAY = re.compile(
    r"\A(?:#[0-9]+|@[A-Za-z0-9._-]+|https?://\S+)(?=\s)|(?<=\s)(?:https?://|\.\.?/|~/)\S+"
)

# "dog -cat", as web searches write it; as words it would look for cats.
_GLUED = re.compile(r"(?<=\s)-(?=[^\W\d_])\S+")


@dataclass
class Parts:
    """What a text holds; `query` makes a Query of it."""

    probes: list[Probe] = field(default_factory=list)
    filters: Filter = field(default_factory=Filter)
    templates: list[str] = field(default_factory=list)

    def query(self) -> Query:
        """Raises QueryError if nothing is asked for."""
        return Query(tuple(self.probes), self.filters, tuple(self.templates))


def read(text: str | Sequence[str]) -> Parts:
    """Read one text, or the words of a command line. Raises QueryError with a column."""
    reading = _Reading(Parts())
    column, arguments = 0, [text] if isinstance(text, str) else list(text)
    for argument in arguments:
        for piece in _pieces(argument, column, is_only=len(arguments) == 1):
            reading.take(piece)
        column += len(argument) + 1
    reading.end()
    return reading.parts


def read_filters(text: str) -> Filter:
    """Read a text of nothing but filters, `year:2023 in:trips`. Raises QueryError."""
    filters = Filter()
    for piece in _pieces(text, 0, is_only=True):
        if piece.key is None or piece.key == TEMPLATE:
            raise QueryError(
                f"column {piece.column + 1}: {quoted(piece.text)} is no filter, such as year:2023 "
                "or in:trips",
                piece.column,
            )
        with _pointing_at(piece.column):
            filters = filters.joined(filter_of(piece.key, _unquoted(piece.text)))
    return filters


def is_picture(text: str) -> bool:
    """Whether the spelling names a picture file rather than words."""
    return text.startswith(_PATH_STARTS) or _PICTURE_NAME.fullmatch(text) is not None


def ends_like_picture(path: str) -> bool:
    """Whether a path has one of `PICTURE_ENDINGS`."""
    return re.search(rf"{_ENDING}\Z", path, re.IGNORECASE) is not None


@dataclass(frozen=True)
class _Piece:
    """A stretch of words, one operator, or the value of a filter or template, with its quotes."""

    text: str
    column: int
    is_operator: bool = False
    is_verbatim: bool = False  # a path whose quotation marks belong to it
    key: str | None = None


@dataclass
class _Reading:
    """Gathers pieces to probes until an operator comes, or the end."""

    parts: Parts
    pieces: list[_Piece] = field(default_factory=list)
    operator: _Piece | None = None
    filter_after: bool = False  # whether one came after the operator

    def take(self, piece: _Piece) -> None:
        if piece.key is not None:
            self._add_filter(piece, piece.key)
        elif not piece.is_operator:
            self.pieces.append(piece)
        else:
            if self.pieces:
                self._add_probe()
            elif self.parts.probes or self.operator:
                self._complain_of_nothing(piece)
            self.operator, self.filter_after = piece, False

    def end(self) -> None:
        if self.pieces:
            self._add_probe()
        elif self.operator:
            self._complain_of_nothing(None)

    def _add_filter(self, piece: _Piece, key: str) -> None:
        self.filter_after = True
        value = piece.text if piece.is_verbatim else _unquoted(piece.text)
        with _pointing_at(piece.column):
            if key == TEMPLATE:
                self.parts.templates.append(checked_template(value))
            else:
                self.parts.filters = self.parts.filters.joined(filter_of(key, value))

    def _add_probe(self) -> None:
        sign = -1.0 if self.operator is not None and self.operator.text == "-" else 1.0
        with _pointing_at(self.pieces[0].column):
            self.parts.probes.append(_probe(self.pieces, sign))
        self.pieces = []

    def _complain_of_nothing(self, following: _Piece | None) -> None:
        operator = self.operator
        if operator is not None and self.filter_after:
            raise QueryError(
                f'column {operator.column + 1}: only a filter follows this "{operator.text}", and '
                "filters are not added or taken away: leave it out",
                operator.column,
            )
        if following is not None:
            raise QueryError(
                f'column {following.column + 1}: "{following.text}" follows another operator; '
                "put words or a picture between them",
                following.column,
            )
        column = operator.column if operator is not None else 0
        raise QueryError(
            f"column {column + 1}: nothing follows the operator; put words or a picture after it",
            column,
        )


@contextmanager
def _pointing_at(column: int) -> Iterator[None]:
    """Errors that know no column get this one."""
    try:
        yield
    except QueryError as error:
        if error.column is not None:
            raise
        raise QueryError(f"column {column + 1}: {error}", column) from None


def _pieces(argument: str, start: int, is_only: bool) -> list[_Piece]:
    weight = _WEIGHT.match(argument)
    if _WHOLE_PATH.fullmatch(argument, weight.end() if weight else 0):
        return [_Piece(argument, start, is_verbatim=True)]
    covered = _covered(argument, start)
    marks = [mark for mark in _MARK.finditer(covered) if _is_mark(mark, start)]
    if not is_only and len(marks) == 1 and (bare := _bare_value(argument, marks[0])):
        return [_Piece(bare, start, is_verbatim=True, key=marks[0]["key"].lower())]
    pieces, begin = list[_Piece](), 0
    for mark in marks:
        pieces += _stretch(argument, begin, mark.start(), start)
        if mark["operator"]:
            pieces.append(_Piece(mark["operator"], start + mark.start(), is_operator=True))
        else:
            value = argument[mark.start("value") : mark.end("value")]
            pieces.append(_Piece(value, start + mark.start(), key=mark["key"].lower()))
        begin = mark.end()
    return pieces + _stretch(argument, begin, len(argument), start)


def _is_mark(mark: re.Match[str], start: int) -> bool:
    """Whether it is an operator or filter rather than words. Raises QueryError for a slip."""
    if mark["operator"]:
        return True
    key, value, column = mark["key"].lower(), mark["value"], start + mark.start()
    if key not in (*KEYS, TEMPLATE):
        if mark["minus"] or not (value[:1].isalnum() or value[:1] == '"'):
            return False
        raise QueryError(
            f"column {column + 1}: {quoted(mark['key'] + ':')} is no filter: there are "
            f"{', '.join((*KEYS, TEMPLATE))}; in quotation marks it is words",
            column,
        )
    if mark["minus"] or not value:
        wrong = "cannot be taken away" if mark["minus"] else "has no value right behind the colon"
        raise QueryError(
            f"column {column + 1}: the filter {quoted(mark['key'] + ':')} {wrong}: correct it, or "
            "put it in quotation marks if it is meant as words",
            column,
        )
    return True


def _bare_value(argument: str, mark: re.Match[str]) -> str | None:
    """The value of an argument like in:my trips, which was typed in a shell as in:"my trips"."""
    is_spaced = mark["key"] is not None and mark["key"].lower() in _SPACED_KEYS
    if not is_spaced or mark.start() != 0 or '"' in argument or len(argument) == mark.end():
        return None
    return argument[mark.start("value") :]


def _stretch(argument: str, begin: int, end: int, start: int) -> list[_Piece]:
    text = argument[begin:end]
    column = start + begin + len(text) - len(text.lstrip())
    return [_Piece(text.strip(), column)] if text.strip() else []


def _covered(text: str, start: int) -> str:
    """`text` with quotation marks in the place of all inside them, where nothing is to be found."""
    if text.count('"') % 2:
        column = start + text.rindex('"')
        raise QueryError(f"column {column + 1}: this quotation mark has no partner", column)
    return _QUOTED.sub(lambda match: '"' * len(match.group()), text)


def _unquoted(text: str) -> str:
    return _QUOTED.sub(lambda match: match.group(1).replace('""', '"'), text)


def _probe(pieces: Sequence[_Piece], sign: float) -> Probe:
    first, column = pieces[0], pieces[0].column
    match = _WEIGHT.match(first.text)
    weight = sign * (_weight(match.group(1)) if match else 1.0)
    begin = match.end() if match else 0
    if first.is_verbatim and len(pieces) == 1:
        return ImageProbe(Path(first.text[begin:]), weight)
    texts = [first.text[begin:], *(piece.text for piece in pieces[1:])]
    things = [_thing(text, weight, is_first=not n) for n, text in enumerate(texts)]
    if len(texts) == 1:
        _refuse_stray(texts[0], column + begin)
        if things[0] is not None:
            return things[0]
    elif any(things):
        raise QueryError(
            f"column {pieces[1].column + 1}: put + or - between {quoted(texts[0])} and "
            f"{quoted(texts[1])}",
            pieces[1].column,
        )
    if not any(_unquoted(text).strip() for text in texts):
        raise QueryError("no words stand here")
    return TextProbe(" ".join(map(_unquoted, texts)), weight)


def _thing(text: str, weight: float, is_first: bool) -> Probe | None:
    """The probe that a stretch is if it is not words."""
    quoted_run = _QUOTED.fullmatch(text)
    if '"' in text and not quoted_run:
        return None
    name = _unquoted(text)
    scheme = _SCHEME.match(name)
    if scheme and scheme.group().lower() not in ("http://", "https://"):
        raise QueryError(
            f"{quoted(name)} is nothing that can be fetched: give an address with https:// or "
            "http://, or a path"
        )
    if scheme:
        return UrlProbe(name, weight)
    if is_picture(name):
        return ImageProbe(Path(name), weight)
    if quoted_run or not is_first or re.search(r"\s", name):
        return None
    if match := _ID.fullmatch(name):
        # Python converts no more digits than some thousands, and no id has as many as these.
        return IndexedProbe(int(match.group(1)[:30]), weight)
    return SavedProbe(name[1:], weight) if name.startswith("@") and name != "@" else None


def _refuse_stray(text: str, column: int) -> None:
    """Raise QueryError where a picture, id, name or operator stands among words."""
    covered = _QUOTED.sub(lambda match: '"' * len(match.group()), text)
    mark = _MARK.match(covered)
    if mark and mark["key"] and _is_mark(mark, column):
        raise QueryError(
            f"column {column + 1}: {quoted(mark.group())} is a filter, which has no weight: write "
            "it apart",
            column,
        )
    if text.startswith(_PATH_STARTS):
        return
    if glued := _GLUED.search(covered):
        at = column + glued.start()
        raise QueryError(
            f"column {at + 1}: put a space behind the minus of {quoted(glued.group())}, or all of "
            "it in quotation marks if it is meant as words",
            at,
        )
    if stray := _STRAY.search(covered):
        at = column + stray.start()
        side = "after" if stray.start() == 0 else "before"
        raise QueryError(
            f"column {at + 1}: put + or - {side} {quoted(stray.group())}, or all of it in quotation"
            " marks if it is meant as words",
            at,
        )


def _weight(text: str) -> float:
    weight = float(text)
    if not 0 < weight <= MAX_WEIGHT:
        raise QueryError(f"the weight {text[:20]} must be above 0 and at most {MAX_WEIGHT:g}")
    return weight
