"""Adding a few pictures costs those, however many the library has: counted in steps of SQLite."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import Engine, event

from clipsearch.indexer.merge import merge
from clipsearch.library import Library
from clipsearch.vectors import normalise
from tests.conftest import Paint
from tests.fakes import COLOURS, ColourEncoder

STEPS_AT_ONCE = 10
N_NEW = 10


def test_ten_pictures_cost_ten_pictures(tmp_path: Path, paint: Paint, photos: Path) -> None:
    steps = {n: _steps_of_adding(tmp_path / str(n), n, paint, photos) for n in (200, 20_000)}
    assert steps[20_000] < 1.5 * steps[200]


def _steps_of_adding(folder: Path, n: int, paint: Paint, photos: Path) -> int:
    """In a library of n pictures with an index file, which lie in another folder."""
    with Library(folder, encoder=ColourEncoder()) as library:
        paint(f"first-{n}/red.png", "red")
        library.index(photos / f"first-{n}")
        _fill(library, n)
        colours = list(COLOURS.values())
        for number in range(N_NEW):
            paint(f"new-{n}/{number}.png", colours[number % len(colours)], (20 + number, 20))
        with _counted() as steps:
            report = library.index(photos / f"new-{n}")
    assert report.added == N_NEW
    return steps[0]


def _fill(library: Library, n: int) -> None:
    catalog = library._opened()
    model = catalog.model()
    assert model is not None
    with catalog.begin() as write:
        root = write.add_folder(b"/elsewhere").folder_id
        ids = [write.add_image(root, b"%06d.png" % k, 1, 1, b"%016d" % k) for k in range(n)]
        draw = np.random.default_rng(0)
        write.put_vectors(
            model.model_id, ids, normalise(draw.standard_normal((n, model.dimension)))
        )
    merge(catalog, model, library._files)


@contextmanager
def _counted() -> Iterator[list[int]]:
    """How many steps SQLite's machine takes meanwhile, in one sum."""
    steps = [0]

    def more() -> None:
        steps[0] += STEPS_AT_ONCE

    def watch(connection: Any, *_: Any) -> None:
        connection.connection.dbapi_connection.set_progress_handler(more, STEPS_AT_ONCE)

    event.listen(Engine, "before_cursor_execute", watch)
    try:
        yield steps
    finally:
        event.remove(Engine, "before_cursor_execute", watch)
