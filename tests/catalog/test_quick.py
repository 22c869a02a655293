"""The quick answers are those of the catalog, in every state of it."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from threading import Lock

import numpy as np
import pytest

from clipsearch.catalog import Catalog, ModelRecord, QuickCatalog, quick
from clipsearch.catalog.copies import copy_catalog
from clipsearch.catalog.migrations import current_schema
from clipsearch.errors import CatalogDamaged, CatalogError
from clipsearch.vectors import normalise

DIMENSION = 4
DRAW = np.random.default_rng(3)


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    with Catalog.open(tmp_path / "catalog.sqlite3", create=True) as opened:
        opened.set_model(ModelRecord("m", "0" * 64, DIMENSION, {"mean": [0.1]}, bundle_path=b"/m"))
        yield opened


@pytest.fixture
def asked(catalog: Catalog) -> Iterator[QuickCatalog]:
    opened = QuickCatalog.open(catalog.path)
    assert opened is not None
    yield opened
    opened.close()


def fill(catalog: Catalog, n: int) -> list[int]:
    first = catalog.counts().images
    with catalog.begin() as write:
        root = write.add_folder(b"/pictures/\xff").folder_id
        names = [b"%d.jpg" % (first + number) for number in range(n)]
        ids = [write.add_image(root, name, 1, 1, name) for name in names]
        write.put_vectors(1, ids, normalise(DRAW.standard_normal((n, DIMENSION))))
    return ids


def check(catalog: Catalog, asked: QuickCatalog) -> None:
    every = np.arange(0, catalog.counts().images + 3)[::-1]
    with asked.snapshot() as state:
        for _ in range(2):  # found out, and remembered
            assert state.model() == catalog.model() and state.uuid == catalog.uuid
            assert state.revision() == catalog.revision()
            assert state.paths_of(every) == catalog.paths_of(every)
            assert state.dates_of(every) == catalog.dates_of(every)
            for size in (1, 3, 1000):
                sample, same = state.vector_sample(1, size), catalog.vector_sample(1, size)
                assert np.array_equal(sample.vectors, same.vectors)
                assert sample.n_vectors == same.n_vectors
            assert sorted(state.absent_ids()) == sorted(catalog.absent_ids())
            for after in (0, 3, catalog.revision()):
                assert state.dead_ids(1, after).tolist() == catalog.dead_ids(1, after).tolist()
                assert state.masked_ids(1, after).tolist() == catalog.masked_ids(1, after).tolist()
                assert set(state.masked_ids(1, after)) <= set(state.dead_ids(1, after))
                for ours, theirs in zip(
                    state.vector_batches(1, after, 3),
                    catalog.vector_batches(1, after, 3),
                    strict=True,
                ):
                    assert ours.vector_ids.tolist() == theirs.vector_ids.tolist()
                    assert ours.image_ids.tolist() == theirs.image_ids.tolist()
                    assert (ours.vectors == theirs.vectors).all()
            for ours, theirs in zip(
                state.vectors_of(1, every), catalog.vectors_of(1, every), strict=True
            ):
                assert ours.dtype == theirs.dtype and ours.tolist() == theirs.tolist()


def test_every_answer_is_that_of_the_catalog(catalog: Catalog, asked: QuickCatalog) -> None:
    check(catalog, asked)
    ids = fill(catalog, 10)
    check(catalog, asked)
    with catalog.begin() as write:
        write.mark_missing(ids[:3])
        write.remove_vectors(ids[3:5])
    check(catalog, asked)
    with catalog.begin() as write:
        write.mark_present(ids[:2])
        write.update_image(ids[6], state="unreadable", reason="broken")
    check(catalog, asked)
    fill(catalog, 4)
    check(catalog, asked)
    with catalog.begin() as write:
        write.forget(ids[7:9])
    check(catalog, asked)
    with asked.snapshot() as state:
        assert set(ids[7:9]) <= set(state.dead_ids(1, 0).tolist())


def test_many_new_vectors_are_not_kept(
    catalog: Catalog, asked: QuickCatalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quick, "MAX_KEPT", 5)
    fill(catalog, 20)
    check(catalog, asked)
    with asked.snapshot() as state:
        assert sum(len(batch) for batch in state.vector_batches(1)) == 20
        assert ("tail", 1, 0, 4096) not in state._facts


def test_a_snapshot_sees_one_state_and_the_next_one_sees_the_new(
    catalog: Catalog, asked: QuickCatalog
) -> None:
    fill(catalog, 3)
    with asked.snapshot() as state:
        assert state.revision() == 3
        fill(catalog, 3)
        assert len(state.vectors_of(1, range(10))[0]) == 3
        assert state.revision() == 3 and state.dead_ids(1, 0).tolist() == [1, 2, 3]
    with asked.snapshot() as state:
        assert state.revision() == 6 and len(state.vectors_of(1, range(10))[0]) == 6


def test_threads_share_it(catalog: Catalog, asked: QuickCatalog) -> None:
    writer = Lock()

    def ask(number: int) -> int:
        if number % 10 == 0:
            with writer:
                fill(catalog, 1)
        with asked.snapshot() as state:
            n = state.revision()
            assert len(state.vectors_of(1, range(99))[0]) == n
        return n

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(ask, range(60)))
    check(catalog, asked)


def test_a_damaged_vector_is_named_as_the_catalog_names_it(
    catalog: Catalog, asked: QuickCatalog
) -> None:
    fill(catalog, 3)
    with closing(sqlite3.connect(catalog.path)) as raw:
        raw.execute("UPDATE vectors SET vector = zeroblob(8) WHERE image_id = 2")
        raw.commit()
    with pytest.raises(CatalogError) as theirs:
        catalog.vectors_of(1, [1, 2])
    with pytest.raises(CatalogError) as ours, asked.snapshot() as state:
        state.vectors_of(1, [1, 2])
    assert str(ours.value) == str(theirs.value)


def test_a_restored_file_in_its_place_is_noticed(
    catalog: Catalog, asked: QuickCatalog, tmp_path: Path
) -> None:
    fill(catalog, 3)
    copy_catalog(catalog.path, tmp_path / "backup")
    with asked.snapshot() as state:
        assert state.revision() == 3
    fill(catalog, 2)
    catalog.close()
    asked.close()
    with asked.snapshot() as state:
        assert state.revision() == 5
    for path in tmp_path.glob("catalog.sqlite3-*"):
        path.unlink()
    os.replace(tmp_path / "backup", catalog.path)
    # Of another mode until the catalog proper has opened it: that is for the catalog to see.
    with pytest.raises(CatalogError, match="open the library again"), asked.snapshot():
        pass
    assert QuickCatalog.open(catalog.path) is None
    with Catalog.open(catalog.path) as restored, asked.snapshot() as state:
        assert state.revision() == restored.revision() == 3


def test_a_log_of_another_file_is_left_to_the_catalog(catalog: Catalog, tmp_path: Path) -> None:
    copy_catalog(catalog.path, tmp_path / "backup")
    (tmp_path / "backup-wal").write_bytes(b"the log of another")
    assert QuickCatalog.open(tmp_path / "backup") is None
    assert (tmp_path / "backup-wal").exists()


def test_a_library_whose_model_is_lost_says_so(catalog: Catalog, asked: QuickCatalog) -> None:
    with closing(sqlite3.connect(catalog.path)) as raw:
        raw.execute("DELETE FROM models")
        raw.commit()
    with pytest.raises(CatalogDamaged) as theirs:
        catalog.model()
    with pytest.raises(CatalogDamaged) as ours, asked.snapshot() as state:
        state.model()
    assert str(ours.value) == str(theirs.value)


def test_a_forked_child_may_not_use_it(catalog: Catalog, asked: QuickCatalog) -> None:
    with pytest.MonkeyPatch.context() as patch, pytest.raises(CatalogError, match="forked"):
        patch.setattr("clipsearch.catalog.quick.os.getpid", lambda: -1)  # a child's
        with asked.snapshot():
            pass


def test_an_error_of_the_database_is_said_in_words(catalog: Catalog, asked: QuickCatalog) -> None:
    with pytest.raises(CatalogError, match="could not be used"), asked.snapshot() as state:
        state._ids("SELECT nothing FROM nowhere")
    check(catalog, asked)


def test_what_is_not_of_this_version_is_left_to_the_catalog(
    catalog: Catalog, tmp_path: Path
) -> None:
    assert current_schema().head == quick.SCHEMA
    with closing(sqlite3.connect(catalog.path)) as raw:
        raw.execute("UPDATE alembic_version SET version_num = '9999'")
        raw.commit()
    assert QuickCatalog.open(catalog.path) is None
    for content in (b"", b"nonsense" * 1000):
        (tmp_path / "other").write_bytes(content)
        assert QuickCatalog.open(tmp_path / "other") is None
    assert QuickCatalog.open(tmp_path / "missing") is None
    assert QuickCatalog.open(tmp_path) is None


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_left_to_the_catalog(catalog: Catalog) -> None:
    catalog.close()
    catalog.path.parent.chmod(0o500)
    assert QuickCatalog.open(catalog.path) is None
    catalog.path.parent.chmod(0o700)


def test_asking_leaves_the_file_as_it_was(catalog: Catalog) -> None:
    fill(catalog, 3)
    catalog.close()
    before = catalog.path.read_bytes()
    asked = QuickCatalog.open(catalog.path)
    assert asked is not None
    with asked.snapshot() as state:
        assert state.revision() == 3
    asked.close()
    assert catalog.path.read_bytes() == before


def test_a_query_needs_no_sqlalchemy(catalog: Catalog) -> None:
    fill(catalog, 3)
    program = (
        "import sys; from pathlib import Path; from clipsearch.catalog import QuickCatalog\n"
        f"with QuickCatalog.open(Path({str(catalog.path)!r})).snapshot() as state: state.model()\n"
        "assert 'sqlalchemy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=Path(__file__).parents[2])
