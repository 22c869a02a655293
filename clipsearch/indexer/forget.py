"""Forget files for good: their rows and their vectors, whatever state they are in.

In: paths, which need not exist any more. Out: how many were forgotten. Only for the one writer;
touches no picture.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from clipsearch.catalog import Catalog, CatalogReads, FolderRecord

IMAGES_PER_BATCH = 10_000


@dataclass(frozen=True)
class Forgotten:
    """How many files were forgotten, and the paths at or below which the library had none.

    `notes` say what else went wrong without undoing that.
    """

    n_files: int = 0
    not_found: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Part:
    """A known root, or what lies at or below one of its relative paths."""

    folder: FolderRecord
    place: bytes = b""


def forget(catalog: Catalog, paths: Sequence[str | Path], *, only_missing: bool) -> Forgotten:
    """Forget what the library has at or below these paths; of the missing files, if so asked.

    Without paths everywhere. A file that is still there is new to the next run of the indexer.
    """
    if not paths:
        return Forgotten(_forget(catalog, [_Part(f) for f in catalog.folders()], only_missing))
    n_files, not_found = 0, []
    for path in map(Path, paths):
        n_here = _forget_path(catalog, path, only_missing)
        n_files += n_here
        if not n_here:
            not_found.append(path)
    return Forgotten(n_files, tuple(not_found))


def _forget_path(catalog: Catalog, path: Path, only_missing: bool) -> int:
    path = path.expanduser()
    # Roots are recorded without links, but a picture may be one: then it is meant, not its target.
    folder, name = os.path.split(os.path.abspath(path))
    named = {os.path.join(folder, name), os.path.join(os.path.realpath(folder), name)}
    for places in (named, {os.path.realpath(path)} - named):
        parts = [part for place in places for part in _parts(catalog, os.fsencode(place))]
        if n_files := _forget(catalog, parts, only_missing):
            return n_files
    return 0


def _parts(catalog: CatalogReads, path: bytes) -> Iterator[_Part]:
    """Where the library may have something at or below an absolute path."""
    for folder in catalog.folders():
        root = folder.path_bytes.rstrip(b"/")
        if path.startswith(root + b"/") and path != b"/":
            yield _Part(folder, path[len(root) + 1 :])
        elif path == folder.path_bytes or root.startswith(path.rstrip(b"/") + b"/"):
            yield _Part(folder)


def _forget(catalog: Catalog, parts: Sequence[_Part], only_missing: bool) -> int:
    n_files = 0
    for part in parts:
        ids = iter(
            [
                record.image_id
                for record in catalog.images(part.folder.folder_id, part.place)
                if record.state == "missing" or not only_missing
            ]
        )
        while some := list(islice(ids, IMAGES_PER_BATCH)):
            with catalog.begin() as write:
                write.forget(some)
            n_files += len(some)
        if only_missing:
            continue
        with catalog.begin() as write:
            n_files += write.set_problems(part.folder.folder_id, part.place, {})
            if not part.place:
                write.remove_folder(part.folder.folder_id)
    return n_files
