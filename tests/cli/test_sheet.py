"""The contact sheet: everything inside, everything escaped."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from clipsearch.cli.sheet import (
    SheetHit,
    SheetQuery,
    check_place,
    save_sheet,
    sheet_html,
    sheet_png,
    write_sheet,
)
from clipsearch.errors import ClipsearchError
from clipsearch.query.hits import Hit
from clipsearch.query.page import thumbnail_or_none

HOSTILE = "<img src=x onerror=alert(1)>\"'&"


class Tags(HTMLParser):
    """Collects the tags of a page and the places that they point at."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.targets: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.targets += [value or "" for name, value in attributes if name in ("src", "href")]


def page_of(name: str = "a.jpg", title: str = "a dog", thumbnail: bytes | None = b"jpeg") -> str:
    hit = SheetHit(Path("/photos", name), 0.25, thumbnail, caption=name)
    return sheet_html(title, title, [SheetQuery(title, (hit,), picture=b"probe")])


def test_hostile_names_and_queries_stay_text() -> None:
    plain, hostile = Tags(page_of()), Tags(page_of(name=HOSTILE, title=HOSTILE))
    assert hostile.tags == plain.tags
    assert HOSTILE not in page_of(name=HOSTILE, title=HOSTILE)


def test_pictures_are_inside_the_page() -> None:
    targets = Tags(page_of()).targets
    assert len(targets) == 2
    assert all(target.startswith("data:image/jpeg;base64,") for target in targets)


def test_the_page_shows_query_score_and_name() -> None:
    page = page_of(name="beach.jpg", title="a red apple")
    assert "a red apple" in page
    assert "0.250" in page
    assert "beach.jpg" in page


def test_the_whole_path_can_be_looked_up() -> None:
    assert 'title="/photos/beach.jpg"' in page_of(name="beach.jpg")


def test_a_vanished_picture_is_named_and_not_shown() -> None:
    assert "not readable now" in page_of(thumbnail=None)


def test_a_query_without_hits_says_so() -> None:
    assert "nothing found" in sheet_html("t", "", [SheetQuery("unicorn", ())])


def test_hits_below_zero_still_make_a_page() -> None:
    page = sheet_html("t", "", [SheetQuery("x", (SheetHit(Path("a.jpg"), -0.2, None),))])
    assert "-0.200" in page
    assert "width:0%" in page


def test_thumbnails_come_from_the_files(tmp_path: Path) -> None:
    Image.new("RGB", (400, 300), "red").save(tmp_path / "red.png")
    made = thumbnail_or_none(tmp_path / "red.png", 256)
    assert made is not None
    assert made.startswith(b"\xff\xd8")
    assert thumbnail_or_none(tmp_path / "gone.png", 256) is None


def test_a_sheet_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ClipsearchError, match="cannot be written"):
        save_sheet(tmp_path / "no-such-folder" / "sheet.html", b"page")


def test_names_that_are_not_utf8_can_be_written(tmp_path: Path) -> None:
    save_sheet(tmp_path / "sheet.html", page_of(name="caf\udce9.jpg").encode())
    assert "caf\\xe9.jpg" in (tmp_path / "sheet.html").read_text(encoding="utf-8")


def test_the_confidence_stands_beside_the_score() -> None:
    hit = SheetHit(Path("a.jpg"), 0.25, None, confidence=0.931)
    assert "0.250 \u00b7 93%" in sheet_html("t", "", [SheetQuery("x", (hit,))])


def test_the_ending_says_whether_it_is_a_page_or_a_picture(tmp_path: Path) -> None:
    hits = [Hit(1, tmp_path / "caf\udce9\x1b.jpg", 0.3)]
    for name in ("a.html", "a.png", "b.PNG"):
        write_sheet(tmp_path / name, "t", "", [SheetQuery.of("caf\udce9\x1b", hits)])
    assert (tmp_path / "a.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    for name in ("a.png", "b.PNG"):
        with Image.open(tmp_path / name) as sheet:
            assert sheet.format == "PNG"


def test_a_picture_of_too_many_hits_names_the_page_instead() -> None:
    hits = (SheetHit(Path("a.jpg"), 0.1, None),) * 1001
    with pytest.raises(ClipsearchError, match=r"1,001 hits are too many .* \.html"):
        sheet_png([SheetQuery("x", hits)])


def test_a_sheet_without_a_folder_is_refused_before_the_search(tmp_path: Path) -> None:
    check_place(tmp_path / "a.html")
    with pytest.raises(ClipsearchError, match="there is no folder"):
        check_place(tmp_path / "none" / "a.html")


@pytest.mark.parametrize("name", ["a.html", "a.png"])
def test_a_sheet_replaces_older_sheets_and_nothing_else(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    file.touch()
    for title in ("first", "second"):
        write_sheet(file, title, "", [SheetQuery(title, ())])
    assert file.read_bytes() != b""
    Image.new("RGB", (2, 2)).save(file, "PNG")
    photo = file.read_bytes()
    for attempt in (check_place, lambda file: write_sheet(file, "t", "", [])):
        with pytest.raises(ClipsearchError, match="something else has that name"):
            attempt(file)
    assert file.read_bytes() == photo
