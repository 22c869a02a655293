"""`clipsearch index`: what it reports, and how it ends when something is wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock
from safetensors.torch import save_file

from tests.cli.conftest import Run
from tests.clip.tiny import random_weights, write_bundle, write_merges

KEYS = {
    "added",
    "updated",
    "moved",
    "returned",
    "missing",
    "unchanged",
    "skipped",
    "notes",
    "seconds",
    "images_per_second",
}
Paint = Callable[..., Path]


def test_json_has_the_promised_keys_and_counts(
    run: Run, paint: Paint, photos: Path, tmp_path: Path, tiny_model: Path
) -> None:
    paint("red.png", "red")
    paint("deep/er/blue.jpg", "blue")
    done = run("index", photos, "-L", tmp_path / "library", "--model", tiny_model, "--json")
    assert done.code == 0
    assert done.json.keys() == KEYS
    assert (done.json["added"], done.json["skipped"]) == (2, [])


def test_a_second_run_finds_everything_unchanged(run: Run, indexed: Path, photos: Path) -> None:
    done = run("index", photos, "-L", indexed, "--json")
    assert (done.code, done.json["added"], done.json["unchanged"]) == (0, 0, 3)


def test_indexing_leaves_nothing_for_the_first_question_to_wait_for(
    run: Run, indexed: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLIPSEARCH_CACHE", str(tmp_path / "cache"))
    assert run("index", photos, "-L", indexed).code == 0
    (prepared,) = (tmp_path / "cache" / "prompts").glob("*.f16")
    before = prepared.stat().st_mtime_ns
    run("query", "red", "-L", indexed)
    assert prepared.stat().st_mtime_ns == before


def test_without_json_one_line_says_what_was_done(run: Run, indexed: Path, photos: Path) -> None:
    (photos / "red.png").unlink()
    done = run("index", photos, "-L", indexed)
    assert done.out.startswith(b"1 missing, 2 unchanged in ")
    assert done.out.count(b"\n") == 1


def test_a_bad_file_is_named_and_the_rest_is_indexed(
    run: Run, paint: Paint, photos: Path, tmp_path: Path, tiny_model: Path
) -> None:
    paint("red.png", "red")
    (photos / "bad.jpg").write_bytes(b"no picture at all")
    done = run("index", photos, "-L", tmp_path / "library", "--model", tiny_model, "--json")
    assert (done.code, done.json["added"]) == (3, 1)
    (skipped,) = done.json["skipped"]
    assert skipped["path"] == str(photos / "bad.jpg")
    assert f"{photos / 'bad.jpg'}: {skipped['reason']}\n" in done.err
    assert skipped["reason"].startswith("not a picture")


def test_a_folder_that_is_not_there_is_one_sentence(
    run: Run, tmp_path: Path, tiny_model: Path
) -> None:
    done = run("index", tmp_path / "gone", "-L", tmp_path / "library", "--model", tiny_model)
    assert (done.code, done.out) == (2, b"")
    assert str(tmp_path / "gone") in done.err
    assert done.err.count("\n") == 1


def test_a_folder_without_pictures_is_one_sentence_and_makes_no_library(
    run: Run, photos: Path, tmp_path: Path, tiny_model: Path
) -> None:
    (photos / "notes.txt").write_text("no picture")
    done = run("index", photos, "-L", tmp_path / "library", "--model", tiny_model)
    assert (done.code, done.out, done.err.count("\n")) == (2, b"", 1)
    assert "no pictures" in done.err
    assert not (tmp_path / "library").exists()


def test_a_folder_that_lost_its_pictures_has_to_be_confirmed(
    run: Run, indexed: Path, photos: Path
) -> None:
    for path in photos.iterdir():
        path.unlink()
    assert run("index", photos, "-L", indexed).code == 2
    assert run("index", photos, "-L", indexed, "--yes", "--json").json["missing"] == 3


def test_a_locked_library_ends_with_11(run: Run, indexed: Path, photos: Path) -> None:
    with FileLock(indexed / "write.lock"):
        done = run("index", photos, "-L", indexed)
    assert (done.code, done.out) == (11, b"")
    assert done.err.startswith("clipsearch: ")


def test_offline_the_default_model_is_named_with_both_remedies(
    run: Run, paint: Paint, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLIPSEARCH_OFFLINE", "1")
    paint("red.png", "red")
    done = run("index", photos, "-L", tmp_path / "library")
    assert (done.code, done.out, done.err.count("\n")) == (2, b"", 1)
    assert all(words in done.err for words in ("ViT-B/32", "--model mini", "--model FILE"))


def test_an_unknown_model_is_one_sentence(
    run: Run, paint: Paint, photos: Path, tmp_path: Path
) -> None:
    paint("red.png", "red")
    done = run("index", photos, "-L", tmp_path / "library", "--model", "ViT-Z/99")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "ViT-Z/99" in done.err


@pytest.fixture(scope="module")
def other_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("models") / "other", seed=7)


def test_another_model_is_refused_with_what_it_would_cost(
    run: Run, indexed: Path, photos: Path, other_model: Path
) -> None:
    done = run("index", photos, "-L", indexed, "--model", other_model)
    assert (done.code, done.out, done.err.count("\n")) == (2, b"", 1)
    assert "encode its 3 pictures" in done.err and "--reindex" in done.err


def test_another_model_that_is_not_here_has_no_known_pace(
    run: Run, indexed: Path, photos: Path
) -> None:
    done = run("index", photos, "-L", indexed, "--model", "ViT-B/16")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "once the model is on this machine" in done.err


def test_reindex_changes_the_model_and_the_library_answers(
    run: Run, indexed: Path, photos: Path, other_model: Path
) -> None:
    done = run("index", photos, "-L", indexed, "--model", other_model, "--reindex", "--json")
    assert (done.code, done.json["updated"]) == (0, 3)
    assert run("status", "-L", indexed, "--json").json["model"] == "tiny"
    assert len(run("query", "red", "--all", "-L", indexed, "--json").json["hits"]) == 3


def test_reindex_has_to_know_the_model(run: Run, indexed: Path, photos: Path) -> None:
    done = run("index", photos, "-L", indexed, "--reindex")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "--model" in done.err


def test_a_weights_file_is_taken_with_its_vocabulary(
    run: Run, paint: Paint, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLIPSEARCH_CACHE", str(tmp_path / "cache"))
    paint("red.png", "red")
    save_file(random_weights(), tmp_path / "own.safetensors")
    vocab = write_merges(tmp_path / "words.gz")
    given = ("-L", tmp_path / "library", "--model", tmp_path / "own.safetensors")
    refused = run("index", photos, *given)
    assert (refused.code, refused.out) == (2, b"")
    assert "own.safetensors knows 519 tokens" in refused.err and "--vocab FILE" in refused.err
    assert run("index", photos, *given, "--vocab", vocab).code == 0
    assert run("query", "red", "--all", *given, "--vocab", vocab, "--paths").code == 0
    found = run("query", "red", "--all", "-L", tmp_path / "library", "--json")  # it knows its model
    assert found.json["model"] == "own.safetensors"
