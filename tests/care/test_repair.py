"""A repair leaves a library that a check finds nothing in, and keeps what it takes out."""

from __future__ import annotations

import base64
import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing, suppress
from pathlib import Path

import pytest

from clipsearch.errors import (
    CatalogError,
    CatalogTooNew,
    ClipsearchError,
    LibraryLocked,
    NoLibrary,
)
from clipsearch.indexer.lock import write_lock
from clipsearch.library import Library
from tests.care.conftest import Ruin
from tests.care.test_check import OLDER, index_file, rewritten
from tests.fakes import ColourEncoder

ROOT = Path(__file__).resolve().parents[2]


def taken_out(library: Library) -> list[dict[str, object]]:
    files = sorted((library.path / "quarantine").glob("*/rows.jsonl"))
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def test_a_sound_library_is_left_alone(sound: Library) -> None:
    sound.close()
    (sound.path / "merge.lock").touch()  # as a merge leaves it
    before = {path: path.read_bytes() for path in sound.path.rglob("*") if path.is_file()}
    report = sound.repair()
    assert (report.actions, report.quarantine, report.needs_index) == ((), None, False)
    assert before == {path: path.read_bytes() for path in sound.path.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE vectors SET crc32 = crc32 + 1 WHERE vector_id = 3",
        "UPDATE vectors SET vector = x'0000' WHERE vector_id IN (3, 4)",
        "UPDATE images SET state = 'odd' WHERE image_id = 2",
        "UPDATE images SET reason = 'x' WHERE state = 'present'",
        "UPDATE images SET reason = NULL WHERE state = 'unreadable'",
        "DELETE FROM vectors WHERE vector_id = 3",
        "DELETE FROM images WHERE image_id = 2",
        "DELETE FROM folders",
        "DELETE FROM models",
        "DROP INDEX ix_images_state",
        "DROP TABLE vectors",
        "DELETE FROM alembic_version",
        OLDER,
    ],
)
def test_after_a_repair_nothing_is_wrong_and_indexing_brings_all_back(
    sound: Library, ruin: Ruin, photos: Path, statement: str
) -> None:
    sound.close()
    ruin(statement)
    assert not sound.check().is_clean
    report = sound.repair()
    assert report.actions
    assert sound.check().findings == ()
    assert sound.repair().actions == ()
    sound.index(photos)
    assert sound.status().n_images == sound.status().n_vectors == 8
    assert sound.query("red", k=1)[0].path.name == "red.png"
    assert sound.check(1).findings == ()


def test_a_bad_vector_goes_to_quarantine_as_it_was_and_its_image_is_encoded_again(
    sound: Library, ruin: Ruin, photos: Path
) -> None:
    ruin("UPDATE vectors SET vector = x'0102' WHERE image_id = 3")
    report = sound.repair()
    assert report.needs_index
    (row,) = taken_out(sound)
    assert (row["image_id"], row["why"]) == (3, "is 2 bytes long instead of 8")
    assert base64.b64decode(str(row["vector_base64"])) == b"\x01\x02"
    assert str(row["relative_path"]).endswith(".png")
    done = sound.index(photos)
    assert (done.n_encoded, done.unchanged) == (1, 7)


def test_images_without_a_folder_go_to_quarantine_with_their_vectors(
    sound: Library, ruin: Ruin
) -> None:
    ruin("DELETE FROM folders")
    sound.repair()
    tables = [row["table"] for row in taken_out(sound)]
    assert (tables.count("vectors"), tables.count("images")) == (9, 10)


@pytest.mark.parametrize("change", ["ids", "swap", "flip", "empty"])
def test_an_index_file_that_is_no_good_is_kept_and_made_anew(sound: Library, change: str) -> None:
    file = index_file(sound)
    if change in ("ids", "swap"):
        rewritten(sound, change)
    else:
        file.write_bytes(b"" if change == "empty" else file.read_bytes()[:-9] + b"\0" * 9)
    content = file.read_bytes()
    report = sound.repair()
    assert report.quarantine is not None
    assert (report.quarantine / file.name).read_bytes() == content
    assert sound.check().is_clean and index_file(sound).exists()
    assert len(sound.query("red", k=100)) == 8


def damaged(library: Library, table: str) -> None:
    """Overwrite the page in which a table begins."""
    library.close()
    file = library.path / "catalog.sqlite3"
    with closing(sqlite3.connect(file)) as connection:
        found = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,))
        (page,) = found.fetchone()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    content = bytearray(file.read_bytes())
    content[(page - 1) * 4096 : page * 4096] = b"\xff" * 4096
    file.write_bytes(content)


