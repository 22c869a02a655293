"""Hits: a list that knows its query, and touches no file until it is drawn."""

from __future__ import annotations

import builtins
import json
import os
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from clipsearch.errors import MissingExtra
from clipsearch.probes import parse
from clipsearch.query.hits import Hit, Hits
from clipsearch.query.page import MAX_TILES
from tests.conftest import Paint

GONE = Path("/gone/a b.jpg")
HOSTILE = Path(os.fsdecode(b'/gone/"><script>alert(1)</script>\x1b[31m\n\xff.jpg'))


def hits(*paths: Path) -> Hits:
    found = [Hit(number, path, 0.5 - number / 10, 0.9) for number, path in enumerate(paths)]
    return Hits(found, parse("a dog"), ("a note",))


class Page(HTMLParser):
    """The tags and the sources of pictures of a page, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.sources: list[str] = []
        self.words = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.sources += [value or "" for name, value in attributes if name == "src"]

    def handle_data(self, data: str) -> None:
        self.words += data


def test_hits_are_a_list_that_knows_what_was_asked() -> None:
    found = hits(GONE, HOSTILE)
    assert isinstance(found, list) and len(found) == 2
    assert found.query is not None and found.query.text == "a dog"
    assert found.notes == ("a note",)
    assert Hits() == [] and Hits().query is None


def test_paths_and_scores_come_in_order() -> None:
    found = hits(GONE, HOSTILE)
    assert found.paths == [GONE, HOSTILE]
    assert found.scores == [0.5, 0.4]


def test_a_slice_is_hits_too_and_one_hit_is_a_hit() -> None:
    found = hits(GONE, HOSTILE, GONE)
    assert type(found[1:]) is Hits and found[1:].paths == [HOSTILE, GONE]
    assert (found[:2].query, found[::-1].notes) == (found.query, found.notes)
    assert found[0] == Hit(0, GONE, 0.5, 0.9) and found[-1].image_id == 2


def test_dictionaries_have_stable_keys_and_can_be_json() -> None:
    plain, odd = hits(GONE, HOSTILE).to_dicts()
    assert plain == {"image_id": 0, "path": str(GONE), "score": 0.5, "confidence": 0.9}
    assert set(odd) == {*plain, "path_bytes_base64"}
    assert json.loads(json.dumps([plain, odd])) == [plain, odd]
    assert Hits([Hit(1, GONE, 0.1)]).to_dicts()[0]["confidence"] is None


@pytest.mark.parametrize("found", [hits(GONE, HOSTILE), Hits(), Hits([Hit(1, GONE, 0.5)])])
def test_a_data_frame_has_the_same_columns_whatever_was_found(found: Hits) -> None:
    pytest.importorskip("pandas")
    table = found.to_pandas()
    assert [*table.columns] == ["image_id", "path", "score", "confidence"]
    assert [str(kind) for kind in table.dtypes.drop("path")] == ["int64", "float64", "float64"]
    assert [*table.path] == [str(path) for path in found.paths]


def test_without_pandas_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingExtra, match=r"pip install 'clipsearch\[pandas\]'"):
        hits(GONE).to_pandas()


def test_nothing_but_drawing_touches_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    def touched(*_: object, **__: object) -> None:
        raise AssertionError("a file was touched")

    found = hits(GONE)
    for owner, name in ((os, "stat"), (os, "lstat"), (os, "open"), (builtins, "open")):
        monkeypatch.setattr(owner, name, touched)
    assert [hit.path for hit in found] == found.paths == [GONE]
    assert repr(found) and found[:1].to_dicts() and found == found[:]


def test_a_notebook_shows_the_pictures_inside_the_page(paint: Paint) -> None:
    page = Page(hits(paint("red.png"))._repr_html_())
    assert len(page.sources) == 1 and page.sources[0].startswith("data:image/jpeg;base64,")
    assert all(word in page.words for word in ("a dog", "a note", "0.500", "90%", "red.png"))


def test_a_vanished_picture_is_shown_by_its_name() -> None:
    page = Page(hits(GONE)._repr_html_())
    assert page.sources == [] and "a b.jpg" in page.words


def test_whatever_a_name_or_a_query_holds_stays_text() -> None:
    hostile = Hits(hits(HOSTILE), parse('"<script>alert(2)</script>"'), ("<b>",))
    page = hostile._repr_html_()
    assert Page(page).tags == Page(hits(GONE)._repr_html_()).tags
    assert page.isprintable() and page.encode()


def test_no_hits_are_drawn_as_words() -> None:
    assert "nothing found" in Hits((), parse("a dog"))._repr_html_()


def test_a_notebook_draws_the_first_of_very_many(paint: Paint) -> None:
    picture = paint("red.png")
    page = Page(hits(*[picture] * (MAX_TILES + 1))._repr_html_())
    assert len(page.sources) == MAX_TILES
    assert "and 1 more" in page.words
