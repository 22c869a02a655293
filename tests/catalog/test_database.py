from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from clipsearch.catalog import Catalog
from clipsearch.catalog.connecting import GuardedConnection
from clipsearch.catalog.database import ensure_wal, open_engine, reading
from clipsearch.errors import CatalogDamaged, CatalogError, LibraryLocked


@pytest.mark.parametrize(
    ("setting", "value"),
    [("journal_mode", "wal"), ("synchronous", 2), ("foreign_keys", 1), ("busy_timeout", 10_000)],
)
def test_every_connection_has_the_settings(catalog, setting, value):
    with catalog._reading() as first, catalog._reading() as second:
        for connection in (first, second):
            assert connection.exec_driver_sql(f"PRAGMA {setting}").scalar_one() == value


def test_readers_see_the_committed_state_while_a_batch_is_open(catalog, path, add):
    with Catalog.open(path) as other:
        with catalog.begin() as batch:
            add(batch, b"a", 0.5)
            assert other.counts().present == 0
            assert catalog.counts().present == 0
        assert other.counts().present == 1


def test_a_second_writer_is_told_that_the_library_is_locked(path, add, monkeypatch):
    monkeypatch.setattr("clipsearch.catalog.connecting.BUSY_SECONDS", 0.01)
    with Catalog.open(path, create=True) as first, Catalog.open(path) as second:
        with first.begin() as batch:
            add(batch, b"a")
            with pytest.raises(LibraryLocked, match="being written by another process"):
                second.begin().__enter__()
        with second.begin() as batch:
            add(batch, b"b")
        assert first.counts().present == 2


def test_a_second_writer_waits_for_the_first(catalog, path, add):
    entered = threading.Event()

    def write_after() -> None:
        with Catalog.open(path) as other:
            entered.set()
            with other.begin() as batch:
                add(batch, b"second")

    thread = threading.Thread(target=write_after)
    with catalog.begin() as batch:
        add(batch, b"first")
        thread.start()
        entered.wait(10)
    thread.join(20)
    assert catalog.counts().present == 2


def test_threads_share_a_catalog_while_one_of_them_writes(catalog, add):
    def read(_: int) -> bool:
        with catalog.snapshot() as snapshot:
            ids = [record.image_id for record in snapshot.images(1)]
            return len(snapshot.vectors_of(1, ids)[0]) == len(ids) == snapshot.counts().present

    with ThreadPoolExecutor(4) as threads:
        answers = threads.map(read, range(60))
        for n in range(15):
            with catalog.begin() as batch:
                add(batch, b"%d" % n, 0.5)
                add(batch, b"%d too" % n, 0.5)
        assert all(answers)


def test_reading_writes_nothing(catalog, path, add):
    with catalog.begin() as batch:
        image_id = add(batch, b"a", 0.5)
    files = [path, path.with_name(path.name + "-wal")]
    before = [file.read_bytes() for file in files]
    assert list(catalog.images(1))
    assert catalog.image_at(b"/pictures/a")
    assert len(catalog.vectors_of(1, [image_id])[0]) == 1
    assert list(catalog.vector_batches(1))
    assert catalog.dead_ids(1, 0).tolist() == [image_id]
    assert [file.read_bytes() for file in files] == before


@pytest.fixture
def frozen(path, catalog, add, monkeypatch):
    """A catalog with one image, in a folder in which this process can make nothing."""
    with catalog.begin() as batch:
        add(batch, b"one", 1.0)
    catalog.close()
    path.parent.chmod(0o555)
    if os.access(path.parent, os.W_OK):  # we are root
        monkeypatch.setattr("os.access", lambda path, mode: False)
    yield path
    path.parent.chmod(0o755)


def test_a_catalog_on_read_only_media_can_be_read(frozen):
    before = frozen.read_bytes()
    with Catalog.open(frozen) as catalog, catalog.snapshot() as state:
        assert state.counts().present == 1 and len(state.vectors_of(1, [1])[0]) == 1
        assert os.listdir(frozen.parent) == [frozen.name]  # nothing is made beside it
    assert frozen.read_bytes() == before