@pytest.mark.parametrize(
    "table", ["images", "vectors", "folders", "models", "library", "ix_images_state"]
)
def test_what_can_be_read_of_a_damaged_catalog_is_saved(
    sound: Library, photos: Path, table: str
) -> None:
    damaged(sound, table)
    content = (sound.path / "catalog.sqlite3").read_bytes()
    assert not sound.check().is_clean
    report = sound.repair()
    (kept,) = sound.path.glob("catalog.sqlite3.corrupt-*")
    assert kept.read_bytes() == content
    assert "new catalog" in report.actions[0]
    assert sound.check().findings == ()
    sound.index(photos)
    assert sound.status().n_images == sound.status().n_vectors == 8
    assert sound.check(1).findings == ()


def test_a_damaged_index_of_a_table_costs_no_row(sound: Library) -> None:
    before = [hit.image_id for hit in sound.query("red", k=100)]
    uuid = sound._opened().uuid
    damaged(sound, "ix_images_state")
    sound.repair()
    assert [hit.image_id for hit in sound.query("red", k=100)] == before
    assert sound._opened().uuid == uuid


def test_ids_of_rows_that_were_lost_are_not_given_again(sound: Library, photos: Path) -> None:
    damaged(sound, "images")
    sound.repair()
    sound.index(photos)
    assert min(hit.image_id for hit in sound.query("red", k=100)) > 10


@pytest.mark.parametrize("content", [b"hi", b"no database " * 1000, b"\0" * 8192])
def test_what_is_no_database_is_moved_aside_and_indexing_makes_a_new_one(
    sound: Library, photos: Path, content: bytes
) -> None:
    sound.close()
    file = sound.path / "catalog.sqlite3"
    file.write_bytes(content)
    report = sound.repair()
    (kept,) = sound.path.glob("catalog.sqlite3.corrupt-*")
    assert kept.read_bytes() == content and not file.exists()
    assert report.needs_index and str(kept) in report.actions[0]
    assert sound.index(photos).added == 8
    assert sound.check(1).findings == ()


def test_the_log_of_a_damaged_catalog_is_kept_with_it(sound: Library) -> None:
    file = sound.path / "catalog.sqlite3"
    sound.close()
    file.write_bytes(b"no database " * 1000)
    file.with_name("catalog.sqlite3-wal").write_bytes(b"a log")
    Library(sound.path).repair()
    kept = {path.name[-4:]: path.read_bytes() for path in sound.path.glob("catalog.*.corrupt-*")}
    assert kept.pop("-wal") == b"a log" and len(kept) == 1
    assert not file.with_name("catalog.sqlite3-wal").exists()


def test_noise_in_a_catalog_never_outlives_a_repair(sound: Library, photos: Path) -> None:
    sound.close()
    file = sound.path / "catalog.sqlite3"
    content, rng = file.read_bytes(), random.Random(7)
    for _ in range(12):
        noisy = bytearray(content)
        place = rng.randrange(200, len(content) - 300)
        noisy[place : place + 300] = rng.randbytes(300)
        file.write_bytes(noisy)
        library = Library(sound.path, settings=sound.settings)
        try:
            library.repair()
        except (CatalogTooNew, NoLibrary):  # the noise looks like that
            continue
        assert not file.exists() or library.check().findings == ()


def test_a_newer_library_and_another_programs_are_not_touched(sound: Library, ruin: Ruin) -> None:
    for statement, error in (
        ("UPDATE alembic_version SET version_num = '0099'", CatalogTooNew),
        ("PRAGMA application_id = 5", CatalogError),
    ):
        sound.close()
        ruin(statement)
        before = (sound.path / "catalog.sqlite3").read_bytes()
        with pytest.raises(error):
            sound.repair()
        assert (sound.path / "catalog.sqlite3").read_bytes() == before


def test_a_repair_needs_the_lock(sound: Library) -> None:
    with write_lock(sound.path), pytest.raises(LibraryLocked):
        sound.repair()


def test_a_query_goes_on_while_another_process_repairs(sound: Library, ruin: Ruin) -> None:
    with Library(sound.path, encoder=ColourEncoder()) as reader:
        before = reader.query("red", k=100)
        damaged(sound, "ix_images_state")
        sound.repair()
        assert reader.query("red", k=100) == before
        sound.close()
        ruin("UPDATE images SET state = 'missing' WHERE image_id = 8")
        assert len(reader.query("red", k=100)) == len(before) - 1  # it sees the new file


