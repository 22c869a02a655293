from __future__ import annotations

import re
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine

from clipsearch.catalog import Catalog
from clipsearch.catalog.database import open_engine, reading
from clipsearch.catalog.migrations import Schema, _migrate, current_schema, prepare
from clipsearch.catalog.tables import Base
from clipsearch.errors import CatalogDamaged, CatalogError, CatalogTooNew

ROOT = Path(__file__).parents[2]

NEXT = """
import sqlalchemy as sa
from alembic import op

revision, down_revision, branch_labels, depends_on = "0004", "0003", None, None


def upgrade():
    counting = {{"sqlite_autoincrement": True}}
    with op.batch_alter_table("images", table_kwargs={kwargs}) as table:
        table.add_column(sa.Column("rating", sa.String()))
        table.alter_column("size", nullable=True)
    {more}
"""


@pytest.fixture
def filled(path, add):
    """A catalog of this version with one image in it, closed."""
    with Catalog.open(path, create=True) as catalog, catalog.begin() as batch:
        add(batch, b"a.jpg")
    return path


def next_schema(folder: Path, more: str = "", kwargs: str = "counting") -> Schema:
    """A version after this one, which changes the images by rebuilding their table."""
    scripts = shutil.copytree(current_schema().scripts, folder / "50% more")
    (scripts / "versions" / "0004_next.py").write_text(NEXT.format(more=more, kwargs=kwargs))
    return Schema((*current_schema().revisions, "0004"), scripts)


def prepare_file(path: Path, schema: Schema) -> None:
    engine = open_engine(path)
    try:
        prepare(engine, path, create=False, schema=schema)
    finally:
        engine.dispose()


