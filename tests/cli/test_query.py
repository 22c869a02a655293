"""`clipsearch query`: its outputs for people, pipes and programs, and how it refuses."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from clipsearch.probes import parse
from tests.cli.conftest import Run
from tests.clip.servers import serving

Paint = Callable[..., Path]
ROOT = Path(__file__).resolve().parents[2]


def test_json_has_the_promised_keys(run: Run, indexed: Path, tiny_model: Path) -> None:
    found = run("query", "a", "dog", "--all", "-L", indexed, "--json")
    assert found.code == 0
    assert found.json.keys() == {"query", "model", "hits"}
    assert (found.json["query"], found.json["model"]) == ("a dog", str(tiny_model))
    keys = {"image_id", "path", "score", "confidence"}
    assert all(hit.keys() == keys for hit in found.json["hits"])


def test_hits_come_best_first_and_are_cosines(run: Run, indexed: Path) -> None:
    scores = [
        hit["score"] for hit in run("query", "dog", "--all", "-L", indexed, "--json").json["hits"]
    ]
    assert len(scores) == 3
    assert scores == sorted(scores, reverse=True)
    assert all(-1 <= score <= 1 for score in scores)


def test_k_limits_the_hits(run: Run, indexed: Path) -> None:
    assert run("query", "dog", "--all", "-k", 2, "-L", indexed).out.count(b"\n") == 2


def test_a_pipe_gets_score_tab_path(run: Run, indexed: Path, photos: Path) -> None:
    lines = run("query", "dog", "--all", "-L", indexed).out.decode().splitlines()
    scores, paths = zip(*(line.split("\t") for line in lines), strict=True)
    assert all(float(score) <= 1 for score in scores)
    assert set(paths) == {str(photos / f"{name}.png") for name in ("red", "green", "blue")}


def test_a_picture_is_left_out_of_its_own_hits(
    run: Run, indexed: Path, photos: Path, paint: Paint
) -> None:
    paint("red again.png", "red", size=(40, 30))
    run("index", photos, "-L", indexed)
    hits = run("query", photos / "red.png", "--all", "-L", indexed, "--json").json["hits"]
    assert len(hits) == 3
    assert hits[0]["path"] == str(photos / "red again.png")
    assert hits[0]["score"] > 0.99


def test_names_that_are_not_utf8_survive_nul_and_json(
    run: Run, indexed: Path, photos: Path, paint: Paint
) -> None:
    odd = os.fsencode(photos) + b"/caf\xe9\n.png"
    os.rename(paint("odd.png", "white"), odd)
    run("index", photos, "-L", indexed)
    assert odd in run("query", "dog", "--all", "-0", "-L", indexed).out.split(b"\0")
    hits = run("query", "dog", "--all", "-L", indexed, "--json").json["hits"]
    (coded,) = (hit["path_bytes_base64"] for hit in hits if "path_bytes_base64" in hit)
    assert base64.b64decode(coded) == odd


def test_paths_are_one_on_a_line(run: Run, indexed: Path, photos: Path) -> None:
    lines = run("query", "dog", "--paths", "--all", "-L", indexed).out.decode().splitlines()
    assert all(Path(line).parent == photos for line in lines)


def test_the_sheet_shows_the_hits(run: Run, indexed: Path, tmp_path: Path) -> None:
    found = run("query", "dog", "--all", "-L", indexed, "--sheet", tmp_path / "dogs.html")
    page = (tmp_path / "dogs.html").read_text(encoding="utf-8")
    assert page.count("data:image/jpeg;base64,") == 3
    assert str(tmp_path / "dogs.html") in found.err


def test_the_sheet_of_a_picture_shows_that_picture_too(
    run: Run, indexed: Path, photos: Path, tmp_path: Path
) -> None:
    run("query", photos / "red.png", "--all", "-L", indexed, "--sheet", tmp_path / "like.html")
    page = (tmp_path / "like.html").read_text(encoding="utf-8")
    assert page.count("data:image/jpeg;base64,") == 3  # the probe and the two others
    assert "like red.png" in page


def test_a_sheet_in_no_folder_is_an_error(run: Run, indexed: Path, tmp_path: Path) -> None:
    refused = run("query", "dog", "--all", "-L", indexed, "--sheet", tmp_path / "no" / "dogs.html")
    assert refused.code == 2
    assert "cannot be written" in refused.err


def test_probes_can_be_joined(run: Run, indexed: Path, photos: Path) -> None:
    found = run(
        "query", "dog", "+", photos / "red.png", "-", "2:cat", "--all", "-L", indexed, "--json"
    )
    assert found.code == 0
    assert str(photos / "red.png") not in {hit["path"] for hit in found.json["hits"]}


@pytest.mark.parametrize(
    "arguments", [["dog", "- cat"], ["dog - cat"], ["dog", "-", "cat"], ["--all", "dog", "- cat"]]
)
def test_a_minus_works_in_quotation_marks_and_without(
    run: Run, indexed: Path, arguments: list[str]
) -> None:
    found = run("query", "--all", "--json", "-L", indexed, *arguments)
    assert found.json["query"] == "dog - cat" and found.code == 0


def test_the_value_of_an_option_may_begin_with_a_minus(run: Run, indexed: Path) -> None:
    found = run("query", "dog", "--template", "- {}", "--all", "--json", "-L", indexed)
    assert found.json["query"] == 'dog template:"- {}"'


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["dog", "-k", "0"], "-k 0"),
        (["dog", "-k", "-3"], "-k -3"),
        (["dog", "-k", "many"], '"many" is no whole number'),
        ([""], "empty"),
        (["  "], "empty"),
        (["./gone.jpg"], "gone.jpg"),
        (["- dog"], "only says what not to look for"),
        (["dog", "--camera", "Leica", "- dog + + cat"], "column 13"),
        (["dog", "--nonsense"], "--nonsense"),
        (["dog", "--offset", "-1"], "--offset -1"),
        (["dog", "--min-score", "30"], "--min-score 30 is no cosine"),
        (["dog", "--min-score", "high"], '"high" is no number'),
        (["dog", "--min-score", "nan"], "is no cosine"),
        (["dog", "--sort", "size"], "'size'"),
        (["dog", "--like", "many"], '"many" is no whole number'),
        (["dog", "--like", "0"], "#0"),
        (["dog", "--like", "-3"], "#-3"),
        (["dog", "--template", "no place"], "{}"),
        (["dog", "--save", "a/b"], "no name"),
        (["--save", "beach"], "PROBE"),
        (["dog", "--near", "91,0,1"], "--near: the latitude 91"),
        (["dog", "--near", "Berlin"], "--near: "),
        (["dog", "--year", "23"], "--year: "),
        (["dog", "--after", "2023-13"], "--after: "),
        (["dog", "--after", "2024", "--before", "2023"], "--before: "),
        (["dog", "--type", "txt"], "--type: "),
        (["dog", "--min-width", "0"], "--min-width: "),
        (["dog", "--in", ""], "--in"),
        (["dog", "--landscape", "--portrait"], "both landscape and portrait"),
        (["dog", "--sheet", "x.gif"], "must end in .html or .png"),
        (["dog", "--sheet", "none/x.png"], "no folder none"),
        (["dog", "--json", "--paths"], "--json and --paths"),
        (["dog", "--jsonl", "--preview", "-0"], "--jsonl and --preview and -0"),
        (["dog", "--copy-to"], '"-L" is an option, and no value'),
        (["dog", "--camera", "--all"], '"--all" is an option, and no value'),
        (["dog", "--copy-to", "/dev/null"], "/dev/null"),
        (["dog", "--link-to", "/dev/null/x"], "/dev/null is a file"),
        (["dog", "in:a", "--year"], "--year"),
        ([], "PROBE"),
    ],
)
def test_each_refusal_is_one_sentence_and_exit_2(
    run: Run, indexed: Path, arguments: list[str], said: str
) -> None:
    refused = run("query", *arguments, "-L", indexed)
    assert (refused.code, refused.out, refused.err.count("\n")) == (2, b"", 1)
    assert refused.err.startswith("clipsearch: ")
    assert said in refused.err


def test_lines_of_json_are_the_hits_of_the_object(run: Run, indexed: Path) -> None:
    asked = ("query", "dog", "--all", "-L", indexed)
    lines = run(*asked, "--jsonl").out.splitlines()
    assert [json.loads(line) for line in lines] == run(*asked, "--json").json["hits"]


def test_pages_follow_each_other(run: Run, indexed: Path) -> None:
    asked = ("query", "dog", "--all", "--paths", "-L", indexed)
    pages = [run(*asked, "-k", 1, "--offset", n).out for n in range(3)]
    assert b"".join(pages) == run(*asked).out
    assert run(*asked, "--offset", 3).code == 1


def test_a_score_is_asked_for_by_the_number(run: Run, indexed: Path) -> None:
    best, *_ = run("query", "dog", "--all", "-L", indexed, "--json").json["hits"]
    found = run("query", "dog", "-L", indexed, "--min-score", best["score"] - 1e-4, "--json")
    assert [hit["image_id"] for hit in found.json["hits"]] == [best["image_id"]]
    nothing = run("query", "dog", "-L", indexed, "--min-score", 0.999)
    assert (nothing.code, nothing.out) == (1, b"")


def test_where_nothing_is_shown_one_sentence_names_the_nearest(run: Run, indexed: Path) -> None:
    asked = ("query", "dog", "-L", indexed, "--min-score", 0.999)
    (best, *_) = run("query", "dog", "--all", "-L", indexed, "--json").json["hits"]
    shown = run(*asked).err
    assert (
        shown == f"nothing has so high a score; the nearest: {best['score']:.3f} {best['path']}\n"
    )
    assert "no hits after the first 50" in run(*asked, "--offset", 50).err


def test_a_picture_of_the_web_is_fetched_once_though_nothing_is_shown(
    run: Run, indexed: Path, photos: Path
) -> None:
    with serving() as server:
        server.content = (photos / "red.png").read_bytes()
        found = run("query", server.url, "--offset", "1000", "-L", indexed)
        assert (found.code, found.out) == (1, b"")
        assert len(server.requests) == 1


def test_copies_are_told_and_a_vanished_picture_ends_with_3(
    run: Run, indexed: Path, photos: Path, tmp_path: Path
) -> None:
    (photos / "red.png").unlink()
    done = run("query", "dog", "--all", "-L", indexed, "--copy-to", tmp_path / "c", "--paths")
    assert done.code == 3 and done.out.count(b"\n") == 3
    assert sorted(path.name for path in (tmp_path / "c").iterdir()) == ["blue.png", "green.png"]
    assert "not copied: red.png" in done.err
    assert f"copied 2 pictures to {tmp_path / 'c'}" in done.err


def test_links_lead_to_the_pictures(run: Run, indexed: Path, photos: Path, tmp_path: Path) -> None:
    assert run("query", "dog", "--all", "-L", indexed, "--link-to", tmp_path / "l").code == 0
    assert (tmp_path / "l" / "red.png").readlink() == photos / "red.png"


def test_a_png_sheet_has_the_pictures(run: Run, indexed: Path, tmp_path: Path) -> None:
    assert run("query", "dog", "--all", "-L", indexed, "--sheet", tmp_path / "s.png").code == 0
    with Image.open(tmp_path / "s.png") as sheet:
        colours = {colour for _, colour in sheet.getcolors(1 << 20) or ()}
    assert {(254, 0, 0), (0, 0, 254)} <= colours


def test_open_takes_the_sheet_if_there_is_one_and_else_the_best_hit(
    run: Run, indexed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    viewer = tmp_path / "xdg-open"
    viewer.write_text(f'#!/bin/sh\necho "$1" >> {tmp_path}/opened\n')
    viewer.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr("sys.platform", "linux")
    asked = ("query", "dog", "--all", "-L", indexed, "--open", "--paths")
    best = run(*asked).out.decode().splitlines()[0]
    run(*asked, "--sheet", tmp_path / "s.html")
    assert (tmp_path / "opened").read_text().splitlines() == [best, str(tmp_path / "s.html")]


def test_open_without_a_display_is_one_sentence(
    run: Run, indexed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    refused = run("query", "dog", "--all", "-L", indexed, "--open")
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert "--open needs a display" in refused.err


def test_options_become_part_of_the_query(run: Run, indexed: Path) -> None:
    options = ("--in", "trips", "--year", 2023, "--landscape", "--template", "a {}")
    asked = run("query", "dog", "type:png", *options, "-L", indexed, "--json").json["query"]
    words = parse(asked)
    assert words == parse('dog type:png in:trips year:2023 is:landscape template:"a {}"')


def test_a_place_on_the_disk_is_made_absolute(
    run: Run, indexed: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(photos.parent)
    for given in (("--in", "./photos/"), ("in:../photos",)):
        monkeypatch.chdir(photos if given[0] == "in:../photos" else photos.parent)
        asked = run("query", "dog", *given, "-L", indexed, "--json").json["query"]
        assert parse(asked).filters.folders == (str(photos),)


def test_who_reads_only_the_first_line_ends_it_quietly(indexed: Path) -> None:
    command = f"{sys.executable} -m clipsearch query dog --all --jsonl -L '{indexed}' | head -n 1"
    done = subprocess.run(
        ["bash", "-c", command], capture_output=True, cwd=ROOT, check=True, timeout=60
    )
    assert done.stdout.count(b"\n") == 1 and done.stderr == b""


def test_without_a_library_it_ends_with_10_and_makes_none(run: Run, tmp_path: Path) -> None:
    refused = run("query", "dog", "-L", tmp_path / "none")
    assert (refused.code, refused.out, refused.err.count("\n")) == (10, b"", 1)
    assert not (tmp_path / "none").exists()


def test_an_empty_library_finds_nothing_and_ends_with_1(
    run: Run, tmp_path: Path, photos: Path, tiny_model: Path
) -> None:
    library = tmp_path / "library"
    run("index", photos, "-L", library, "--model", tiny_model, "--yes")
    found = run("query", "dog", "-L", library, "--json")
    assert (found.code, found.json["hits"]) == (1, [])


def test_another_model_than_the_librarys_is_refused(run: Run, indexed: Path) -> None:
    refused = run("query", "dog", "--all", "-L", indexed, "--model", "ViT-B/32")
    assert (refused.code, refused.out, refused.err.count("\n")) == (2, b"", 1)
    assert "ViT-B/32" in refused.err
