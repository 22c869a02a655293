"""Brings a catalog file to the schema of this version: creates it, migrates it, or refuses it.

In: a path. Out: a file whose tables are those of `tables.py`. Alembic is imported only if needed.
"""

from __future__ import annotations

import re
import threading
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Connection, Engine, insert

from clipsearch.catalog.connecting import is_read_only
from clipsearch.catalog.copies import copy_catalog
from clipsearch.catalog.database import ensure_wal, open_engine, reading, writing
from clipsearch.catalog.quick import APPLICATION_ID
from clipsearch.catalog.tables import LibraryRow
from clipsearch.errors import CatalogDamaged, CatalogError, CatalogTooNew, NoLibrary

_REVISION = re.compile(r"[0-9]{4}(?![0-9])")  # how every name of a schema begins

# Alembic keeps the migration that is running in one place per process.
_ALEMBIC = threading.Lock()


@dataclass(frozen=True)
class Schema:
    """The revisions that this version knows, oldest first, and the folder that makes them."""

    revisions: Sequence[str]
    scripts: Path

    @property
    def head(self) -> str:
        return self.revisions[-1]


def current_schema() -> Schema:
    """The schema of this version: a new migration adds its revision here."""
    return Schema(("0001", "0002", "0003"), _scripts_folder())


def prepare(engine: Engine, path: Path, *, create: bool, schema: Schema) -> None:
    """Make sure that the file has this schema; usually that takes two short questions.

    Raises NoLibrary if it is empty and not to be created, CatalogTooNew if a newer version made it,
    CatalogError if it is something else; then not a byte of it has changed.
    """
    with reading(engine, path) as connection:
        revision = _revision(connection, path, schema)
    if revision is None and not create:
        raise NoLibrary(f"{path} is empty: index a folder to make a library there")
    if revision == schema.head and is_read_only(path):
        return
    ensure_wal(engine, path)
    if revision != schema.head:
        _migrate(path, schema)


def _revision(connection: Connection, path: Path, schema: Schema) -> str | None:
    """Which of the schema's revisions the file has, None if it has nothing in it."""
    application = connection.exec_driver_sql("PRAGMA application_id").scalar_one()
    if application != APPLICATION_ID:
        if connection.exec_driver_sql("SELECT count(*) FROM sqlite_master").scalar_one():
            raise CatalogError(
                f"{path} is the database of another program: choose another folder for the library"
            )
        return None
    named = "SELECT count(*) FROM sqlite_master WHERE name = 'alembic_version'"
    found = None
    if connection.exec_driver_sql(named).scalar_one():
        statement = "SELECT max(version_num) FROM alembic_version"
        found = connection.exec_driver_sql(statement).scalar_one()
    if found is None:
        raise CatalogDamaged(
            f"{path} does not say which version made it: restore it from a copy, or run "
            "clipsearch repair"
        )
    if found not in schema.revisions:
        if not (_REVISION.match(str(found)) and str(found) > schema.head):
            raise CatalogDamaged(
                f"{path} says that it has the schema {found!r}, which there never was: restore it "
                "from a copy, or run clipsearch repair"
            )
        raise CatalogTooNew(
            f"{path} was made by a newer version of clipsearch (its schema is {found}, the newest "
            f"known here {schema.head}): upgrade clipsearch, or choose another library"
        )
    return str(found)


def _migrate(path: Path, schema: Schema) -> None:
    # With foreign keys on, rebuilding a table, which is SQLite's way to change one, would delete
    # the rows that refer to it. They are checked at the end instead.
    engine = open_engine(path, foreign_keys=False)
    try:
        with writing(engine, path) as connection:
            revision = _revision(connection, path, schema)
            if revision == schema.head:
                return  # another process was first
            if revision is not None:
                copy_catalog(path, path.with_name(f"{path.name}.before-{schema.head}"))
            sequences = _sequences(connection)
            _run_alembic(connection, schema)
            _check_references(connection, path)
            _keep_sequences(connection, sequences)
            if revision is None:
                _describe(connection)
    finally:
        engine.dispose()


def _run_alembic(connection: Connection, schema: Schema) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    # A percent sign means something to the parser of ini files that Alembic keeps its options in.
    config.set_main_option("script_location", str(schema.scripts).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    try:
        with _ALEMBIC:
            command.upgrade(config, schema.head)
    except CommandError as error:
        raise CatalogError(f"the migrations in {schema.scripts} cannot be run: {error}") from error


def _check_references(connection: Connection, path: Path) -> None:
    broken = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
    if broken:
        raise CatalogError(
            f"{path} has {len(broken)} rows that refer to rows which do not exist "
            f"(the first in table {broken[0][0]}): it was not migrated, restore it from a copy"
        )


def _sequences(connection: Connection) -> dict[str, int]:
    """The highest id that was ever given, by table."""
    has_any = "SELECT count(*) FROM sqlite_master WHERE name = 'sqlite_sequence'"
    if not connection.exec_driver_sql(has_any).scalar_one():
        return {}
    rows = connection.exec_driver_sql("SELECT name, seq FROM sqlite_sequence")
    return {str(name): int(seq) for name, seq in rows}


def _keep_sequences(connection: Connection, before: dict[str, int]) -> None:
    # A table that is rebuilt counts from the highest id that is left in it, or, without
    # sqlite_autoincrement, gives old ids anew; an index file may still hold them.
    after = _sequences(connection)
    for table, seq in before.items():
        if table not in after:
            raise CatalogError(
                f"the migration would let ids of {table} come back: rebuild the table with "
                "table_kwargs={'sqlite_autoincrement': True}"
            )
        statement = "UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = ?"
        connection.exec_driver_sql(statement, (seq, table))


def _describe(connection: Connection) -> None:
    facts = {"uuid": str(uuid.uuid4()), "created": datetime.now(UTC).isoformat(timespec="seconds")}
    rows = [{"key": key, "value": value} for key, value in facts.items()]
    connection.execute(insert(LibraryRow), rows)


def _scripts_folder() -> Path:
    """In the installed package if it is there, else in the repository.

    In this order, because a folder "alembic" beside an installed package is Alembic itself.
    """
    package = Path(__file__).parents[1]
    for folder in (package / "_alembic", package.parent / "alembic"):
        if (folder / "env.py").is_file():
            return folder
    raise CatalogError(
        f"the migrations are missing from the installation in {package}: install clipsearch again"
    )
