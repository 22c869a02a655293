"""Each filter option means what its word means in the query itself."""

from __future__ import annotations

from typing import Any

import pytest

from clipsearch.cli.filter_options import given_filter
from clipsearch.errors import QueryError
from clipsearch.filters import Filter
from clipsearch.probes import parse

NONE: dict[str, Any] = {
    **dict.fromkeys(("folders", "cameras", "lenses", "types"), ()),
    **dict.fromkeys(("after", "before", "year", "min_width", "min_height", "near")),
    **dict.fromkeys(("landscape", "portrait"), False),
}


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"folders": ["trips", "2023/june"]}, "in:trips in:2023/june"),
        ({"after": "2023-06", "before": "2024"}, "after:2023-06 before:2024"),
        ({"year": "2023"}, "year:2023"),
        ({"cameras": ["X100"], "lenses": ["35mm f/2"]}, 'camera:X100 lens:"35mm f/2"'),
        ({"types": ["jpg", "png"]}, "type:jpg type:png"),
        ({"min_width": "1920", "min_height": "1080"}, "min-width:1920 min-height:1080"),
        ({"landscape": True}, "is:landscape"),
        ({"portrait": True}, "is:portrait"),
        ({"near": "52.5,-13.4,10"}, "near:52.5,-13.4,10"),
    ],
)
def test_options_and_words_mean_the_same(parameters: dict[str, Any], words: str) -> None:
    assert given_filter(NONE | parameters) == parse(f"dog {words}").filters


def test_no_options_ask_nothing() -> None:
    assert given_filter(NONE) == Filter()


def test_an_error_names_the_option() -> None:
    with pytest.raises(QueryError, match=r"^--min-width: "):
        given_filter(NONE | {"min_width": "wide"})