def ask(path: Path, question: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as connection, connection:
        return connection.execute(question).fetchall()


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_the_revisions_are_those_of_the_scripts():
    schema = current_schema()
    config = Config()
    config.set_main_option("script_location", str(schema.scripts))
    config.set_main_option("path_separator", "os")
    scripts = ScriptDirectory.from_config(config)
    assert scripts.get_heads() == [schema.head]
    assert [script.revision for script in scripts.walk_revisions()][::-1] == list(schema.revisions)


def test_the_migrations_make_the_tables_that_the_statements_are_built_from(filled):
    engine = open_engine(filled)
    with reading(engine, filled) as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []
    engine.dispose()


def test_the_migrated_file_says_the_same_as_a_file_made_from_the_tables(filled, tmp_path):
    def schema_of(path: Path) -> set[str]:
        rows = ask(path, "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL")
        return {re.sub(r"[\s\"]+", "", sql) for (sql,) in rows if "alembic_version" not in sql}

    direct = tmp_path / "direct.sqlite3"
    engine = create_engine(f"sqlite:///{direct}")
    Base.metadata.create_all(engine)
    engine.dispose()
    assert schema_of(filled) == schema_of(direct)


def test_opening_a_catalog_that_is_up_to_date_changes_nothing(filled):
    before = contents(filled.parent)
    Catalog.open(filled).close()
    assert contents(filled.parent) == before


def test_a_newer_catalog_is_refused_and_not_a_byte_changes(filled):
    ask(filled, "UPDATE alembic_version SET version_num = '0099'")
    before = contents(filled.parent)
    for create in (False, True):
        with pytest.raises(CatalogTooNew, match=r"newer version .* 0099, .* 0003.*upgrade"):
            Catalog.open(filled, create=create)
    assert contents(filled.parent) == before


def test_a_catalog_that_does_not_say_its_version_is_refused(filled):
    ask(filled, "DELETE FROM alembic_version")
    with pytest.raises(CatalogError, match="does not say which version"):
        Catalog.open(filled)


def test_the_database_of_another_program_is_refused_and_not_a_byte_changes(tmp_path):
    path = tmp_path / "catalog.sqlite3"
    ask(path, "CREATE TABLE alembic_version (version_num TEXT)")
    before = contents(tmp_path)
    with pytest.raises(CatalogError, match="another program"):
        Catalog.open(path, create=True)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("content", [b"hi", b"\0" * 300, b"no database " * 1000])
def test_a_file_that_is_no_database_is_refused_and_not_a_byte_changes(tmp_path, content):
    path = tmp_path / "catalog.sqlite3"
    path.write_bytes(content)
    with pytest.raises(CatalogError, match="is not a SQLite database"):
        Catalog.open(path, create=True)
    assert contents(tmp_path) == {"catalog.sqlite3": content}


def test_a_damaged_catalog_is_refused_in_a_sentence(filled):
    content = filled.read_bytes()
    filled.write_bytes(content[:4096] + b"\xff" * (len(content) - 4096))
    with pytest.raises(CatalogError, match="is damaged: restore it"):
        Catalog.open(filled)


def test_an_older_catalog_is_migrated_after_a_copy_was_made(filled, tmp_path):
    before = ask(filled, "SELECT * FROM images")
    prepare_file(filled, next_schema(tmp_path))
    assert ask(filled, "SELECT version_num FROM alembic_version") == [("0004",)]
    assert ask(filled, "SELECT * FROM images") == [(*row, None) for row in before]
    assert sorted(contents(filled.parent)) == [
        "catalog.sqlite3",
        "catalog.sqlite3.before-0004",
    ]
    with Catalog.open(filled.with_name("catalog.sqlite3.before-0004")) as copy:
        assert [record.relative_path for record in copy.images(1)] == [b"a.jpg"]
    with pytest.raises(CatalogTooNew):
        Catalog.open(filled)


def test_a_process_that_comes_second_leaves_the_copy_of_the_first_alone(filled, tmp_path):
    schema = next_schema(tmp_path)
    prepare_file(filled, schema)
    before = contents(filled.parent)
    _migrate(filled, schema)  # it had seen the old revision too, and waited for the lock
    assert contents(filled.parent) == before


def test_rebuilding_a_table_keeps_the_rows_that_refer_to_it(filled, tmp_path):
    ask(filled, "INSERT INTO models VALUES (1, 'm', 'ab', 1, '{}', '', 'float32', NULL)")
    ask(filled, "INSERT INTO vectors VALUES (1, 1, 1, x'0000', 0)")
    prepare_file(filled, next_schema(tmp_path))
    assert ask(filled, "SELECT count(*) FROM vectors") == [(1,)]


def test_a_migration_that_fails_leaves_the_catalog_as_it_was(filled, tmp_path):
    before = ask(filled, "SELECT * FROM images"), ask(filled, "SELECT sql FROM sqlite_master")
    with pytest.raises(CatalogError, match="no such table: nonsense"):
        prepare_file(filled, next_schema(tmp_path, 'op.execute("DELETE FROM nonsense")'))
    assert before == (
        ask(filled, "SELECT * FROM images"),
        ask(filled, "SELECT sql FROM sqlite_master"),
    )
    with Catalog.open(filled) as catalog:
        assert catalog.counts().present == 1


def test_a_migration_that_breaks_references_is_undone(filled, tmp_path):
    with pytest.raises(CatalogError, match=r"1 rows that refer .*in table images"):
        prepare_file(filled, next_schema(tmp_path, 'op.execute("DELETE FROM folders")'))
    assert ask(filled, "SELECT count(*) FROM folders") == [(1,)]


def test_ids_of_images_that_are_gone_do_not_come_back_after_a_rebuild(filled, tmp_path, add):
    ask(filled, "UPDATE sqlite_sequence SET seq = 76 WHERE name = 'images'")
    with Catalog.open(filled) as catalog, catalog.begin() as batch:
        assert add(batch, b"b.jpg") == 77
    ask(filled, "DELETE FROM images WHERE image_id = 77")
    with pytest.raises(CatalogError, match="would let ids of images come back"):
        prepare_file(filled, next_schema(tmp_path / "a", kwargs="{}"))
    prepare_file(filled, next_schema(tmp_path / "b"))
    assert ask(filled, "SELECT seq FROM sqlite_sequence WHERE name = 'images'") == [(77,)]


@pytest.mark.parametrize("said", ["10", "0000", "\x01002", "2", "two"])
def test_a_schema_that_never_was_is_damage_and_not_a_newer_version(filled, said):
    ask(filled, f"UPDATE alembic_version SET version_num = '{said}'")
    with pytest.raises(CatalogDamaged, match=r"which there never was.*clipsearch repair"):
        Catalog.open(filled)


def test_a_revision_without_a_script_is_said(filled):
    schema = current_schema()
    with pytest.raises(CatalogError, match=r"migrations in .* cannot be run"):
        prepare_file(filled, Schema((*schema.revisions, "0004"), schema.scripts))


def run_python(program: str, *arguments: object, folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True)


OPEN = """
import sys
sys.path.insert(0, {place!r})
from clipsearch.catalog import Catalog
from clipsearch.errors import CatalogError
try:
    with Catalog.open(sys.argv[1], create=True) as catalog:
        print(catalog.uuid, any(name.split(".")[0] == "alembic" for name in sys.modules))
except CatalogError as error:
    print(error)
"""


def test_alembic_is_imported_to_migrate_only_and_not_taken_for_the_folder_of_that_name(path):
    program = OPEN.format(place=str(ROOT))
    words = [run_python(program, path, folder=ROOT).communicate()[0].split() for _ in range(2)]
    assert [imported for _, imported in words] == ["True", "False"]
    assert words[0][0] == words[1][0]


def test_processes_that_create_the_same_library_at_once_all_get_it(path):
    program = OPEN.format(place=str(ROOT))
    started = [run_python(program, path, folder=path.parent.parent) for _ in range(3)]
    uuids = {process.communicate()[0].split()[0] for process in started}
    assert len(uuids) == 1
    assert ask(path, "SELECT count(*) FROM library WHERE key = 'uuid'") == [(1,)]


def installed(folder: Path) -> Path:
    """A copy of the package as an installation lays it out, without its migrations."""
    package = folder / "clipsearch"
    shutil.copytree(ROOT / "clipsearch" / "catalog", package / "catalog")
    for module in (ROOT / "clipsearch").glob("*.py"):
        shutil.copy(module, package)
    (package / "__init__.py").write_text("")
    return package


def test_an_installed_package_finds_its_migrations_inside_itself(tmp_path, path):
    package = installed(tmp_path / "site")
    shutil.copytree(ROOT / "alembic", package / "_alembic")
    program = OPEN.format(place=str(package.parent))
    assert run_python(program, path, folder=tmp_path).communicate()[0].endswith(" True\n")


def test_an_installation_without_migrations_says_so(tmp_path, path):
    package = installed(tmp_path / "site")
    program = OPEN.format(place=str(package.parent))
    words = run_python(program, path, folder=tmp_path).communicate()[0]
    assert words.startswith("the migrations are missing from the installation")


def test_a_library_of_the_first_schema_is_migrated_without_losing_anything(tmp_path):
    path = tmp_path / "catalog.sqlite3"
    path.touch()
    engine = open_engine(path)
    prepare(engine, path, create=True, schema=Schema(("0001",), current_schema().scripts))
    engine.dispose()
    ask(path, "INSERT INTO folders VALUES (1, x'2f70')")
    ask(path, "INSERT INTO images VALUES (7, 1, x'61', 1, 2, x'68', 3, 4, NULL, 'present', NULL)")
    ask(path, "INSERT INTO models VALUES (1, 'm', 'ab', 1, '{}', '', 'float32', NULL)")
    ask(path, "INSERT INTO vectors VALUES (9, 7, 1, x'003c', 0)")
    tables = ("library", "folders", "images", "models", "vectors")
    before = {table: ask(path, f"SELECT * FROM {table}") for table in tables}
    with Catalog.open(path) as catalog:
        (record,) = catalog.images(1)
        assert (record.image_id, record.ctime_ns, record.unsure_since_ns) == (7, None, None)
        assert catalog.failures() == [] and catalog.forgotten_count() == 0
    assert ask(path, "SELECT version_num FROM alembic_version") == [("0003",)]
    before["images"] = [(*row, *11 * (None,)) for row in before["images"]]
    assert before == {table: ask(path, f"SELECT * FROM {table}") for table in tables}