def test_a_catalog_on_read_only_media_cannot_be_written_and_says_so(frozen, add):
    with (
        Catalog.open(frozen) as catalog,
        pytest.raises(CatalogError, match="cannot be written"),
        catalog.begin() as batch,
    ):
        add(batch, b"two", 2.0)


def test_who_may_not_write_still_sees_what_another_writes(frozen, monkeypatch, add):
    with Catalog.open(frozen) as reader:
        with monkeypatch.context() as patch:
            patch.setattr("os.access", lambda path, mode: True)
            frozen.parent.chmod(0o755)
            writer = Catalog.open(frozen)
        with writer:
            with writer.begin() as batch:
                add(batch, b"two", 2.0)
            assert reader.counts().present == 2
        assert reader.counts().present == 2


def test_what_was_committed_survives_a_kill_and_the_rest_leaves_no_trace(path, catalog, add):
    program = """
import os, signal, sys
from clipsearch.catalog import Catalog
catalog = Catalog.open(sys.argv[1])
for n in range(3):
    with catalog.begin() as batch:
        batch.add_image(batch.add_folder(b"/p").folder_id, b"%d" % n, 1, 2, b"h")
        if n == 2:
            os.kill(os.getpid(), signal.SIGKILL)
"""
    command = [sys.executable, "-c", program, str(path)]
    assert subprocess.run(command, check=False).returncode == -9
    assert [record.relative_path for record in catalog.images(1)] == [b"0", b"1"]
    with catalog.begin() as batch:
        add(batch, b"goes on")
    assert catalog.counts().present == 3


def test_a_full_disk_is_said_and_the_batch_rolled_back(catalog, add):
    with catalog.begin() as batch:
        add(batch, b"a", 0.5)
    full = pytest.raises(CatalogError, match="disk is full: free some space")
    with full, catalog.begin() as batch:
        # SQLite fails in the same way when it may not have another page.
        batch._connection.exec_driver_sql("PRAGMA max_page_count = 1")
        for n in range(100):
            add(batch, b"%d" % n + b"x" * 1000)
    assert catalog.counts().present == 1


def test_damage_found_while_reading_is_said(catalog, path, add):
    with catalog.begin() as batch:
        for n in range(200):
            add(batch, b"%d" % n, 0.5)
    catalog.close()
    content = bytearray(path.read_bytes())
    with closing(sqlite3.connect(path)) as connection:
        (page,) = connection.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = 'images'"
        ).fetchone()
    content[(page - 1) * 4096 : page * 4096] = b"\xff" * 4096
    path.write_bytes(content)
    with Catalog.open(path) as damaged, pytest.raises(CatalogError, match="is damaged"):
        list(damaged.images(1))


def test_a_file_that_has_gone_is_not_made_anew(tmp_path):
    path = tmp_path / "gone"
    with pytest.raises(CatalogError, match="cannot be opened"), reading(open_engine(path), path):
        pass
    assert not path.exists()


def test_a_place_without_shared_memory_cannot_hold_a_library(tmp_path):
    path = tmp_path / "catalog.sqlite3"
    # SQLite's file locks for such places: they are what a library on a network share would meet.
    where = f"{path.as_uri()}?vfs=unix-dotfile"
    engine = create_engine(
        "sqlite://", creator=lambda: sqlite3.connect(where, uri=True), poolclass=NullPool
    )
    with pytest.raises(CatalogError, match=r"write-ahead logging .*'delete'.*local disk"):
        ensure_wal(engine, path)


def test_a_thousand_vectors_go_in_and_out_in_one_batch(catalog, add):
    rows = np.random.default_rng(1).normal(size=(1000, 4)).astype(np.float16)
    with catalog.begin() as batch:
        ids = [add(batch, b"%d" % n) for n in range(1000)]
        batch.put_vectors(1, ids, rows)
    (found,) = catalog.vector_batches(1)
    np.testing.assert_array_equal(found.vectors, rows)
    assert found.image_ids.tolist() == ids


