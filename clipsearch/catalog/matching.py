"""Which present images fulfil a filter: SQL that both kinds of catalog ask.

In: a Filter and something to ask a catalog file with. Out: ids, ascending. Every condition is
SQLite's own: no Python runs for each row. Knows nothing of SQLAlchemy.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clipsearch.filters import Filter, Near
from clipsearch.vectors import IdArray

Values = dict[str, Any]
Ask = Callable[[str, Values], Sequence[Sequence[Any]]]  # a statement and its values → all rows

# As one text per so many ids: a million rows of Python would take longer than finding them does.
# SQLite allows a text of 1,000,000,000 bytes.
IDS_AT_ONCE = 1 << 24

EARTH_KM = 6371.0088  # the mean radius
_HALF_TURN = 180.0
# More than a rounding error, and less than anybody can measure: the box must not be too small.
_MARGIN_DEGREES = 1e-6

# The plus keeps SQLite from its index on the state, which would lead to nearly every row singly.
_PRESENT = "+state = 'present'"
_SHAPES = {"landscape": "width > height", "portrait": "width < height", "square": "width = height"}


def matching_ids(wanted: Filter, ask: Ask) -> IdArray:
    """The present images that fulfil all that the filter asks, ascending."""
    condition = _Condition()
    condition.add_facts(wanted)
    if wanted.folders:
        condition.add_folders(wanted.folders, ask("SELECT folder_id, path FROM folders", {}))
    if wanted.near is not None:
        condition.add_box(wanted.near)
    found = [_found(condition, wanted.near, ask, first) for first in _starts(ask)]
    return np.sort(np.concatenate(found)) if found else np.empty(0, dtype=np.int64)


def lacks_details(ask: Ask) -> bool:
    """Whether an older version looked into a present picture, which read no details of it."""
    old = f"{_PRESENT} AND details IS NULL AND content_hash IS NOT NULL"
    return bool(ask(f"SELECT EXISTS (SELECT 1 FROM images WHERE {old})", {})[0][0])


def _starts(ask: Ask) -> range:
    newest = ask("SELECT max(image_id) FROM images", {})[0][0] or 0
    return range(0, newest, IDS_AT_ONCE)


def _found(condition: _Condition, near: Near | None, ask: Ask, first: int) -> IdArray:
    """The matching ids above `first`, at most as many as are asked for at once."""
    values = {**condition.values, "first": first, "last": first + IDS_AT_ONCE}
    rows = f"FROM images WHERE image_id > :first AND image_id <= :last AND {condition.sql}"
    if near is not None:
        found = ask(f"SELECT image_id, latitude, longitude {rows}", values)
        places = np.array(found, dtype=np.float64).reshape(-1, 3)  # ids up to 2 ** 53 are exact
        is_near = km_between(near, places[:, 1], places[:, 2]) <= near.km
        near_ids: IdArray = places[is_near, 0].astype(np.int64)
        return near_ids
    text = ask(f"SELECT group_concat(image_id) {rows}", values)[0][0]
    ids: IdArray = np.fromstring(text or "", dtype=np.int64, sep=",")
    return ids


@dataclass
class _Condition:
    """What is asked of a row, joined by AND."""

    parts: list[str] = field(default_factory=lambda: [_PRESENT])
    values: Values = field(default_factory=dict)

    @property
    def sql(self) -> str:
        return " AND ".join(self.parts)

    def add_facts(self, wanted: Filter) -> None:
        """All but places. A fact that is not known is NULL, and fulfils nothing."""
        for column, texts in (("camera", wanted.cameras), ("lens", wanted.lenses)):
            if texts:
                each = (f"instr(lower({column}), {self._named(_folded(text))})" for text in texts)
                self.parts.append(_any(list(each)))
        if wanted.types:
            listed = self._named(json.dumps(wanted.types))
            self.parts.append(f"format IN (SELECT value FROM json_each({listed}))")
        for comparison, value in (
            ("taken_at >=", wanted.after),
            ("taken_at <", wanted.before),
            ("width >=", wanted.min_width or None),
            ("height >=", wanted.min_height or None),
        ):
            if value is not None:
                self.parts.append(f"{comparison} {self._named(value)}")
        if wanted.shape is not None:
            self.parts.append(_SHAPES[wanted.shape])

    def add_folders(self, folders: Sequence[str], roots: Sequence[Sequence[Any]]) -> None:
        """Any of the folders will do."""
        whole: set[int] = set()  # roots that lie in one of them
        each: list[str] = []
        for folder in dict.fromkeys(folders):
            name = os.fsencode(folder)
            if folder.startswith("/"):
                each += self._places(name, roots, whole)
            else:
                each += self._names(name, roots, whole)
        if whole or not each:
            listed = self._named(json.dumps(sorted(whole)))
            each.append(f"folder_id IN (SELECT value FROM json_each({listed}))")
        self.parts.append(_any(each))

    def add_box(self, near: Near) -> None:
        """All that can be near, and a little more: what is near is decided by the distance."""
        latitudes, longitudes = _box(near)
        self.parts.append(self._between("latitude", *latitudes))
        self.parts.append(_any([self._between("longitude", *each) for each in longitudes]))

    def _places(
        self, name: bytes, roots: Sequence[Sequence[Any]], whole: set[int]
    ) -> Iterator[str]:
        # Roots are recorded without links, and people name folders as they reach them.
        for place in {os.path.normpath(name), os.path.realpath(name)}:
            inside = b"/" + place.strip(b"/") + b"/" if place.strip(b"/") else b"/"
            for folder_id, path in roots:
                root = path.rstrip(b"/") + b"/"
                if root.startswith(inside):
                    whole.add(folder_id)
                elif inside.startswith(root):
                    start = inside[len(root) :]
                    # As a range, as in `conditions.below`: "0" is what follows "/".
                    yield (
                        f"(folder_id = {self._named(folder_id)} AND "
                        f"relative_path > {self._named(start)} AND "
                        f"relative_path < {self._named(start[:-1] + b'0')})"
                    )

    def _names(self, name: bytes, roots: Sequence[Sequence[Any]], whole: set[int]) -> Iterator[str]:
        """Names that follow each other anywhere in a path: in the root's, in the rest, across."""
        parts = [part for part in name.lower().split(b"/") if part]
        if not parts:  # everything lies in no folder in particular
            whole.update(folder_id for folder_id, _ in roots)
            return
        needle = self._named(b"/" + b"/".join(parts) + b"/")
        # Bytes, because SQLite's text functions stumble over names that are not UTF-8; `lower`
        # changes ASCII alone, whatever stands around it.
        yield f"instr(CAST(lower('/' || relative_path) AS BLOB), {needle})"
        for folder_id, path in roots:
            above = [part for part in path.lower().split(b"/") if part]
            if any(above[n : n + len(parts)] == parts for n in range(len(above))):
                whole.add(folder_id)
                continue
            for n in range(1, len(parts)):
                if above[-n:] == parts[:n]:
                    rest = b"/".join(parts[n:]) + b"/"
                    beginning = f"substr(relative_path, 1, {len(rest)})"
                    yield (
                        f"(folder_id = {self._named(folder_id)} AND "
                        f"CAST(lower({beginning}) AS BLOB) = {self._named(rest)})"
                    )

    def _between(self, column: str, low: float, high: float) -> str:
        return f"{column} BETWEEN {self._named(low)} AND {self._named(high)}"

    def _named(self, value: object) -> str:
        """The name of a value in the statement."""
        name = f"v{len(self.values)}"
        self.values[name] = value
        return f":{name}"


