"""What a query finds: hits, best first, that know what was asked.

Knows nothing of searching. Files that have vanished since are never touched.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from clipsearch.probes import Query


@dataclass(frozen=True)
class Hit:
    """One result. `score` is the cosine similarity, -1 to 1.

    `confidence`, 0 to 1, says how far it stands out among what the library holds, see
    `query/cutoff.py`; None where that was not asked.
    """

    image_id: int
    path: Path
    score: float
    confidence: float | None = None


class Hits(list[Hit]):
    """A list of hits. `query` is what was asked; `notes` what its asker should know about it."""

    def __init__(
        self, hits: Iterable[Hit] = (), query: Query | None = None, notes: tuple[str, ...] = ()
    ) -> None:
        super().__init__(hits)
        self.query = query
        self.notes = notes
