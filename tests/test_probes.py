"""The query language: every construct, every mistake, and that queries can be read back."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipsearch.errors import QueryError
from clipsearch.filters import KEYS, Filter, Near
from clipsearch.probes import (
    ImageProbe,
    IndexedProbe,
    Query,
    SavedProbe,
    TextProbe,
    UrlProbe,
    VectorProbe,
    checked_name,
    parse,
)


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
    "words", ["a t-shirt", "black-and-white", "16:9 screen", "1+1", "rock & roll", "at -5"]
)
def test_what_only_looks_like_an_operator_is_words(words: str) -> None:
    assert parse(words).probes == (TextProbe(words),)


def test_a_minus_at_a_word_is_words_where_they_are_quoted_or_a_path() -> None:
    assert parse('"a dog -cat"').probes == (TextProbe("a dog -cat"),)
    assert parse("./a dog -cat").probes == (ImageProbe(Path("./a dog -cat")),)
    assert parse(Query((TextProbe("a dog -cat"),)).text).probes == (TextProbe("a dog -cat"),)


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
        ("a dog -cat", 6, "a space behind the minus"),
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


@pytest.mark.parametrize(
    "url", ["https://host/cat.jpg", "HTTP://host:80/a?b=c+d&e=f", "http://ü/ä"]
)
def test_an_address_on_the_web_is_a_picture(url: str) -> None:
    assert parse(url).probes == (UrlProbe(url),)
    assert parse(f'2:"{url}" + night').probes == (UrlProbe(url, 2.0), TextProbe("night"))


def test_a_number_is_an_image_of_the_library_and_a_name_a_saved_query() -> None:
    assert parse("2:#123 - #4").probes == (IndexedProbe(123, 2.0), IndexedProbe(4, -1.0))
    assert parse("@beach + night").probes == (SavedProbe("beach"), TextProbe("night"))


@pytest.mark.parametrize("words", ["we are #1", "meet @ noon", '"#1"', '"@home"', '"year:2023"'])
def test_what_only_looks_like_an_id_or_a_name_is_words(words: str) -> None:
    assert parse(words).probes == (TextProbe(words.replace('"', "")),)


@pytest.mark.parametrize(
    "words",
    ["16:9", "note: buy milk", "std::map", "a 2:1 ratio", "see me:)", "10am:meeting", "c:x"],
)
def test_a_colon_makes_no_filter_of_ordinary_text(words: str) -> None:
    assert parse(words) == Query((TextProbe(words),))


def test_filters_stand_anywhere_among_the_words() -> None:
    query = parse("year:2023 horse + stripes in:trips")
    assert query.probes == (TextProbe("horse"), TextProbe("stripes"))
    assert query.filters == Filter(folders=("trips",), after="2023", before="2024")
    assert parse("a IN:trips dog").probes == (TextProbe("a dog"),)


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("in:trips/2023/", Filter(folders=("trips/2023",))),
        ('in:"my trips"', Filter(folders=("my trips",))),
        ("in:./trips", Filter(folders=("./trips",))),
        ("after:2023-06", Filter(after="2023-06-01T00:00:00")),
        ("before:2023-06-01T12:30", Filter(before="2023-06-01T12:30:00")),
        ('camera:"Canon EOS"', Filter(cameras=("Canon EOS",))),
        ("lens:50mm", Filter(lenses=("50mm",))),
        ("type:jpg type:.PNG", Filter(types=("jpeg", "png"))),
        ("min-width:800 min-height:600", Filter(min_width=800, min_height=600)),
        ("is:landscape", Filter(shape="landscape")),
        ("near:52.5,-13.4,10", Filter(near=Near(52.5, -13.4, 10))),
    ],
)
def test_every_filter_has_a_word(word: str, expected: Filter) -> None:
    assert parse(f"dog {word}") == Query((TextProbe("dog"),), expected)


def test_a_value_keeps_its_spaces_where_a_shell_has_taken_the_quotation_marks() -> None:
    assert parse(["dog", "in:my trips"]).filters == Filter(folders=("my trips",))
    assert parse(["a dog", "template:a photo of a {}"]).templates == ("a photo of a {}",)
    assert parse(["in:trips a dog", "+", "night year:2023"]).filters.after is not None


def test_templates_are_sentences_with_a_place_for_the_words() -> None:
    query = parse('a dog template:"a photo of {}" template:"a ""drawing"" of {}"')
    assert query.probes == (TextProbe("a dog"),)
    assert query.templates == ("a photo of {}", 'a "drawing" of {}')


def test_control_characters_are_spaces_and_control_tokens_are_words() -> None:
    assert parse("a\x00dog\x1b[2J").probes == (TextProbe("a dog [2J"),)
    assert parse("<|endoftext|> dog").probes == (TextProbe("<|endoftext|> dog"),)


@pytest.mark.parametrize(
    ("text", "column", "words"),
    [
        ("dog colour:red", 4, "no filter: there are in, after"),
        ("dog year:23", 4, '"23" is no year'),
        ("dog after:2023-13", 4, '"2023-13" is no date'),
        ("dog before:2023-02-30", 4, "is no date"),
        ("dog type:jgp", 4, "choose of jpeg, png"),
        ("dog in:", 4, "no value"),
        ("dog in: trips", 4, "no value"),
        ('dog in:""', 4, "no value"),
        ("dog in:a/../b", 4, "is no folder"),
        ("dog is:round", 4, "choose of landscape"),
        ("dog min-width:wide", 4, "is no number of pixels"),
        ("dog near:52,13", 4, "is no place"),
        ("dog near:91,0,1", 4, "latitude 91"),
        ("dog near:0,0,0", 4, "distance 0"),
        ("dog year:2023 year:2024", 14, "after 2024-01-01 and before 2024-01-01"),
        ("dog is:square is:portrait", 14, "both square and portrait"),
        ("dog + in:trips", 4, "only a filter follows"),
        ("dog -in:trips", 4, "cannot be taken away"),
        ("2:in:trips dog", 2, "has no weight"),
        ("dog template:photo", 4, "has no {}"),
        ("@beach night", 0, 'after "@beach"'),
        ("night ./a.jpg", 6, 'before "./a.jpg"'),
        ("a + #0", 4, "counted from #1"),
        ("a + #" + 5000 * "9", 4, "no image's id"),
        ("a + @-", 4, "no name for a query"),
        ("a + ftp://host/a.jpg", 4, "nothing that can be fetched"),
        ("a + https://", 4, "no address"),
        ("dog \udce9", 0, "UTF-8"),
        ("a + ./\ud800.jpg", 4, "cannot be that of a file"),
    ],
)
def test_a_slip_is_explained_where_it_is(text: str, column: int, words: str) -> None:
    with pytest.raises(QueryError, match=words) as caught:
        parse(text)
    assert caught.value.column == column
    assert str(caught.value).startswith(f"column {column + 1}: ")


def test_a_query_that_only_filters_is_refused() -> None:
    with pytest.raises(QueryError, match="only filters"):
        parse("year:2023 in:trips")


@pytest.mark.parametrize("name", ["beach", "a", "2023-summer_1.b", "x" * 64])
def test_a_simple_name_will_do_for_a_query(name: str) -> None:
    assert checked_name(name) == name


@pytest.mark.parametrize("name", ["", "-x", ".x", "a b", "a/b", "é", "a\n", "x" * 65, "\ud800"])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(QueryError, match="no name for a query"):
        checked_name(name)


@pytest.mark.parametrize(
    ("query", "text"),
    [
        (Query((TextProbe("a - b"), TextProbe("2", -0.5))), '"a - b" - 0.5:"2"'),
        (Query((TextProbe("./a.jpg"),)), '"" "./a.jpg"'),
        (Query((TextProbe('say "hi"'),)), '"say ""hi"""'),
        (Query((ImageProbe(Path("./new york.jpg")),)), '"./new york.jpg"'),
        (Query((ImageProbe(Path("a")), ImageProbe(Path("b.jpg")))), '"./a" + b.jpg'),
        (
            Query((SavedProbe("x", 2),), Filter(after="2023-05-01T12:00")),
            "2:@x after:2023-05-01T12:00",
        ),
        (Query((IndexedProbe(1),), Filter(after="2023", before="2024")), "#1 year:2023"),
        (Query((TextProbe("a"),), templates=("an {}",)), 'a template:"an {}"'),
    ],
)
def test_a_query_is_spelled_in_its_own_language(query: Query, text: str) -> None:
    assert query.text == text
    assert parse(text) == query


