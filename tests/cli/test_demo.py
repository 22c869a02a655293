"""`clipsearch demo`, here with a small collection and a model that knows nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from clipsearch.cli import demo
from tests.cli.conftest import Run

COLOURS = ("red", "green", "blue", "white", "black", "yellow", "pink")


@pytest.fixture
def collection(
    monkeypatch: pytest.MonkeyPatch, paint: Callable[..., Path], photos: Path, tiny_model: Path
) -> Path:
    for number, colour in enumerate(COLOURS):
        paint(f"{number}.jpg", colour)
    pictures = {
        f"{number}.jpg": {"caption": f"a {colour} sheet"} for number, colour in enumerate(COLOURS)
    }
    (photos / "captions.json").write_text(json.dumps({"pictures": pictures}))
    monkeypatch.setattr(demo, "FOLDERS", (photos,))
    monkeypatch.setattr(demo, "MODEL", str(tiny_model))
    return photos


def test_the_demo_shows_each_query_with_hits_scores_and_what_was_drawn(
    run: Run, collection: Path, tmp_path: Path
) -> None:
    shown = run("demo", "-L", tmp_path / "library", "--sheet", tmp_path / "sheet.html")
    assert shown.code == 0
    text = shown.out.decode()
    assert all(words in text for words in (*demo.QUERIES, "like 0.jpg", "a red sheet"))
    assert text.count(".jpg  a ") == (len(demo.QUERIES) + 1) * demo.N_HITS
    assert str(tmp_path / "sheet.html") in text


def test_the_page_holds_every_picture_shown(run: Run, collection: Path, tmp_path: Path) -> None:
    shown = run("demo", "-L", tmp_path / "library", "--sheet", tmp_path / "s.html", "--json").json
    n_hits = sum(len(query["hits"]) for query in shown["queries"])
    page = (tmp_path / "s.html").read_text(encoding="utf-8")
    assert len(shown["queries"]) == 6
    assert page.count("data:image/jpeg;base64,") == n_hits + 1  # and the probe


def test_a_second_run_encodes_nothing_again(run: Run, collection: Path, tmp_path: Path) -> None:
    demo_of = ("demo", "-L", tmp_path / "library", "--sheet", tmp_path / "s.html")
    first = run(*demo_of)
    again = run("index", collection, "-L", tmp_path / "library", "--json")
    assert again.json["unchanged"] == len(COLOURS)
    assert run(*demo_of).out == first.out


def test_without_library_it_keeps_one_in_the_cache(
    run: Run, collection: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLIPSEARCH_CACHE", str(tmp_path / "cache"))
    assert run("demo", "--sheet", tmp_path / "s.html").code == 0
    assert len(list((tmp_path / "cache").glob("demo-*"))) == 1


def test_an_installation_without_the_pictures_says_so(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(demo, "FOLDERS", (tmp_path / "gone",))
    refused = run("demo", "--sheet", tmp_path / "s.html")
    assert (refused.code, refused.out, refused.err.count("\n")) == (2, b"", 1)
