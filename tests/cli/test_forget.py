"""`clipsearch forget`, and `index` where it asks first."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Run


def test_a_file_is_forgotten_and_counted(run: Run, indexed: Path, photos: Path) -> None:
    done = run("forget", photos / "red.png", "-L", indexed)
    assert (done.code, done.out, done.err) == (0, b"1 forgotten\n", "")
    assert run("status", "-L", indexed, "--json").json["n_images"] == 2


def test_what_is_not_in_the_library_is_named_and_ends_with_1(
    run: Run, indexed: Path, photos: Path
) -> None:
    done = run("forget", photos / "pink.png", "-L", indexed)
    assert (done.code, done.out) == (1, b"0 forgotten\n")
    assert str(photos / "pink.png") in done.err
    both = run("forget", photos / "pink.png", photos / "red.png", "-L", indexed, "--json")
    assert (both.code, both.json["forgotten"]) == (0, 1)
    assert both.json["not_found"] == [{"path": str(photos / "pink.png")}]


def test_the_missing_are_forgotten_and_no_others(run: Run, indexed: Path, photos: Path) -> None:
    (photos / "red.png").unlink()
    run("index", photos, "-L", indexed)
    assert run("forget", "--missing", "-L", indexed).out == b"1 forgotten\n"
    assert run("forget", "--missing", "-L", indexed).code == 1
    found = run("status", "-L", indexed, "--json").json
    assert (found["n_images"], found["n_missing"]) == (2, 0)


def test_forgetting_has_to_know_what(run: Run, indexed: Path) -> None:
    done = run("forget", "-L", indexed)
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "--missing" in done.err


def test_forgetting_makes_no_library(run: Run, tmp_path: Path) -> None:
    assert run("forget", tmp_path, "-L", tmp_path / "none").code == 10
    assert not (tmp_path / "none").exists()


def test_a_name_that_begins_with_a_dash_comes_after_two(
    run: Run, indexed: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (photos / "-rf.png").write_bytes((photos / "red.png").read_bytes())
    run("index", photos, "-L", indexed)
    monkeypatch.chdir(photos)
    assert run("forget", "-L", indexed, "--", "-rf.png").out == b"1 forgotten\n"


def test_losing_most_files_has_to_be_confirmed(run: Run, indexed: Path, photos: Path) -> None:
    (photos / "red.png").unlink()
    (photos / "blue.png").unlink()
    refused = run("index", photos, "-L", indexed)
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert "of the 3 files" in refused.err and "--yes" in refused.err
    assert run("index", photos, "-L", indexed, "--yes", "--json").json["missing"] == 2


def test_old_failures_end_with_3_too_and_are_listed(run: Run, indexed: Path, photos: Path) -> None:
    (photos / "link.png").symlink_to("nowhere")
    (photos / "bad.png").write_bytes(b"no picture")
    for _ in range(2):
        assert run("index", photos, "-L", indexed).code == 3
    found = run("errors", "-L", indexed, "--json").json["errors"]
    assert [Path(each["path"]).name for each in found] == ["bad.png", "link.png"]
    (photos / "link.png").unlink()
    (photos / "bad.png").unlink()
    assert run("index", photos, "-L", indexed).code == 0


def test_verifying_reads_all_and_changes_nothing(run: Run, indexed: Path, photos: Path) -> None:
    assert run("index", photos, "-L", indexed, "--verify", "--json").json["unchanged"] == 3
    assert run("index", photos, "-L", indexed, "--verify", "--reindex", "--model", "x").code == 2
