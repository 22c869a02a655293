"""What a query finds: hits, best first, that know what was asked.

Knows nothing of searching. Files are touched only when hits are drawn as a page.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, SupportsIndex, overload

from clipsearch.errors import MissingExtra
from clipsearch.paths import path_fields

if TYPE_CHECKING:
    import pandas

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

    def to_dict(self) -> dict[str, object]:
        """The fields of `clipsearch query --json`, as values that have a JSON form.

        A path that is not UTF-8 has its bytes beside it, as `path_bytes_base64`.
        """
        confidence = None if self.confidence is None else round(self.confidence, 4)
        return {
            "image_id": self.image_id,
            **path_fields(self.path),
            "score": round(self.score, 6),
            "confidence": confidence,
        }


class Hits(list[Hit]):
    """A list of hits. `query` is what was asked; `notes` what its asker should know about it.

    A notebook draws it with its pictures. A slice is Hits too, and knows the same.
    """

    def __init__(
        self, hits: Iterable[Hit] = (), query: Query | None = None, notes: tuple[str, ...] = ()
    ) -> None:
        super().__init__(hits)
        self.query = query
        self.notes = notes

    @overload
    def __getitem__(self, place: SupportsIndex, /) -> Hit: ...
    @overload
    def __getitem__(self, place: slice, /) -> Hits: ...
    def __getitem__(self, place: SupportsIndex | slice, /) -> Hit | Hits:
        if isinstance(place, slice):
            return Hits(super().__getitem__(place), self.query, self.notes)
        return super().__getitem__(place)

    @property
    def paths(self) -> list[Path]:
        """Where the pictures were when they were indexed."""
        return [hit.path for hit in self]

    @property
    def scores(self) -> list[float]:
        """The cosines, in the order of the hits."""
        return [hit.score for hit in self]

    def to_dicts(self) -> list[dict[str, object]]:
        """One dictionary a hit, with the keys and values of `clipsearch query --json`."""
        return [hit.to_dict() for hit in self]

    def to_pandas(self) -> pandas.DataFrame:
        """A data frame with the columns image_id, path, score and confidence, a hit a row.

        Raises MissingExtra where pandas is not installed.
        """
        try:
            import pandas
        except ImportError:
            raise MissingExtra("pandas", "a table of hits") from None
        # Each kind is said, for when there are no hits or no confidence; a path is an object,
        # because pandas' own text takes no name that is not UTF-8.
        kinds = {"image_id": "int64", "path": "object", "score": "float64", "confidence": "float64"}
        columns: dict[str, list[Any]] = {
            "image_id": [hit.image_id for hit in self],
            "path": [str(hit.path) for hit in self],
            "score": self.scores,
            "confidence": [hit.confidence for hit in self],
        }
        series = {name: pandas.Series(columns[name], dtype=kind) for name, kind in kinds.items()}
        return pandas.DataFrame(series)

    def _repr_html_(self) -> str:
        from clipsearch.query.page import hits_html

        return hits_html(self)


def score_cells(score: float, confidence: float | None) -> tuple[str, ...]:
    """The score, and the confidence where there is one, as people read them."""
    return (f"{score:.3f}",) if confidence is None else (f"{score:.3f}", f"{confidence:.0%}")
