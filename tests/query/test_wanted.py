"""Options that make no sense are refused, whatever type they are of."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from clipsearch.errors import QueryError
from clipsearch.query.wanted import Wanted


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"filter": "type:jpg"}, 'a query has no option "filter": choose of k, exact, filters,'),
        ({"limit": 5}, 'no option "limit"'),
        ({"sort": "size"}, "choose of score, date, path"),
        ({"min_score": "0.3"}, "a score of at least 0.3 cannot be had: give a number"),
        ({"min_score": float("nan")}, "at least nan cannot be had"),
        ({"min_score": float("-inf")}, "at least -inf cannot be had"),
        ({"offset": -1}, "at least 0"),
        ({"offset": 1.5}, "a whole number"),
    ],
)
def test_an_option_that_makes_no_sense_is_refused(options: Any, said: str) -> None:
    with pytest.raises(QueryError, match=said):
        Wanted.of(10, options)


@pytest.mark.parametrize("score", [0, 1, 0.3, -2.5, np.float32(0.3), 10**400])
def test_any_number_is_a_least_score(score: float) -> None:
    assert Wanted.of(10, {"min_score": score}).min_score == score
