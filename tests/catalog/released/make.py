"""Write a small library as this version makes it, to be kept for ever.

Run as `python -m tests.catalog.released.make` when a schema is released; older files stay.

In: the code of that version. Out: `<revision>.sqlite3` and, beside it, what it must say for ever.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

import numpy as np

from clipsearch.catalog import Batch, Catalog, ModelRecord
from clipsearch.catalog.migrations import current_schema

FOLDER = Path(__file__).parent
MODELS = (
    ModelRecord("small", "ab" * 32, 4, {"size": 32, "mean": [0.5, 0.5]}, "quick_gelu", "float32"),
    ModelRecord("other", "cd" * 32, 6, {"size": 48}, "gelu", "bfloat16", bundle_path=b"/m\xff"),
)
NAMES = (b"a.jpg", b"deep/er/b.png", b"not utf-8 \xff\xfe.jpg", b"line\nbreak.jpg", b"-dash.jpg")
SHOT = {
    "format": "jpeg",
    "camera": "Canon EOS 5D",
    "lens": "EF50mm f/1.8",
    "latitude": 48.5,
    "longitude": -2.25,
    "orientation": 6,
    "zone": "+02:00",
    "details": 1,
}


def make(path: Path) -> None:
    """Present, missing and unreadable images in two roots, with vectors of two models."""
    with Catalog.open(path, create=True) as catalog:
        catalog.set_model(MODELS[0])
        with catalog.begin() as batch:
            fill(batch)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")  # one file, with nothing beside it


def fill(batch: Batch) -> None:
    for model in MODELS:
        batch.add_model(model)
    roots = [batch.add_folder(b"/pictures"), batch.add_folder(b"/other/\xffroot")]
    rng = np.random.default_rng(1)
    ids = []
    for n, name in enumerate(NAMES * 2):
        root = roots[n // len(NAMES)]
        digest = hashlib.blake2b(name, digest_size=16).digest()
        details = {
            "width": 40 + n,
            "height": 30,
            "taken_at": "2020-02-02T12:00:00" if n else None,
            "ctime_ns": 10**18 + n if n else None,
            "unsure_since_ns": 10**18 if n == 1 else None,
            **(SHOT if n == 2 else {}),
        }
        image_id = batch.add_image(root.folder_id, name, 100 + n, 10**18 + n, digest, **details)
        ids.append(image_id)
    for model_id, model in enumerate(MODELS, 1):
        vectors = rng.normal(size=(len(ids), model.dimension))
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        batch.put_vectors(model_id, ids, vectors)
    batch.put_vectors(1, ids[:1], np.eye(1, 4))  # a newer revision
    bad = {"width": 9, "height": 9, "state": "unreadable", "reason": "no picture"}
    batch.add_image(1, b"bad.jpg", 5, 6, b"h" * 16, decoder="Pillow 13", **bad)
    batch.add_image(1, b"secret.jpg", 5, 6, None, state="unreadable", reason="may not be opened")
    gone = batch.add_image(2, b"was bad.jpg", 5, 6, b"i" * 16, state="unreadable", reason="cut off")
    batch.mark_missing([ids[3], ids[7], gone])
    batch.set_problems(1, b"", {b"pipe.jpg": "not a regular file", b"\xff/": "cannot be read"})
    batch.save_query("beach", "sand + sea - people")
    batch.forget([batch.add_image(2, b"forgotten.jpg", 5, 6, b"j" * 16)])


def content(path: Path) -> dict[str, list[list[object]]]:
    """All rows of all tables, by column name in the order of the table, bytes as hex."""
    with closing(sqlite3.connect(path)) as connection:
        tables = connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name != 'alembic_version' "
            "ORDER BY name"
        ).fetchall()
        return {name: rows(connection, name) for (name,) in tables}


def rows(connection: sqlite3.Connection, table: str) -> list[list[object]]:
    found = connection.execute(f"SELECT * FROM {table} ORDER BY 1")
    names = [column[0] for column in found.description]
    return [names, *([plain(value) for value in row] for row in found)]


def plain(value: object) -> object:
    return {"hex": value.hex()} if isinstance(value, bytes) else value


def main() -> None:
    file = FOLDER / f"{current_schema().head}.sqlite3"
    if file.exists():
        raise SystemExit(f"{file} is released: it stays as it is")
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "catalog.sqlite3"
        make(made)
        file.write_bytes(made.read_bytes())
    said = json.dumps(content(file), indent=1)
    file.with_suffix(".json").write_text(f"{said}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