def km_between(near: Near, latitudes: Any, longitudes: Any) -> NDArray[np.float64]:
    """Great-circle distances `[n]` from a place to others, in degrees `[n]`: the haversine formula,
    which is good at every distance."""
    here, there = np.radians(near.latitude), np.radians(latitudes)
    east = np.radians(longitudes) - np.radians(near.longitude)
    half = np.sin((there - here) / 2) ** 2 + np.cos(here) * np.cos(there) * np.sin(east / 2) ** 2
    km: NDArray[np.float64] = 2 * EARTH_KM * np.arcsin(np.sqrt(np.clip(half, 0.0, 1.0)))
    return km


def _box(near: Near) -> tuple[tuple[float, float], list[tuple[float, float]]]:
    """Latitudes and longitudes, in degrees, that whatever is near lies between."""
    radius = min(max(near.km, 0.0) / EARTH_KM, math.pi)
    reach = math.degrees(radius) + _MARGIN_DEGREES
    south, north = near.latitude - reach, near.latitude + reach
    everywhere = [(-_HALF_TURN, _HALF_TURN)]
    if south <= -90 or north >= 90:  # a pole is near, and all longitudes meet there
        return (south, north), everywhere
    # Where a meridian touches the circle, which is nearer to the pole than its middle.
    east = math.degrees(math.asin(min(1.0, math.sin(radius) / _cosine(near.latitude))))
    east += _MARGIN_DEGREES / _cosine(near.latitude)
    middle = (near.longitude + _HALF_TURN) % 360 - _HALF_TURN
    if east >= _HALF_TURN:
        return (south, north), everywhere
    longitudes = [(middle - east, middle + east)]
    # Across the date line the numbers begin again.
    if middle - east < -_HALF_TURN:
        longitudes.append((middle - east + 360, _HALF_TURN))
    if middle + east > _HALF_TURN:
        longitudes.append((-_HALF_TURN, middle + east - 360))
    return (south, north), longitudes


def _cosine(degrees: float) -> float:
    return max(math.cos(math.radians(degrees)), 1e-9)


def _any(conditions: Sequence[str]) -> str:
    """Joined by OR as a tree, because SQLite takes no more than a thousand in a row."""
    if len(conditions) == 1:
        return conditions[0]
    middle = len(conditions) // 2
    return f"({_any(conditions[:middle])} OR {_any(conditions[middle:])})"


def _folded(text: str) -> str:
    """In small letters as SQLite makes them, which are those of ASCII."""
    return text.encode().lower().decode()