KILLED = """
import os, sys
from clipsearch.library import Library
n_left = int(sys.argv[2])
def counted(event, args):
    global n_left
    if event in ("os.rename", "os.link", "os.remove", "os.mkdir", "sqlite3.connect", "open"):
        if event == "open" and not str(args[0]).startswith(sys.argv[1]): return
        n_left -= 1
        if n_left < 0: os.kill(os.getpid(), 9)
library = Library(sys.argv[1])
sys.addaudithook(counted)
library.repair()
"""


@pytest.mark.parametrize("table", ["images", "ix_images_state"])
def test_a_repair_that_is_killed_leaves_the_old_or_the_new(
    sound: Library, photos: Path, tmp_path: Path, table: str
) -> None:
    damaged(sound, table)
    for n_left in range(4, 80, 12):
        copy = tmp_path / f"killed-{n_left}"
        shutil.copytree(sound.path, copy)
        words = [sys.executable, "-c", KILLED, str(copy), str(n_left)]
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
        assert done.returncode in (0, -9), done.stderr
        with Library(copy) as library:
            library.repair()
            assert library.check().findings == ()
            n_images = library.status().n_images + library.status().n_missing
            assert n_images == (9 if table == "ix_images_state" else 0)
        if done.returncode == 0:
            return
    pytest.fail("never came to an end")


def cut(library: Library, n_bytes: int) -> None:
    """Cut so many bytes off the end of the catalog."""
    library.close()
    file = library.path / "catalog.sqlite3"
    os.truncate(file, file.stat().st_size - n_bytes)


def test_of_a_catalog_that_was_cut_off_the_rest_is_salvaged(sound: Library, photos: Path) -> None:
    cut(sound, 4096)
    (finding,) = sound.check().findings
    assert finding.kind == "catalog"
    assert any("made a new catalog" in action for action in sound.repair().actions)
    assert sound.check().is_clean
    sound.index(photos)
    assert sound.status().n_images == 8 and sound.check(1).is_clean


@pytest.mark.parametrize("seed", [0, 1, 2, 3, 5, 7])
def test_whatever_pages_are_ruined_a_repair_ends_and_leaves_a_sound_library(
    sound: Library, seed: int
) -> None:
    ruined(sound, random.Random(seed))
    with suppress(ClipsearchError):
        sound.check()
    sound.repair()
    with suppress(NoLibrary):  # of some nothing is left
        assert sound.check().findings == ()


def ruined(library: Library, chance: random.Random) -> None:
    """Zeroed, swapped or torn pages, not the first."""
    library.close()
    file = library.path / "catalog.sqlite3"
    content = bytearray(file.read_bytes())
    pages = [chance.randrange(1, len(content) // 4096) * 4096 for _ in "ab"]
    one, other = (slice(page, page + 4096) for page in pages)
    if chance.random() < 0.5:
        content[one], content[other] = content[other], content[one]
    else:
        start = chance.randrange(pages[0], pages[0] + 4096)
        content[start : start + 2000] = bytes(len(content[start : start + 2000]))
    file.write_bytes(content)


def test_a_row_of_nulls_is_a_finding_and_is_taken_out(sound: Library, photos: Path) -> None:
    """As a torn page gives them, although the tables allow none."""
    sound.close()
    with closing(sqlite3.connect(sound.path / "catalog.sqlite3")) as connection, connection:
        connection.execute("PRAGMA writable_schema = 1")
        connection.execute(
            "UPDATE sqlite_master SET sql = replace(sql, ' NOT NULL', '') WHERE name = 'vectors'"
        )
        connection.execute("PRAGMA writable_schema = 0")
    with closing(sqlite3.connect(sound.path / "catalog.sqlite3")) as connection, connection:
        connection.execute("UPDATE vectors SET model_id = NULL WHERE vector_id = 3")
        version = connection.execute("PRAGMA schema_version").fetchone()[0]
        connection.execute("PRAGMA writable_schema = 1")
        connection.execute(
            "UPDATE sqlite_master SET sql = replace(sql, ' INTEGER,', ' INTEGER NOT NULL,') "
            "WHERE name = 'vectors'"
        )
        connection.execute(f"PRAGMA schema_version = {version + 1}")
    assert any("not a whole row" in finding.what for finding in sound.check().findings)
    sound.repair()
    assert sound.check().findings == ()
    sound.index(photos)
    assert sound.status().n_vectors == 8


def test_a_pipe_in_place_of_the_catalog_does_not_hold_a_repair_up(tmp_path: Path) -> None:
    (tmp_path / "library").mkdir()
    os.mkfifo(tmp_path / "library" / "catalog.sqlite3")
    command = [sys.executable, "-m", "clipsearch", "repair", "-L", str(tmp_path / "library")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=60, check=False)
    assert done.returncode == 2 and done.stderr.count(b"\n") == 1
