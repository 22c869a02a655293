"""`clipsearch status` and `clipsearch errors`."""

from __future__ import annotations

from pathlib import Path

from tests.cli.conftest import Run


def test_status_counts_what_is_there(
    run: Run, indexed: Path, photos: Path, tiny_model: Path
) -> None:
    (photos / "red.png").unlink()
    run("index", photos, "-L", indexed)
    found = run("status", "-L", indexed, "--json")
    assert found.code == 0
    assert (found.json["n_images"], found.json["n_missing"]) == (2, 1)
    assert found.json["model"] == str(tiny_model)
    assert found.json["path"] == str(indexed)
    assert [folder["path"] for folder in found.json["folders"]] == [str(photos)]


def test_status_for_people_names_model_and_folders(run: Run, indexed: Path, photos: Path) -> None:
    shown = run("status", "-L", indexed).out.decode()
    assert all(words in shown for words in ("16", str(photos), str(indexed), "3"))


def test_status_without_a_library_ends_with_10(run: Run, tmp_path: Path) -> None:
    refused = run("status", "-L", tmp_path / "none")
    assert (refused.code, refused.out, refused.err.count("\n")) == (10, b"", 1)


def test_errors_lists_file_and_reason(run: Run, indexed: Path, photos: Path) -> None:
    (photos / "bad.jpg").write_bytes(b"no picture at all")
    run("index", photos, "-L", indexed)
    (listed,) = run("errors", "-L", indexed, "--json").json["errors"]
    assert listed["path"] == str(photos / "bad.jpg")
    line = run("errors", "-L", indexed).out.decode()
    assert line == f"{listed['reason']}\t{photos / 'bad.jpg'}\n"


def test_no_errors_is_said_on_standard_error(run: Run, indexed: Path) -> None:
    found = run("errors", "-L", indexed)
    assert (found.code, found.out) == (0, b"")
    assert "every file could be read" in found.err
    assert run("errors", "-L", indexed, "--json").json == {"errors": []}
