"""Where a repair puts what it takes out: a folder inside the library, from which nothing is ever
deleted. Files are moved there, rows are written down as lines of JSON."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path

from clipsearch.errors import CatalogError

FOLDER = "quarantine"
ROWS_FILE = "rows.jsonl"


class Quarantine:
    """The place of one repair. Its folder is made when there is something to put there."""

    def __init__(self, library: Path) -> None:
        self.stamp = datetime.now().strftime("%Y%m%d-%H%M%S-%f")
        self.folder = library / FOLDER / self.stamp
        self.is_used = False

    def move(self, path: Path) -> Path:
        """Take a file away from where it is. Returns where it is now."""
        moved = self._made() / path.name
        try:
            os.rename(path, moved)
        except OSError as error:
            raise _refused(path, error) from error
        return moved

    def keep_rows(self, rows: Iterable[Mapping[str, object]]) -> int:
        """Write rows down, on disk when this returns; bytes as base64. Returns how many."""
        n_rows = 0
        rows = iter(rows)
        first = next(rows, None)
        if first is None:
            return 0
        path = self._made() / ROWS_FILE
        try:
            with open(path, "a", encoding="utf-8") as file:
                for row in (first, *rows):
                    file.write(json.dumps(_plain(row), ensure_ascii=True) + "\n")
                    n_rows += 1
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise _refused(path, error) from error
        return n_rows

    def _made(self) -> Path:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _refused(self.folder, error) from error
        self.is_used = True
        return self.folder


def _plain(row: Mapping[str, object]) -> dict[str, object]:
    values: dict[str, object] = {}
    for name, value in row.items():
        if isinstance(value, bytes):
            values[f"{name}_base64"] = base64.b64encode(value).decode("ascii")
            if "path" in name:
                values[name] = os.fsdecode(value).encode("utf-8", "replace").decode("utf-8")
        else:
            values[name] = value
    return values


def _refused(path: Path, error: OSError) -> CatalogError:
    reason = (error.strerror or str(error)).lower()
    return CatalogError(
        f"{path} cannot be written ({reason}): free some space, check the permissions, repair again"
    )
