"""`clipsearch status`, `clipsearch errors`: what the library holds, what could not be read."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from clipsearch.cli import render
from clipsearch.cli.opening import open_library
from clipsearch.cli.options import ExitCode, JsonOption, LibraryOption, ModelOption
from clipsearch.paths import path_fields

if TYPE_CHECKING:
    from clipsearch.query.base import Coverage
    from clipsearch.query.status import Status


def status(
    library: LibraryOption = None, model: ModelOption = None, as_json: JsonOption = False
) -> int:
    """Show what the library holds: pictures, folders, model, index."""
    with open_library(library, model) as opened:
        found = opened.status()
    if as_json:
        render.json_object(to_json(found))
    else:
        render.columns(to_rows(found))
    for warning in found.warnings:
        render.note(warning)
    return ExitCode.DONE


def errors(
    library: LibraryOption = None, model: ModelOption = None, as_json: JsonOption = False
) -> int:
    """List what could not be used, with the reason."""
    with open_library(library, model) as opened:
        found = opened.errors()
    if as_json:
        files = [path_fields(error.path) | {"reason": render.reason(error)} for error in found]
        render.json_object({"errors": files})
    elif found:
        render.rows_of_paths(
            ("reason", "path"), [(render.reason(error), error.path) for error in found]
        )
    else:
        render.note("every file could be read")
    return ExitCode.DONE


def to_json(found: Status) -> dict[str, Any]:
    folders = [
        {**path_fields(folder.path), "n_images": folder.n_images} for folder in found.folders
    ]
    return asdict(found) | path_fields(found.path) | {"folders": folders}


def to_rows(found: Status) -> list[tuple[str, str]]:
    model = f"{found.model}, {found.dimension} numbers a vector" if found.model else "none yet"
    return [
        ("library", str(found.path)),
        ("model", model),
        ("pictures", counts(found)),
        *(("folder", f"{folder.path}: {folder.n_images:,}") for folder in found.folders),
        ("catalog", render.size(found.catalog_bytes)),
        ("index", index_line(found.index)),
        *([("", found.index.explanation)] if found.index.explanation else []),
    ]


def counts(found: Status) -> str:
    """Say how many pictures there are, leaving out what there is none of."""
    n_failures = found.n_unreadable + found.n_problems
    others = [(found.n_missing, "missing"), (n_failures, "unreadable (see errors)")]
    return ", ".join([f"{found.n_images:,}", *(f"{n:,} {what}" for n, what in others if n)])


def index_line(index: Coverage) -> str:
    """Say how pictures are searched: those in the index file, and those newer than it."""
    if not index.n_base:
        return f"no file yet, {index.n_tail:,} searched in the catalog"
    parts = [f"{index.recipe}, {index.n_base:,} in the file"]
    parts += [f"{index.n_tail:,} newer ones in the catalog"] if index.n_tail else []
    parts += [f"{index.n_dead:,} left out"] if index.n_dead else []
    return ", ".join(parts)
