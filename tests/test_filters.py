"""Filters: what they take, how they are joined, and what they say about nonsense."""

from __future__ import annotations

import pytest

from clipsearch.errors import QueryError
from clipsearch.filters import KEYS, Filter, Near, completed, filter_of, is_place
from clipsearch.parsing import read_filters


def test_an_empty_filter_asks_nothing() -> None:
    assert not Filter()
    assert Filter(shape="square")


@pytest.mark.parametrize(
    ("given", "moment"),
    [
        ("2023", "2023-01-01T00:00:00"),
        ("2023-06", "2023-06-01T00:00:00"),
        ("2023-06-05", "2023-06-05T00:00:00"),
        ("2023-06-05T12:30", "2023-06-05T12:30:00"),
        ("2024-02-29 12:30:59", "2024-02-29T12:30:59"),
    ],
)
def test_a_moment_is_completed_to_its_beginning(given: str, moment: str) -> None:
    assert completed(given) == moment
    assert completed(moment) == moment


@pytest.mark.parametrize(
    "given",
    [
        *("", "23", "2023-6", "2023-00", "2023-13", "2023-02-29", "2023-06-05T", "2023-06-05T12"),
        *("2023-06-05T12:60", "0000", "june", "2023-06-05T12:30Z", "٢٠٢٣", "\ud800"),
    ],
)
def test_what_is_no_moment_is_refused(given: str) -> None:
    with pytest.raises(QueryError, match="is no date: write it as"):
        completed(given)


def test_the_values_of_a_filter_are_tidied() -> None:
    tidied = Filter(
        folders=("trips/", "/mnt//"), types=("JPG", "jpeg"), cameras=(" X  100 ",), after="2023"
    )
    assert tidied.folders == ("trips", "/mnt")
    assert tidied.types == ("jpeg",)
    assert tidied.cameras == ("X 100",)
    assert tidied.after == "2023-01-01T00:00:00"
    assert Filter(folders="trips") == Filter(folders=("trips",))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("key", "text", "expected"),
    [
        ("year", "2023", Filter(after="2023", before="2024")),
        ("in", "trips/2023", Filter(folders=("trips/2023",))),
        ("is", "Portrait", Filter(shape="portrait")),
        ("near", " 52.5, -13.4, .5km ", Filter(near=Near(52.5, -13.4, 0.5))),
    ],
)
def test_an_option_means_what_its_word_means(key: str, text: str, expected: Filter) -> None:
    assert filter_of(key, text) == expected


def test_an_option_that_there_is_not_is_named() -> None:
    with pytest.raises(QueryError, match='"colour" is no filter: choose of in, after'):
        filter_of("colour", "red")


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("text", ["", " ", "\0", "\ud800", "x" * 5000 + "..", "9" * 5000])
def test_no_value_at_all_reaches_a_traceback(key: str, text: str) -> None:
    try:
        filter_of(key, text)
    except QueryError as error:
        assert len(str(error)) < 300
        assert len(str(error).splitlines()) == 1


def test_dates_that_are_joined_meet() -> None:
    joined = Filter(after="2023").joined(Filter(after="2022", before="2023-06"))
    assert joined == Filter(after="2023", before="2023-06")


def test_of_joined_folders_any_will_do_and_sizes_are_the_larger() -> None:
    first = Filter(folders=("a",), types=("png",), min_width=10)
    second = Filter(folders=("b", "a"), min_width=20, min_height=5, near=Near(1, 2, 3))
    assert first.joined(second) == Filter(
        folders=("a", "b"), types=("png",), min_width=20, min_height=5, near=Near(1, 2, 3)
    )


@pytest.mark.parametrize(
    ("one", "other", "words"),
    [
        (Filter(after="2024"), Filter(before="2024"), "after 2024-01-01 and before 2024-01-01"),
        (Filter(shape="square"), Filter(shape="portrait"), "both square and portrait"),
        (Filter(near=Near(1, 2, 3)), Filter(near=Near(1, 2, 4)), "near one place only"),
    ],
)
def test_filters_that_nothing_can_fulfil_are_refused(
    one: Filter, other: Filter, words: str
) -> None:
    with pytest.raises(QueryError, match=words):
        one.joined(other)
    assert one.joined(one) == one.joined(Filter()) == one


def test_places_are_made_absolute_and_names_are_not() -> None:
    folders = ("trips", "./trips", "~/trips", "..", "/mnt")
    placed = Filter(folders=folders, min_width=7).placed(lambda folder: f"/here/{folder}")
    assert placed.folders == ("trips", *(f"/here/{each}" for each in folders[1:]))
    assert placed.min_width == 7
    assert not is_place("trips/2023")


def test_a_text_of_filters_is_one_filter() -> None:
    assert read_filters('year:2023 in:"my trips"') == Filter(
        folders=("my trips",), after="2023", before="2024"
    )
    assert read_filters("  ") == Filter()


@pytest.mark.parametrize("text", ["dog", "year:2023 dog", "in:a + in:b", "template:{}", "year:x"])
def test_a_text_of_filters_holds_nothing_else(text: str) -> None:
    with pytest.raises(QueryError, match=r"^column \d+: "):
        read_filters(text)
