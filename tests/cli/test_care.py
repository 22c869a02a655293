"""`clipsearch check`, `repair`, `backup` and `index --wait`: what they say and how they end."""

from __future__ import annotations

import shutil
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

from clipsearch.indexer.lock import write_lock
from tests.cli.conftest import Run


def spoil(library: Path) -> None:
    with closing(sqlite3.connect(library / "catalog.sqlite3")) as connection, connection:
        connection.execute("UPDATE vectors SET crc32 = 1 WHERE vector_id = 2")


def test_a_sound_library_ends_with_0_and_says_what_was_checked(run: Run, indexed: Path) -> None:
    done = run("check", "-L", indexed)
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(b"nothing wrong: 3 images, 3 vectors in ")


def test_a_finding_ends_with_1_and_says_what_to_run(run: Run, indexed: Path) -> None:
    spoil(indexed)
    done = run("check", "-L", indexed)
    assert done.code == 1 and b"does not match its checksum" in done.out
    assert done.err == "1 found: run clipsearch repair\n"
    found = run("check", "-L", indexed, "--json")
    assert found.code == 1
    assert (found.json["is_clean"], found.json["n_found"]) == (False, 1)
    assert found.json["findings"][0].keys() == {"kind", "what", "where", "remedy"}


@pytest.mark.parametrize(
    ("option", "n_read"), [("--read-data", 3), ("--read-data=34%", 1), ("--read-data=0.67", 2)]
)
def test_pictures_are_read_again_all_or_a_share(
    run: Run, indexed: Path, option: str, n_read: int
) -> None:
    done = run("check", option, "-L", indexed, "--json")
    assert (done.code, done.json["n_pictures_read"]) == (0, n_read)


@pytest.mark.parametrize("share", ["0", "101%", "some", "-5%"])
def test_a_share_that_is_none_is_refused(run: Run, indexed: Path, share: str) -> None:
    assert run("check", f"--read-data={share}", "-L", indexed).code == 2


@pytest.mark.parametrize("command", [["check"], ["repair"], ["backup", "copy"]])
def test_without_a_library_it_is_10(run: Run, tmp_path: Path, command: list[str]) -> None:
    done = run(*command, "-L", tmp_path / "none")
    assert (done.code, done.out) == (10, b"")


def test_a_repair_says_what_it_did_and_what_is_left_to_do(
    run: Run, indexed: Path, photos: Path
) -> None:
    assert run("repair", "-L", indexed).out == b"nothing to repair\n"
    spoil(indexed)
    done = run("repair", "-L", indexed)
    assert done.code == 0 and b"took 1 rows" in done.out
    assert "run clipsearch index" in done.err
    assert run("check", "-L", indexed).code == 0
    assert run("index", photos, "-L", indexed, "--json").json["updated"] == 1
    assert run("repair", "-L", indexed, "--json").json["actions"] == []


def test_a_file_that_is_no_database_is_moved_aside(run: Run, indexed: Path, photos: Path) -> None:
    (indexed / "catalog.sqlite3").write_bytes(b"no database" * 99)
    assert run("check", "-L", indexed).code == 1
    assert run("repair", "-L", indexed).code == 0
    assert run("check", "-L", indexed).code == 10


def test_a_backup_can_be_put_into_an_empty_folder(run: Run, indexed: Path, tmp_path: Path) -> None:
    done = run("backup", tmp_path / "copy", "-L", indexed, "--json")
    assert (done.code, done.json["n_images"]) == (0, 3)
    refused = run("backup", tmp_path / "copy", "-L", indexed)
    assert refused.code == 2 and "--force" in refused.err
    assert run("backup", tmp_path / "copy", "--force", "-L", indexed).code == 0
    (tmp_path / "again").mkdir()
    shutil.copy(tmp_path / "copy", tmp_path / "again" / "catalog.sqlite3")
    assert run("check", "-L", tmp_path / "again").code == 0


@pytest.mark.parametrize("command", ["index", "forget"])
def test_a_command_waits_for_another_writer_if_told_to(
    run: Run, indexed: Path, photos: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    from clipsearch.cli import render

    is_waiting, is_held = threading.Event(), threading.Event()
    say = render.waiting

    def said(holder: str) -> None:
        say(holder)
        is_waiting.set()

    def hold() -> None:
        with write_lock(indexed):
            is_held.set()
            is_waiting.wait(60)

    monkeypatch.setattr(render, "waiting", said)
    thread = threading.Thread(target=hold)
    thread.start()
    is_held.wait(60)
    refused = run(command, photos, "-L", indexed)
    assert refused.code == 11 and "since" in refused.err and "--wait" in refused.err
    done = run(command, photos, "--wait", "-L", indexed)
    thread.join()
    assert done.code == 0
    assert done.err.startswith("waiting for process ") and done.err.count("\n") == 1
