"""Queries that have a name stay as they were meant, and are written under the lock."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clipsearch.catalog import Catalog, QuickCatalog
from clipsearch.errors import LibraryLocked, NoLibrary, QueryError
from clipsearch.indexer.lock import write_lock
from clipsearch.library import Library
from clipsearch.probes import ImageProbe, Query, TextProbe, VectorProbe, parse
from tests.conftest import Paint


@pytest.fixture
def filled(library: Library, photos: Path, paint: Paint) -> Library:
    paint("red.png")
    library.index(photos)
    return library


def texts(library: Library) -> dict[str, str]:
    return {each.name: each.text for each in library.saved_queries()}


def test_a_query_is_saved_listed_replaced_and_removed(filled: Library) -> None:
    assert filled.saved_queries() == []
    filled.save_query("beach", "2:sand + sea - people")
    filled.save_query("a.B-c_1", Query((TextProbe("a dog"),)))
    assert texts(filled) == {"a.B-c_1": "a dog", "beach": "2:sand + sea - people"}
    filled.save_query("beach", "sea")
    assert texts(filled)["beach"] == "sea"
    (saved,) = (each for each in filled.saved_queries() if each.name == "beach")
    assert saved.created is not None and datetime.fromisoformat(saved.created).tzinfo is not None
    filled.remove_query("beach")
    assert list(texts(filled)) == ["a.B-c_1"]


def test_what_is_saved_is_what_was_meant(filled: Library) -> None:
    asked = parse('"sand + sea" - 0.5:people')
    filled.save_query("beach", asked)
    assert parse(texts(filled)["beach"]) == asked


def test_a_picture_is_remembered_wherever_one_stands(
    filled: Library, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(photos)
    filled.save_query("red", ["./red.png", "+", "dark"])
    filled.save_query("home", Path("~/x y.png"))
    found = {name: parse(text).probes[0] for name, text in texts(filled).items()}
    assert found["red"] == ImageProbe(photos / "red.png")
    assert found["home"] == ImageProbe(Path.home() / "x y.png")


@pytest.mark.parametrize("name", ["", "@beach", "a b", "-a", "é", "a/b", "a\n", "x" * 65])
def test_a_name_is_of_plain_letters(filled: Library, name: str) -> None:
    for attempt in (lambda: filled.save_query(name, "sea"), lambda: filled.remove_query(name)):
        with pytest.raises(QueryError, match="name for a query"):
            attempt()


@pytest.mark.parametrize(
    "query",
    [np.ones(4), Image.new("RGB", (2, 2)), Query((TextProbe("sea"), VectorProbe(np.ones(4))))],
    ids=["vector", "picture", "part"],
)
def test_what_cannot_be_written_down_is_refused(filled: Library, query: object) -> None:
    with pytest.raises(QueryError, match="in memory cannot be saved"):
        filled.save_query("beach", query)
    assert filled.saved_queries() == []


def test_what_is_no_query_or_not_there_is_said(filled: Library, tmp_path: Path) -> None:
    with pytest.raises(QueryError):
        filled.save_query("beach", "sea +")
    with pytest.raises(QueryError, match="no query is saved as 'beach'"):
        filled.remove_query("beach")
    with Library(tmp_path / "other") as nothing, pytest.raises(NoLibrary):
        nothing.save_query("beach", "sea")


def test_a_query_that_would_lead_back_to_itself_does_not_replace_another(filled: Library) -> None:
    filled.save_query("beach", "sea")
    filled.save_query("evening", "@beach + night")
    for asked in ("@beach - people", "@evening", "red - @beach"):
        with pytest.raises(QueryError, match=r"cannot be saved as @beach: .* leads back to itself"):
            filled.save_query("beach", asked)
    assert texts(filled) == {"beach": "sea", "evening": "@beach + night"}


def test_a_path_that_is_not_utf8_cannot_be_saved(filled: Library) -> None:
    for asked in (Path("caf\udce9.jpg"), "dog in:./caf\udce9"):
        with pytest.raises(QueryError, match="not valid UTF-8"):
            filled.save_query("beach", asked)
    assert filled.saved_queries() == []


def test_it_waits_its_turn_like_every_writer(filled: Library) -> None:
    with write_lock(filled.path):
        for attempt in (
            lambda: filled.save_query("beach", "sea"),
            lambda: filled.remove_query("beach"),
        ):
            with pytest.raises(LibraryLocked):
                attempt()
        assert filled.saved_queries() == []


def test_a_backup_holds_them_and_a_damaged_library_keeps_them(
    filled: Library, tmp_path: Path
) -> None:
    filled.save_query("beach", "sea")
    filled.backup(tmp_path / "copy.sqlite3")
    with Catalog.open(tmp_path / "copy.sqlite3") as copy:
        assert copy.saved_query("beach") == "sea" and copy.saved_query("other") is None
    assert filled.check().findings == ()
    filled.repair()
    assert texts(filled) == {"beach": "sea"}


def test_the_quick_catalog_knows_them(filled: Library) -> None:
    filled.save_query("beach", "sea")
    quick = QuickCatalog.open(filled.path / "catalog.sqlite3")
    assert quick is not None
    with quick.snapshot() as state:
        assert (state.saved_query("beach"), state.saved_query("x")) == ("sea", None)
    quick.close()


def test_a_catalog_that_is_made_anew_keeps_them(filled: Library) -> None:
    filled.save_query("beach", "sea")
    filled.close()
    with closing(sqlite3.connect(filled.path / "catalog.sqlite3")) as connection, connection:
        connection.execute("DELETE FROM alembic_version")
    assert "new catalog" in filled.repair().actions[0]
    assert texts(filled) == {"beach": "sea"}
