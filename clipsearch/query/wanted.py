"""How an answer is wanted: how many hits, from which on, in what order, how good at least.

In: what a caller gives by name. Out: a Wanted, checked.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypedDict, get_args

import numpy as np

from clipsearch.errors import QueryError
from clipsearch.filters import Filter

Order = Literal["score", "date", "path"]


class QueryOptions(TypedDict, total=False):
    """What `Library.query` takes by name, each with a default.

    `exact`: every vector is looked at, also where an approximate index would be faster.
    `filters`: a Filter, or its words (`year:2023 in:trips`), which all hits fulfil; joined with
    those in the query itself. `templates`: sentences with {} for the words of a probe, whose
    vectors are averaged. `offset`: so many of the best hits are passed over. `sort`: the order of
    the k hits, which are the best k in any order. `min_score`: a cosine that a hit has at least.
    `only_matches`: only hits that stand out, see `query/cutoff.py`.
    """

    exact: bool
    filters: Filter | str
    templates: Sequence[str]
    offset: int
    sort: Order
    min_score: float | None
    only_matches: bool


@dataclass(frozen=True)
class Wanted:
    """The options that say which of the hits are shown, and how."""

    k: int = 10
    exact: bool = False
    offset: int = 0
    sort: Order = "score"
    min_score: float | None = None
    only_matches: bool = False

    @classmethod
    def of(cls, k: int, options: QueryOptions) -> Wanted:
        """Raises QueryError for what makes no sense."""
        # A slip such as filter= must not widen the answer unseen.
        unknown = sorted(options.keys() - QueryOptions.__annotations__.keys())
        if unknown:
            known = ", ".join(QueryOptions.__annotations__)
            raise QueryError(f'a query has no option "{unknown[0]}": choose of k, {known}')
        chosen = cls(
            k=whole(k, 1, "hits"),
            exact=options.get("exact", False),
            offset=whole(options.get("offset", 0), 0, "hits to pass over"),
            sort=options.get("sort", "score"),
            min_score=options.get("min_score"),
            only_matches=options.get("only_matches", False),
        )
        if chosen.sort not in get_args(Order):
            orders = ", ".join(get_args(Order))
            raise QueryError(f"hits cannot be sorted by {chosen.sort!r}: choose of {orders}")
        if chosen.min_score is not None and not _is_number(chosen.min_score):
            raise QueryError(f"a score of at least {chosen.min_score} cannot be had: give a number")
        return chosen


def _is_number(given: Any) -> bool:
    is_real = isinstance(given, int | float | np.integer | np.floating)
    return is_real and bool(abs(given) < math.inf)


def whole(number: object, least: int, what: str) -> int:
    """A whole number that is large enough. Raises QueryError."""
    is_whole = isinstance(number, int | np.integer) and not isinstance(number, bool)
    if not is_whole or number < least:  # type: ignore[operator]
        raise QueryError(
            f"{number} {what} cannot be had: ask for a whole number of at least {least}"
        )
    return int(number)  # type: ignore[call-overload, no-any-return]