@pytest.mark.parametrize("setting", ["foreign_keys", "synchronous", "busy_timeout"])
def test_a_setting_that_sqlite_does_not_take_is_an_error(path, catalog, monkeypatch, setting):
    class Deaf(GuardedConnection):
        def execute(self, statement, *parameters):
            answer = super().execute(statement, *parameters)
            return super().execute("SELECT 77") if statement == f"PRAGMA {setting}" else answer

    monkeypatch.setattr("clipsearch.catalog.connecting.GuardedConnection", Deaf)
    with pytest.raises(CatalogError, match=f"refuses the setting {setting}"):
        Catalog.open(path)


FORKED = """
import os, sys
from clipsearch.catalog import Catalog
from clipsearch.errors import CatalogDamaged, CatalogError
with Catalog.open(sys.argv[1]) as catalog:
    before = catalog.counts()
    child = os.fork()
    if not child:
        try:
            catalog.counts()
        except CatalogError as error:
            print(error, flush=True)
        catalog.close()
        os._exit(0)
    os.waitpid(child, 0)
    with catalog.begin() as batch:
        batch.add_folder(b"/after")
    assert catalog.counts() == before
"""


def test_a_forked_child_may_not_use_its_parents_connection(path, catalog):
    words = [sys.executable, "-c", FORKED, str(path)]
    done = subprocess.run(words, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert done.returncode == 0, done.stderr
    assert "opened before this process was forked" in done.stdout and "spawn" in done.stdout
    assert catalog.folder(b"/after")


def test_the_log_shrinks_after_a_long_reader_has_ended(path, monkeypatch, add):
    monkeypatch.setattr("clipsearch.catalog.connecting.WAL_BYTES", 100_000)
    log = path.with_name(path.name + "-wal")
    with Catalog.open(path, create=True) as catalog, Catalog.open(path) as other:
        with other.snapshot() as reader:
            reader.counts()
            for n in range(400):
                with catalog.begin() as batch:
                    add(batch, b"%d" % n)
            assert log.stat().st_size > 4_000_000
        for n in range(3):
            with catalog.begin() as batch:
                add(batch, b"after %d" % n)
        assert log.stat().st_size <= 100_000


def test_another_file_in_the_place_of_an_open_one_is_noticed(path, catalog, add, tmp_path):
    new = tmp_path / "other" / "catalog.sqlite3"
    with Catalog.open(new, create=True) as other, other.begin() as batch:
        add(batch, b"a")
    assert catalog.counts().images == 0
    os.replace(other.path, path)
    for ending in ("-wal", "-shm"):
        path.with_name(path.name + ending).unlink()
    assert catalog.counts().images == 1
    with catalog.begin() as batch:
        add(batch, b"b")
    assert catalog.counts().images == 2


@pytest.mark.parametrize("content", [b"", None])
def test_a_log_that_cannot_be_the_files_own_is_refused_and_left_alone(path, catalog, content):
    log = path.with_name(path.name + "-wal")
    with catalog.begin() as batch:
        batch.add_folder(b"/there")
    frames = log.read_bytes()
    catalog.close()
    if content is None:
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA journal_mode = DELETE")
    else:
        path.write_bytes(content)
    log.write_bytes(frames)
    before = path.read_bytes()
    with pytest.raises(CatalogDamaged, match="log of another file"):
        Catalog.open(path)
    assert (path.read_bytes(), log.read_bytes()) == (before, frames)


SOMEBODY_ELSE = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
print(connection.execute("SELECT count(*) FROM images").fetchone()[0])
connection.close()  # the last one on a file puts its log away
"""


def test_a_second_connection_takes_no_locks_away_from_the_first(path, catalog, add):
    command = [sys.executable, "-c", SOMEBODY_ELSE, str(path)]
    with catalog.begin() as batch:
        add(batch, b"a")
    with Catalog.open(path) as another:  # the log is there now, and the first holds its locks
        another.counts()
    assert subprocess.run(command, check=True, capture_output=True).stdout == b"1\n"
    with catalog.begin() as batch:
        add(batch, b"b")
    assert subprocess.run(command, check=True, capture_output=True).stdout == b"2\n"
