"""`clipsearch query`: its outputs for people, pipes and programs, and how it refuses."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Run

Paint = Callable[..., Path]


def test_json_has_the_promised_keys(run: Run, indexed: Path, tiny_model: Path) -> None:
    found = run("query", "a", "dog", "-L", indexed, "--json")
    assert found.code == 0
    assert found.json.keys() == {"query", "model", "hits"}
    assert (found.json["query"], found.json["model"]) == ("a dog", str(tiny_model))
    assert all(hit.keys() == {"image_id", "path", "score"} for hit in found.json["hits"])


def test_hits_come_best_first_and_are_cosines(run: Run, indexed: Path) -> None:
    scores = [hit["score"] for hit in run("query", "dog", "-L", indexed, "--json").json["hits"]]
    assert len(scores) == 3
    assert scores == sorted(scores, reverse=True)
    assert all(-1 <= score <= 1 for score in scores)


def test_k_limits_the_hits(run: Run, indexed: Path) -> None:
    assert run("query", "dog", "-k", 2, "-L", indexed).out.count(b"\n") == 2


def test_a_pipe_gets_score_tab_path(run: Run, indexed: Path, photos: Path) -> None:
    lines = run("query", "dog", "-L", indexed).out.decode().splitlines()
    scores, paths = zip(*(line.split("\t") for line in lines), strict=True)
    assert all(float(score) <= 1 for score in scores)
    assert set(paths) == {str(photos / f"{name}.png") for name in ("red", "green", "blue")}


def test_a_picture_is_left_out_of_its_own_hits(
    run: Run, indexed: Path, photos: Path, paint: Paint
) -> None:
    paint("red again.png", "red", size=(40, 30))
    run("index", photos, "-L", indexed)
    hits = run("query", photos / "red.png", "-L", indexed, "--json").json["hits"]
    assert len(hits) == 3
    assert hits[0]["path"] == str(photos / "red again.png")
    assert hits[0]["score"] > 0.99


def test_names_that_are_not_utf8_survive_nul_and_json(
    run: Run, indexed: Path, photos: Path, paint: Paint
) -> None:
    odd = os.fsencode(photos) + b"/caf\xe9\n.png"
    os.rename(paint("odd.png", "white"), odd)
    run("index", photos, "-L", indexed)
    assert odd in run("query", "dog", "-0", "-L", indexed).out.split(b"\0")
    hits = run("query", "dog", "-L", indexed, "--json").json["hits"]
    (coded,) = (hit["path_bytes_base64"] for hit in hits if "path_bytes_base64" in hit)
    assert base64.b64decode(coded) == odd


def test_paths_are_one_on_a_line(run: Run, indexed: Path, photos: Path) -> None:
    lines = run("query", "dog", "--paths", "-L", indexed).out.decode().splitlines()
    assert all(Path(line).parent == photos for line in lines)


def test_the_sheet_shows_the_hits(run: Run, indexed: Path, tmp_path: Path) -> None:
    found = run("query", "dog", "-L", indexed, "--sheet", tmp_path / "dogs.html")
    page = (tmp_path / "dogs.html").read_text(encoding="utf-8")
    assert page.count("data:image/jpeg;base64,") == 3
    assert str(tmp_path / "dogs.html") in found.err


def test_the_sheet_of_a_picture_shows_that_picture_too(
    run: Run, indexed: Path, photos: Path, tmp_path: Path
) -> None:
    run("query", photos / "red.png", "-L", indexed, "--sheet", tmp_path / "like.html")
    page = (tmp_path / "like.html").read_text(encoding="utf-8")
    assert page.count("data:image/jpeg;base64,") == 3  # the probe and the two others
    assert "like red.png" in page


def test_a_sheet_in_no_folder_is_an_error(run: Run, indexed: Path, tmp_path: Path) -> None:
    refused = run("query", "dog", "-L", indexed, "--sheet", tmp_path / "no" / "dogs.html")
    assert refused.code == 2
    assert "cannot be written" in refused.err


def test_probes_can_be_joined(run: Run, indexed: Path, photos: Path) -> None:
    found = run("query", "dog", "+", photos / "red.png", "-", "2:cat", "-L", indexed, "--json")
    assert found.code == 0
    assert str(photos / "red.png") not in {hit["path"] for hit in found.json["hits"]}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["dog", "-k", "0"], "-k 0"),
        (["dog", "-k", "-3"], "-k -3"),
        (["dog", "-k", "many"], '"many" is no whole number'),
        ([""], "empty"),
        (["  "], "empty"),
        (["./gone.jpg"], "gone.jpg"),
        (["dog", "--nonsense"], "--nonsense"),
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
    refused = run("query", "dog", "-L", indexed, "--model", "ViT-B/32")
    assert (refused.code, refused.out, refused.err.count("\n")) == (2, b"", 1)
    assert "ViT-B/32" in refused.err
