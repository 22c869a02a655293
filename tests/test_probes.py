"""The query language: every construct, every mistake, and that queries can be read back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipsearch.errors import QueryError
from clipsearch.probes import ImageProbe, Query, TextProbe, VectorProbe, parse


def test_words_are_one_probe() -> None:
    assert parse("a dog on a beach").probes == (TextProbe("a dog on a beach"),)


def test_the_words_of_a_command_line_belong_together() -> None:
    assert parse(["a", "dog"]) == parse("a dog")


@pytest.mark.parametrize(
    "path", ["./cat.jpg", "../cat.jpg", "/photos/cat.jpg", "~/cat.jpg", "./cat", "./new york.jpg"]
)
def test_a_path_is_known_by_how_it_begins(path: str) -> None:
    assert parse(path).probes == (ImageProbe(Path(path)),)


@pytest.mark.parametrize("name", ["cat.jpg", "cat.JPEG", "trips/cat.webp"])
def test_a_bare_name_is_a_picture_if_it_ends_like_one(name: str) -> None:
    assert parse(name).probes == (ImageProbe(Path(name)),)


@pytest.mark.parametrize(
    "words", ["a t-shirt", "black-and-white", "16:9 screen", "1+1", "rock & roll"]
)
def test_what_only_looks_like_an_operator_is_words(words: str) -> None:
    assert parse(words).probes == (TextProbe(words),)


def test_plus_and_minus_join_probes() -> None:
    expected = (TextProbe("horse"), TextProbe("stripes"), TextProbe("grass", -1.0))
    assert parse("horse + stripes - grass").probes == expected
    assert parse(["horse", "+", "stripes", "-", "grass"]).probes == expected


def test_words_and_pictures_mix_with_weights() -> None:
    expected = (TextProbe("golden retriever", 2.0), ImageProbe(Path("pool.jpg"), -0.5))
    assert parse(["2:golden retriever", "-", "0.5:./pool.jpg"]).probes == expected
    assert parse('2:"golden retriever" - 0.5:./pool.jpg').probes == expected


def test_quotes_keep_operators_from_counting() -> None:
    assert parse('"rock + roll" - jazz').probes == (TextProbe("rock + roll"), TextProbe("jazz", -1))


def test_a_file_name_with_an_operator_in_it_stays_whole() -> None:
    assert parse("./Miles - So What.jpg").probes == (ImageProbe(Path("Miles - So What.jpg")),)
    assert len(parse("./a.jpg - ./b.jpg").probes) == 2


@pytest.mark.parametrize("nothing", ["", "   ", [], ["", " "]])
def test_an_empty_query_is_refused(nothing: str | list[str]) -> None:
    with pytest.raises(QueryError, match="empty"):
        parse(nothing)


@pytest.mark.parametrize(
    ("text", "column", "words"),
    [
        ("a +", 2, "nothing follows"),
        ("a + - b", 4, "another operator"),
        ('say "hi', 4, "no partner"),
        ("a + 0:b", 4, "weight 0"),
        ("1e9:a", 0, "weight 1e9"),
        ("-2:a", 0, "weight -2"),
        ("a + 2:", 4, "no words"),
        (["./a.jpg", "./b.jpg"], 8, "between"),
    ],
)
def test_a_mistake_is_pointed_at(text: str | list[str], column: int, words: str) -> None:
    with pytest.raises(QueryError, match=words) as caught:
        parse(text)
    assert caught.value.column == column


def test_a_query_must_want_something() -> None:
    with pytest.raises(QueryError, match="only says what not"):
        parse("- winter")


@pytest.mark.parametrize("weight", [0.0, float("nan"), float("inf"), 1e9])
def test_weights_that_make_no_sense_are_refused(weight: float) -> None:
    with pytest.raises(QueryError, match="weight"):
        Query((TextProbe("a", weight),))


def test_words_that_are_no_unicode_are_refused() -> None:
    with pytest.raises(QueryError, match="UTF-8"):
        parse("caf\udce9")


def test_a_path_with_a_nul_is_refused() -> None:
    with pytest.raises(QueryError, match="NUL"):
        parse("./a\0b.jpg")


def test_a_query_names_its_vectors() -> None:
    query = Query((TextProbe("a"), VectorProbe(np.ones(2, dtype=np.float32), -2.0)))
    assert query.text == "a - 2:<vector>"


@given(st.lists(st.text(alphabet='ab1.:/~+-" é\n', max_size=12), max_size=4))
def test_whatever_is_typed_is_a_query_or_a_clear_error(arguments: list[str]) -> None:
    try:
        query = parse(arguments)
    except QueryError as error:
        assert str(error)
        return
    assert parse(query.text) == query


@given(st.text())
def test_any_text_at_all_is_a_query_or_a_clear_error(text: str) -> None:
    try:
        assert parse(text).probes
    except QueryError as error:
        assert str(error)
