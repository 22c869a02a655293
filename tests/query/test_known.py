"""What a library knows of a query: saved queries, images by id, the pictures that it shows."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from clipsearch.errors import QueryError
from clipsearch.filters import Filter
from clipsearch.library import Library
from clipsearch.probes import ImageProbe, Query, SavedProbe, TextProbe, parse
from clipsearch.query.known import MAX_DEPTH, expanded
from tests.conftest import Paint

SAVED = {
    "beach": "sand + sea in:trips",
    "summer": "@beach + sun year:2023",
    "round": "@round + x",
    "there": "@back",
    "back": "@there",
    "broken": "2:",
    "winter": "snow year:2024",
    **{f"n{n}": f"@n{n + 1}" for n in range(2 * MAX_DEPTH)},
    **{f"wide{n}": f"@wide{n + 1} + @wide{n + 1}" for n in range(MAX_DEPTH - 1)},
    f"wide{MAX_DEPTH - 1}": "x",
}


def meant(text: str) -> Query:
    return expanded(parse(text), SAVED.get)


def test_a_saved_query_gets_its_meaning_and_brings_its_filters() -> None:
    query = meant("@beach + night type:png")
    first = query.probes[0]
    assert isinstance(first, SavedProbe) and first.meaning == parse("sand + sea in:trips")
    assert query.filters == Filter(folders=("trips",), types=("png",))


def test_saved_queries_may_lie_in_one_another() -> None:
    query = meant("@summer")
    assert query.filters == Filter(folders=("trips",), after="2023", before="2024")


def test_an_expanded_query_still_spells_the_names() -> None:
    assert meant("@beach + night").text == "@beach + night in:trips"


def test_the_filters_of_what_is_not_wanted_stay_behind() -> None:
    assert not meant("night - @beach").filters


def test_places_of_a_saved_query_are_absolute() -> None:
    query = expanded(parse("@here"), {"here": "a in:./trips in:~/b"}.get)
    assert query.filters.folders == (os.path.abspath("trips"), str(Path.home() / "b"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("@nobody", "no saved query @nobody"),
        ("@round", "leads back to itself .@round → @round."),
        ("@there", "@there → @back → @there"),
        ("@n0", f"more than {MAX_DEPTH} saved queries"),
        ("@broken", "@broken cannot be used: column 1"),
        ("@summer + @winter", "the filters of @winter do not fit"),
    ],
)
def test_a_saved_query_that_cannot_be_used_says_why(text: str, words: str) -> None:
    with pytest.raises(QueryError, match=words):
        meant(text)


def test_a_name_is_read_once_however_often_it_occurs() -> None:
    read: list[str] = []

    def saved(name: str) -> str | None:
        read.append(name)
        return SAVED.get(name)

    expanded(parse("@wide0"), saved)
    assert read == [f"wide{n}" for n in range(MAX_DEPTH)]


@pytest.fixture
def painted(library: Library, paint: Paint, photos: Path) -> Library:
    for colour in ("red", "green", "blue", "yellow"):
        paint(f"{colour}.png", colour)
    (photos / "torn.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    library.index(photos)
    return library


def id_of(library: Library, colour: str) -> int:
    return library.query(colour, k=1)[0].image_id


def test_an_image_by_its_id_finds_its_like_but_not_itself(painted: Library) -> None:
    red = id_of(painted, "red")
    hits = painted.query(f"#{red}", k=10)
    assert len(hits) == 3 and hits[0].path.name == "yellow.png"
    assert red not in {hit.image_id for hit in hits}


def test_images_by_id_weigh_like_any_probe(painted: Library) -> None:
    asked = f"green + #{id_of(painted, 'red')} - #{id_of(painted, 'blue')}"
    assert painted.query(asked, k=1)[0].path.name == "yellow.png"


def test_an_id_that_nothing_has_is_told(painted: Library) -> None:
    with pytest.raises(QueryError, match="no image #4711 in the library"):
        painted.query("red + #4711")


def test_an_image_that_could_not_be_read_cannot_be_looked_for(painted: Library) -> None:
    known = {id_of(painted, colour) for colour in ("red", "green", "blue", "yellow")}
    torn = next(number for number in range(1, 6) if number not in known)
    with pytest.raises(QueryError, match=f"#{torn} has no vector"):
        painted.query(f"#{torn}")


def test_a_name_that_nobody_saved_is_told(painted: Library) -> None:
    with pytest.raises(QueryError, match="no saved query @beach"):
        painted.query("@beach")


def test_pictures_and_ids_are_both_left_out(painted: Library, photos: Path) -> None:
    query = Query((ImageProbe(photos / "red.png"), TextProbe("blue")))
    names = {hit.path.name for hit in painted.query([query, f"#{id_of(painted, 'blue')}"])}
    assert names == {"green.png", "yellow.png"}
