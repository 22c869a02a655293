"""How Alembic runs the migrations: on the connection that the program hands over, inside its
transaction; or, for developers, on the file named by `alembic -x catalog=FILE ...`."""

from __future__ import annotations

from pathlib import Path

from alembic import context
from alembic.util import CommandError
from sqlalchemy import Connection

from clipsearch.catalog.database import ensure_wal, open_engine, writing
from clipsearch.catalog.tables import Base


def run(connection: Connection) -> None:
    # SQLite changes a table by rebuilding it, which Alembic calls a batch.
    context.configure(connection, target_metadata=Base.metadata, render_as_batch=True)
    with context.begin_transaction():
        context.run_migrations()


def run_on_file(name: str | None) -> None:
    if not name:
        raise CommandError("name the file to work on: alembic -x catalog=FILE ...")
    path = Path(name)
    path.touch()
    engine = open_engine(path, foreign_keys=False)
    try:
        ensure_wal(engine, path)
        with writing(engine, path) as connection:
            run(connection)
    finally:
        engine.dispose()


if context.is_offline_mode():
    raise CommandError("clipsearch migrates its catalogs itself and needs no SQL scripts")

handed_over = context.config.attributes.get("connection")
if handed_over is not None:
    run(handed_over)
else:
    run_on_file(context.get_x_argument(as_dictionary=True).get("catalog"))
