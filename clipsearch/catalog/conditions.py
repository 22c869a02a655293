"""Conditions that several questions share, as SQL that stays quick however many rows there are."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import numpy as np
from sqlalchemy import and_, func, or_, select, true
from sqlalchemy.sql.elements import ColumnElement

from clipsearch.catalog.tables import ImageRow
from clipsearch.vectors import IdArray

ImageIds = Iterable[int] | IdArray

# Few, and found through the index on the state. "Not one of these" is far cheaper than a look at
# the state of every image.
ABSENT = select(ImageRow.image_id).where(ImageRow.state.in_(("missing", "unreadable")))


def among(column: ColumnElement[int] | Any, image_ids: ImageIds) -> ColumnElement[bool]:
    """The condition that a column is one of these ids, however many there are."""
    ids = image_ids if isinstance(image_ids, np.ndarray) else np.fromiter(image_ids, np.int64)
    listed = func.json_each(json.dumps(ids.tolist())).table_valued("value")
    condition: ColumnElement[bool] = column.in_(select(listed.c.value))
    return condition


def below(column: ColumnElement[bytes] | Any, place: bytes) -> ColumnElement[bool]:
    """The condition that a relative path is this place or lies in it; everything lies in b""."""
    if not place:
        return true()
    # As a range, because % and _ mean something to LIKE; "0" is what follows "/".
    inside = and_(column > place + b"/", column < place + b"0")
    return or_(column == place, inside)