ROOT = Path(__file__).resolve().parents[1]
ASKING = (ROOT / "README.md").read_text("utf-8").split("## Asking\n")[1].split("\n## ")[0]
FIRST_CELLS = re.findall(r"^\| `(.+?)` \| ", ASKING, re.MULTILINE)


@pytest.mark.parametrize("text", FIRST_CELLS)
def test_the_readme_describes_the_language_as_it_is(text: str) -> None:
    is_filter = re.match(f"(?:{'|'.join(KEYS)}):", text) is not None
    query = parse(f"a dog {text}" if is_filter else text)
    assert bool(query.filters) is (":" in text and ("in:" in text or is_filter))
    assert parse(query.text) == query


def test_the_readme_describes_every_filter() -> None:
    assert {key for key in KEYS if f"`{key}:" in ASKING} == set(KEYS)


def test_reading_words_loads_nothing_for_the_web() -> None:
    program = (
        "import sys; from clipsearch.probes import parse\n"
        "parse('a dog + https://host/a.jpg in:trips').text\n"
        "assert not {'urllib.request', 'http.client', 'PIL', 'sqlalchemy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT)


TRICKY = st.sampled_from(
    [
        "+",
        "-",
        '"',
        '""',
        "2:",
        "1e9:",
        "#1",
        "@b",
        "./x",
        "./a b.jpg",
        "cat.jpg",
        "https://h/a",
        "//",
    ]
    + ["".join(pair) for key in (*KEYS, "template") for pair in ((key, ":"), (key, ":1,2,3"))]
    + ["in:a", 'in:"a b"', "year:2023", "is:square", 'template:"a {}"', ":", "x:y", "\0", "\n", " "]
)


@given(st.lists(st.one_of(TRICKY, st.text(max_size=4)), max_size=8), st.sampled_from(["", " "]))
def test_whatever_is_typed_is_a_query_that_reads_back_or_a_clear_error(
    pieces: list[str], between: str
) -> None:
    for given_text in (between.join(pieces), pieces):
        try:
            query = parse(given_text)
        except QueryError as error:
            assert str(error) and len(str(error).splitlines()) == 1
            continue
        assert parse(query.text) == query


def words_or_none(words: str) -> TextProbe | None:
    try:
        return TextProbe(words)
    except QueryError:
        return None


WEIGHTS = st.floats(-1000, 1000).filter(bool)
WORDS = st.one_of(TRICKY, st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
SOME_WORDS = WORDS.filter(lambda words: bool(words_or_none(words)))


PROBES = st.one_of(
    st.builds(TextProbe, SOME_WORDS, WEIGHTS),
    st.builds(ImageProbe, WORDS.filter(lambda path: "\0" not in path).map(Path), WEIGHTS),
    st.builds(IndexedProbe, st.integers(1, 2**63 - 1), WEIGHTS),
    st.builds(UrlProbe, st.just("https://h/a?b=c+d"), WEIGHTS),
    st.builds(SavedProbe, st.just("b.x"), WEIGHTS),
)
FILTERS = st.builds(
    Filter,
    folders=st.lists(st.sampled_from(["a", "A b/c", './"x"', "~/y", "/z", "é"])).map(tuple),
    after=st.sampled_from([None, "2023", "2023-05-06T12:13:14"]),
    before=st.sampled_from([None, "2024", "2025-01", "9999-12-31"]),
    cameras=st.lists(SOME_WORDS, max_size=2).map(tuple),
    types=st.lists(st.sampled_from(["jpg", "png"])).map(tuple),
    min_width=st.integers(0, 999_999_999),
    shape=st.sampled_from([None, "square"]),
    near=st.none()
    | st.builds(Near, st.floats(-90, 90), st.floats(-180, 180), st.floats(1e-9, 1e9)),
)


@given(
    st.lists(PROBES, min_size=1, max_size=4).filter(lambda all_: any(p.weight > 0 for p in all_)),
    FILTERS,
    st.lists(SOME_WORDS.map(lambda words: words + "{}"), max_size=2).map(tuple),
)
def test_every_query_reads_back_from_its_text(
    probes: list[TextProbe], filters: Filter, templates: tuple[str, ...]
) -> None:
    query = Query(tuple(probes), filters, templates)
    assert parse(query.text) == query


@given(st.text())
def test_any_text_at_all_is_a_query_or_a_clear_error(text: str) -> None:
    try:
        assert parse(text).probes
    except QueryError as error:
        assert str(error)
