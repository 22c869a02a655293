"""Names that no one should give to a file go through every command and come out byte for byte."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from clipsearch.cli import render
from tests.cli.conftest import Outcome, Run
from tests.conftest import Paint

TEXTS = [
    *("é", "e\u0301", "\u202egpj.evil", "שלום", "مرحبا", "👩\u200d👧", "a\u200bb", "\u2028"),
    *("\ufeffbom", "\u00a0", "\u0085", "ﬁ", "İ", "ß", "a b", " lead", "trail ", "two\nlines"),
    *("tab\there", "\x1b[31mred\x1b[0m", "\x1b]0;title\x07", "\r", "\x01", "\x7f", "'", '"'),
    *("\\", "\\n", "-rf", "--yes", "-0", "%", "_", "100%_", "*", "?", "[a]", "{b}", "$HOME"),
    *("`id`", "$(id)", ";", "|", "&", "<b>&amp;", "<script>", "~", "~root", "#", "!", "=", "+"),
    *("2:", "@", ":", "a..b", "犬"),
]
BYTES = [
    b"caf\xe9",
    b"\xff\xfe",
    b"\xc3(",
    b"\xed\xa0\x80",
    b"\xf4\x90\x80\x80",
    b"L" * 251,
    b"\x80",
]
NAMES = [*(text.encode() + b".png" for text in TEXTS), *(each + b".png" for each in BYTES)]


@pytest.fixture
def odd(run: Run, paint: Paint, photos: Path, tiny_model: Path) -> Path:
    """A library of pictures with odd names, as many that are no pictures, and a probe outside."""
    assert len(NAMES) == len(set(NAMES)) == 64
    content = paint("../probe.png").read_bytes()
    for folder, data in ((b"good\xff\n", content), (b"bad", b"no picture")):
        place = os.path.join(os.fsencode(photos), folder)
        os.mkdir(place)
        for name in NAMES:
            try:
                with open(os.path.join(place, name), "wb") as file:
                    file.write(data)
            except OSError:
                if sys.platform == "linux":
                    raise
                pytest.skip("this file system does not take every name")
    library = photos.with_name("library")
    done = run("index", photos, "-L", library, "--model", tiny_model, "--json")
    assert (done.code, done.json["added"], len(done.json["skipped"])) == (3, 64, 64)
    assert raw(done.json["skipped"]) == paths(photos, b"bad")
    return library


def paths(photos: Path, folder: bytes) -> set[bytes]:
    return {os.path.join(os.fsencode(photos), folder, name) for name in NAMES}


def raw(entries: list[dict[str, Any]]) -> set[bytes]:
    """The paths of JSON entries as the bytes that they stand for."""
    return {
        base64.b64decode(entry["path_bytes_base64"])
        if "path_bytes_base64" in entry
        else entry["path"].encode()
        for entry in entries
    }


def clipsearch(*arguments: object) -> Outcome:
    """A process of its own, whose arguments are bytes."""
    command = [sys.executable, "-m", "clipsearch", *map(os.fsencode, map(str, arguments))]
    done = subprocess.run(command, capture_output=True, check=False)
    return Outcome(done.returncode, done.stdout, done.stderr.decode())


def test_queries_give_every_name_as_it_is(run: Run, odd: Path, photos: Path) -> None:
    asked = ("query", photos.with_name("probe.png"), "--all", "-k", 100, "-L", odd)
    exact = run(*asked, "-0").out
    assert set(exact.removesuffix(b"\0").split(b"\0")) == paths(photos, b"good\xff\n")
    assert raw(run(*asked, "--json").json["hits"]) == paths(photos, b"good\xff\n")


def test_errors_give_every_name_as_it_is(run: Run, odd: Path, photos: Path) -> None:
    found = run("errors", "-L", odd, "--json").json["errors"]
    assert raw(found) == paths(photos, b"bad")
    assert all("\n" not in each["reason"] and "\x1b" not in each["reason"] for each in found)


def test_a_second_run_finds_every_file_unchanged(run: Run, odd: Path, photos: Path) -> None:
    done = run("index", photos, "-L", odd, "--json")
    assert (done.json["unchanged"], len(done.json["skipped"])) == (64, 64)


def test_every_name_can_be_forgotten(run: Run, odd: Path, photos: Path) -> None:
    for folder in (b"good\xff\n", b"bad"):
        given = [os.fsdecode(path) for path in paths(photos, folder)]
        assert run("forget", *given, "-L", odd, "--json").json == {
            "forgotten": 64,
            "not_found": [],
        }
    assert run("status", "-L", odd, "--json").json["folders"] == []


@pytest.mark.usefixtures("capfdbinary")
def test_a_terminal_is_shown_nothing_that_it_would_obey(
    run: Run, odd: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(render, "on_terminal", lambda: True)
    outputs = [
        run("query", photos.with_name("probe.png"), "--all", "-k", 100, "-L", odd),
        run("query", photos.with_name("probe.png"), "-k", 100, "-L", odd, "--paths"),
        run("errors", "-L", odd),
        run("index", photos, "-L", odd),
        run("forget", os.fsdecode(b"/no\x1b[31m\xff\nwhere"), "-L", odd),
    ]
    for shown in outputs:
        text = shown.out.decode() + shown.err
        assert all(c.isprintable() or c == "\n" for c in text)
    assert "/no\\x1b[31m\\xff\\nwhere" in outputs[-1].err


def test_a_sheet_escapes_every_name(run: Run, odd: Path, photos: Path, tmp_path: Path) -> None:
    sheet = tmp_path / "sheet.html"
    asked = ("query", photos.with_name("probe.png"), "--all", "-k", 100, "-L", odd)
    assert run(*asked, "--sheet", sheet).code == 0
    page = sheet.read_text(encoding="utf-8")
    assert "<script>" not in page and "<b>" not in page and "\x1b" not in page
    assert "\u202e" not in page and "&lt;script&gt;.png" in page


def test_arguments_that_are_no_text_are_paths_all_the_same(odd: Path, photos: Path) -> None:
    path = photos / os.fsdecode(b"good\xff\n") / os.fsdecode(b"caf\xe9.png")
    found = clipsearch("query", path, "--all", "-L", odd, "-k", 100, "-0")
    assert found.code == 0
    others = paths(photos, b"good\xff\n") - {os.fsencode(path)}
    assert set(found.out.removesuffix(b"\0").split(b"\0")) == others
    assert clipsearch("forget", path, "-L", odd).code == 0
    again = clipsearch("forget", path, "-L", odd)
    assert again.code == 1 and "caf\\xe9.png" in again.err
    refused = clipsearch("index", path.parent / "none", "-L", odd)
    assert refused.code == 2 and "good\\xff\\n/none" in refused.err


def test_words_that_are_no_text_are_one_sentence_or_an_answer(run: Run, odd: Path) -> None:
    done = run("query", os.fsdecode(b"a d\xffg"), "-L", odd, "--json")
    assert done.code in (0, 2) and done.err.count("\n") <= 1
