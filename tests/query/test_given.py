"""What a Python caller gives → a query, with the options joined to it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from clipsearch.errors import QueryError
from clipsearch.filters import Filter
from clipsearch.probes import (
    ImageProbe,
    IndexedProbe,
    Query,
    TextProbe,
    UrlProbe,
    VectorProbe,
    parse,
)
from clipsearch.query.given import as_query
from clipsearch.query.vector import image_vector
from clipsearch.query.wanted import QueryOptions
from tests.fakes import ColourEncoder


def query(given: Any, **options: Any) -> Query:
    encoder = ColourEncoder()
    return as_query(given, lambda image: image_vector(image, encoder), QueryOptions(**options))  # type: ignore[typeddict-item]


@pytest.mark.parametrize(
    ("given", "probes"),
    [
        ("a dog", (TextProbe("a dog"),)),
        (["a", "dog"], (TextProbe("a dog"),)),
        (Path("x"), (ImageProbe(Path("x")),)),
        (["a dog", Path("x.jpg")], (TextProbe("a dog"), ImageProbe(Path("x.jpg")))),
        (["horse - grass", IndexedProbe(3)], (*parse("horse - grass").probes, IndexedProbe(3))),
        ([parse("a"), parse("2:b")], (TextProbe("a"), TextProbe("b", 2.0))),
        (UrlProbe("https://h/a", 2), (UrlProbe("https://h/a", 2),)),
    ],
)
def test_whatever_can_be_looked_for_becomes_probes(given: Any, probes: tuple[Any, ...]) -> None:
    assert query(given).probes == probes


def test_vectors_and_pictures_in_memory_are_vectors() -> None:
    given, painted = query([np.ones(4), Image.new("RGB", (4, 4), "red")]).probes
    assert isinstance(given, VectorProbe) and isinstance(painted, VectorProbe)
    np.testing.assert_allclose(painted.vector, ColourEncoder().encode_texts(["red"])[0], atol=1e-6)


def test_filters_and_templates_of_all_parts_are_joined() -> None:
    given = query(["a in:trips", Path("x.jpg"), Query((TextProbe("b"),), templates=("{} c",))])
    assert given.filters == Filter(folders=("trips",))
    assert given.templates == ("{} c",)


@pytest.mark.parametrize("filters", ["year:2023", Filter(after="2023", before="2024")])
def test_filters_by_name_join_those_in_the_text(filters: str | Filter) -> None:
    assert query("a in:trips", filters=filters) == parse("a in:trips year:2023")


@pytest.mark.parametrize("templates", ["a photo of {}", ["a photo of {}"]])
def test_templates_by_name_join_those_in_the_text(templates: Any) -> None:
    assert query('a template:"my {}"', templates=templates).templates == ("my {}", "a photo of {}")


def test_places_become_absolute_and_names_stay() -> None:
    given = query("a in:trips in:./trips in:..", filters="in:~/x")
    assert given.filters.folders == (
        "trips",
        os.path.abspath("trips"),
        os.path.abspath(".."),
        str(Path.home() / "x"),
    )


@pytest.mark.parametrize(
    ("given", "options", "words"),
    [
        (7, {}, "a int cannot be looked for"),
        (None, {}, "a NoneType cannot be looked for"),
        ([], {}, "the query is empty"),
        ([1.0, 2.0], {}, "a float cannot be looked for"),
        (b"a dog", {}, "cannot be looked for"),
        ("a", {"filters": 7}, "a int is no filter"),
        ("a", {"filters": "dog"}, "is no filter, such as year:2023"),
        ("a year:2023", {"filters": "year:2024"}, "no picture was taken both"),
        ("a", {"templates": ["a photo"]}, "has no {} for the words"),
        ("in:trips", {"filters": "year:2023"}, "only filters"),
    ],
)
def test_what_makes_no_sense_is_told(given: Any, options: dict[str, Any], words: str) -> None:
    with pytest.raises(QueryError, match=words):
        query(given, **options)


@pytest.mark.parametrize("templates", [5, [5], None, b"a {}"])
def test_templates_that_are_no_sentences_are_refused(templates: object) -> None:
    with pytest.raises(QueryError, match="templates are sentences"):
        query("dog", templates=templates)
