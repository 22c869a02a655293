"""A few vectors from all over a catalog, the same ones for as long as it stays as it is.

In: whatever executes a statement. Out: a VectorSample. Says nothing of damage: what is not sound is
passed over, because others do as well.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from clipsearch.catalog import blobs
from clipsearch.catalog.records import VectorSample
from clipsearch.vectors import distinct, widened

Execute = Callable[[str, Mapping[str, Any]], Iterable[Sequence[Any]]]

_SPAN = """SELECT
    (SELECT min(vector_id) FROM vectors WHERE model_id = :model),
    (SELECT max(vector_id) FROM vectors WHERE model_id = :model)"""
# The next one that there is: ids have gaps where pictures were encoded again or forgotten.
_FROM_HERE = """SELECT vector, crc32 FROM vectors CROSS JOIN images USING (image_id)
    WHERE vector_id IN (
        SELECT (SELECT min(vector_id) FROM vectors WHERE model_id = :model AND vector_id >= value)
        FROM json_each(:ids))
    AND state = 'present' ORDER BY vector_id"""

# In this order, because it is asked where few are present, and as many rows would be read.
_PRESENT = """SELECT vector_id FROM images CROSS JOIN vectors USING (image_id)
    WHERE model_id = :model AND state = 'present'"""


def vector_sample(execute: Execute, model_id: int, dimension: int, size: int) -> VectorSample:
    """Vectors of up to `size` present images, all of them where there are no more."""
    ((first, last),) = execute(_SPAN, {"model": model_id})
    if first is None:
        return VectorSample(np.empty((0, dimension), dtype=np.float32), 0)
    n_ids = last - first + 1
    rows = _rows(execute, model_id, _spread(first, last, min(size, n_ids)))
    if n_ids > size and len(rows) < size // 2:  # gaps, or what is missing, are most of it
        present = sorted(row[0] for row in execute(_PRESENT, {"model": model_id}))
        n_ids = len(present)
        places = _spread(0, n_ids - 1, min(size, n_ids))
        rows = _rows(execute, model_id, [present[place] for place in places])
    stored = [row[0] for row in rows]
    flaws = blobs.flaws(stored, [row[1] for row in rows], dimension)
    sound = [vector for position, vector in enumerate(stored) if position not in flaws]
    vectors = widened(blobs.unpack(sound, dimension))
    return VectorSample(vectors, n_ids if n_ids > size else len(sound))


def _spread(first: int, last: int, n: int) -> list[int]:
    """About n whole numbers from first to last, at even distances."""
    return [int(each) for each in distinct(np.linspace(first, last, n).astype(np.int64))]


def _rows(execute: Execute, model_id: int, ids: list[int]) -> list[Sequence[Any]]:
    return list(execute(_FROM_HERE, {"model": model_id, "ids": json.dumps(ids)}))
