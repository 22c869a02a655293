"""A catalog of every released schema opens in this version, and nothing in it is lost, whatever
happens while it is brought up to date."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from clipsearch.catalog import Catalog
from clipsearch.catalog.inspection import inspecting
from clipsearch.catalog.migrations import current_schema
from tests.catalog.released.make import FOLDER, content
from tests.catalog.test_migrations import next_schema, prepare_file

ROOT = Path(__file__).resolve().parents[2]
RELEASED = sorted(FOLDER.glob("*.sqlite3"))
each_release = pytest.mark.parametrize("released", RELEASED, ids=lambda file: file.stem)


@pytest.fixture
def opened(tmp_path: Path, released: Path) -> Path:
    """A copy of a released catalog."""
    path = tmp_path / "library" / "catalog.sqlite3"
    path.parent.mkdir()
    shutil.copy(released, path)
    return path


def what_it_said(released: Path) -> dict[str, list[list[object]]]:
    said: dict[str, list[list[object]]] = json.loads(released.with_suffix(".json").read_text())
    return said


def lost(path: Path, said: dict[str, list[list[object]]]) -> list[str]:
    """Tables of which a column or a value is not there any more; new columns do not matter."""
    now, missing = content(path), []
    for table, (names, *rows) in said.items():
        new_names, *new_rows = now.get(table, [[]])
        if not set(names) <= set(new_names):
            missing.append(table)
            continue
        places = [new_names.index(name) for name in names]
        if [[row[place] for place in places] for row in new_rows] != rows:
            missing.append(table)
    return missing


def test_every_schema_is_kept() -> None:
    assert [file.stem for file in RELEASED] == list(current_schema().revisions)


@each_release
def test_the_file_says_what_it_said(released: Path) -> None:
    assert content(released) == what_it_said(released)


@each_release
def test_it_opens_and_nothing_is_lost(opened: Path, released: Path) -> None:
    with Catalog.open(opened) as catalog:
        assert catalog.counts().images == 13
        assert len(catalog.vectors_of(1, range(1, 11))[0]) == 10
        states = [record.state for record in catalog.records(range(1, 14)).values()]
        assert [states.count(state) for state in ("present", "missing", "unreadable")] == [8, 3, 2]
    assert lost(opened, what_it_said(released)) == []
    with inspecting(opened) as state:
        assert (state.integrity_problems(), state.schema_problems()) == ([], [])
        assert list(state.contradictions()) == []


@each_release
def test_the_copy_made_before_is_the_file_that_was(
    opened: Path, released: Path, tmp_path: Path
) -> None:
    """Also with a schema that is still to come."""
    schema = next_schema(tmp_path)
    prepare_file(opened, schema)
    assert lost(opened, what_it_said(released)) == []
    copy = opened.with_name(f"catalog.sqlite3.before-{schema.head}")
    assert content(copy) == what_it_said(released)


KILLED = """
import os, shutil, sys
from pathlib import Path
sys.path.insert(0, os.getcwd())
from sqlalchemy import Engine, event
import alembic.command, alembic.config
from tests.catalog.test_migrations import next_schema, prepare_file

# One process imports everything; each try is a child that has opened nothing yet.
released, place = map(Path, sys.argv[1:])
schema = next_schema(place)
for n_statements in range(1000):
    path = place / str(n_statements) / "catalog.sqlite3"
    path.parent.mkdir()
    shutil.copy(released, path)
    child = os.fork()
    if not child:
        left = [n_statements]
        def count(*_):
            if not left[0]: os.kill(os.getpid(), 9)
            left[0] -= 1
        event.listen(Engine, "before_cursor_execute", count)
        event.listen(Engine, "commit", count)
        prepare_file(path, schema)
        os._exit(0)
    if os.waitpid(child, 0)[1] == 0:
        print(n_statements)
        break
"""


@each_release
def test_killed_at_any_statement_of_a_migration_it_is_the_old_or_the_new(
    released: Path, tmp_path: Path
) -> None:
    words = [sys.executable, "-c", KILLED, str(released), str(tmp_path)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    n_statements = int(done.stdout)
    assert n_statements > 15  # there were that many moments to be killed at
    said, schema = what_it_said(released), current_schema()
    for n in range(n_statements + 1):
        path = tmp_path / str(n) / "catalog.sqlite3"
        with inspecting(path) as state, state._reading() as connection:
            found = connection.exec_driver_sql("SELECT version_num FROM alembic_version")
            revision = found.scalar_one()
        assert lost(path, said) == []
        if revision in schema.revisions:
            Catalog.open(path).close()
            assert lost(path, said) == []
        else:
            assert n == n_statements
