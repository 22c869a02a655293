"""An empty catalog in a folder of its own, and a short way to fill it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from clipsearch.catalog import Batch, Catalog, ModelRecord

MODEL = ModelRecord("tiny", "ab" * 32, 4, {"mean": (0.5, 0.5), "size": 32}, "quick_gelu")

AddImage = Callable[..., int]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "library" / "catalog.sqlite3"


@pytest.fixture
def catalog(path: Path) -> Iterator[Catalog]:
    with Catalog.open(path, create=True) as catalog:
        catalog.set_model(MODEL)
        yield catalog


@pytest.fixture
def add() -> AddImage:
    """add(batch, name, value=None, folder=b"/pictures", **details) → image id; a value makes a
    vector of four times that number."""

    def add_image(
        batch: Batch,
        name: bytes,
        value: float | None = None,
        folder: bytes = b"/pictures",
        **details: object,
    ) -> int:
        folder_id = batch.add_folder(folder).folder_id
        image_id = batch.add_image(folder_id, name, 10, 20, b"hash of " + name, **details)  # type: ignore[arg-type]
        if value is not None:
            batch.put_vectors(1, [image_id], np.full((1, 4), value, np.float32))
        return image_id

    return add_image
