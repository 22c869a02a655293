"""A library of a few colours with an index file, and ways to ruin it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from clipsearch.indexer.merge import merge
from clipsearch.library import Library
from tests.conftest import Paint
from tests.fakes import COLOURS

Ruin = Callable[..., None]


@pytest.fixture
def sound(library: Library, paint: Paint, photos: Path) -> Library:
    """Eight pictures, an unreadable file and a missing one; an index file of all vectors."""
    for colour in COLOURS:
        paint(f"{colour}.png", colour)
    paint("gone.png", (9, 99, 9))
    (photos / "bad.png").write_bytes(b"no picture")
    library.index(photos)
    (photos / "gone.png").unlink()
    library.index(photos)
    catalog = library._opened()
    model = catalog.model()
    assert model is not None
    merge(catalog, model, library._files)
    return library


@pytest.fixture
def ruin(sound: Library) -> Ruin:
    """ruin("UPDATE …") runs statements past every constraint."""

    def ruin(*statements: str) -> None:
        with closing(sqlite3.connect(sound.path / "catalog.sqlite3")) as connection, connection:
            connection.execute("PRAGMA ignore_check_constraints = 1")
            for statement in statements:
                connection.executescript(statement)

    return ruin
