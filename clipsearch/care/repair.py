"""Make a library sound again, and lose nothing that can be read.

In: the library's folder, under its lock. Out: a RepairReport. What is taken out goes to quarantine;
nothing is deleted. Stopped at any moment it leaves the old state or the new one.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from clipsearch.care.check import vector_flaws
from clipsearch.care.index_files import judged
from clipsearch.care.quarantine import Quarantine
from clipsearch.care.report import Findings, OnCheckProgress
from clipsearch.errors import (
    CatalogDamaged,
    CatalogError,
    LibraryLocked,
    NoLibrary,
    VectorIndexError,
)
from clipsearch.indexer.merge import merge

if TYPE_CHECKING:
    from clipsearch.catalog import Catalog
    from clipsearch.catalog.amendments import Amendments, TakenOut
    from clipsearch.query.base import BaseFiles


ROWS_AT_ONCE = 1000  # on their way to quarantine


@dataclass(frozen=True)
class RepairReport:
    """What a repair did, in sentences; where what it took out lies; what is left to do."""

    actions: tuple[str, ...] = ()
    quarantine: Path | None = None
    needs_index: bool = False  # only indexing the folders again brings everything back
    seconds: float = 0.0

    def to_dict(self) -> dict[str, object]:
        """The report as JSON-able values."""
        return asdict(self) | {"quarantine": str(self.quarantine) if self.quarantine else None}


@dataclass
class _Repair:
    """One repair while it goes on."""

    file: Path
    files: BaseFiles
    quarantine: Quarantine
    findings: Findings  # only for its way to tell how far things are
    actions: list[str] = field(default_factory=list)
    needs_index: bool = False

    def did(self, what: str) -> None:
        self.actions.append(what)


def repair(
    file: Path, files: BaseFiles, on_progress: OnCheckProgress | None = None
) -> RepairReport:
    """Repair the catalog, then the index files. Only for the one writer.

    Raises NoLibrary if there is nothing, CatalogTooNew for what a newer version made, CatalogError
    for the database of another program, or if the disk does not take what has to be written.
    """
    started = time.monotonic()
    if not file.exists():
        raise NoLibrary(f"there is no library at {file}: index a folder to make one")
    work = _Repair(file, files, Quarantine(file.parent), Findings(on_progress))
    _repair_log(work)
    if _repair_catalog(work):
        _repair_index(work)
    else:
        _move_index_files(work)
    place = work.quarantine.folder if work.quarantine.is_used else None
    seconds = time.monotonic() - started
    return RepairReport(tuple(work.actions), place, work.needs_index, seconds)


def _repair_log(work: _Repair) -> None:
    """Move a write-ahead log of another file away before SQLite plays it into this one."""
    from clipsearch.catalog.connecting import log_of, refuse_foreign_log
    from clipsearch.catalog.inspection import inspecting, uuid_without_log

    try:
        refuse_foreign_log(work.file)
        alone = uuid_without_log(work.file)
        if alone is None or not log_of(work.file).exists():
            return
        with inspecting(work.file) as state:
            if state.uuid == alone:
                return
    except CatalogDamaged as error:
        if "log of another file" not in str(error):
            return  # of the file itself, whose turn comes
    except CatalogError:
        return
    moved = work.quarantine.move(log_of(work.file))
    work.file.with_name(f"{work.file.name}-shm").unlink(missing_ok=True)
    work.did(f"moved the write-ahead log of another file to {moved}")


def _repair_catalog(work: _Repair) -> bool:
    """Returns whether there is a catalog in the end."""
    from clipsearch.catalog import Catalog

    try:
        Catalog.open(work.file).close()  # brings an older version's file up to date
        if _is_mended(work):
            return True
    except CatalogDamaged:
        pass
    if not _salvage(work):
        return False
    Catalog.open(work.file).close()  # gives the new file its write-ahead log
    _mend(work)
    return True


def _is_mended(work: _Repair) -> bool:
    """Mend what can be mended in place. Returns whether that was all."""
    try:
        _mend(work)
    except (CatalogDamaged, LibraryLocked):
        raise
    except CatalogError:
        # Damaged pages also show as rows that contradict each other.
        if not _page_problems(work.file):
            raise
        return False
    return not _page_problems(work.file)


def _mend(work: _Repair) -> None:
    """Put right what is wrong in single rows, in one transaction."""
    from clipsearch.catalog.amendments import amending
    from clipsearch.catalog.inspection import inspecting

    with inspecting(work.file) as state:
        if state.schema_problems():
            raise CatalogDamaged(f"{work.file} has other tables than it should")
        dimensions, n_vectors, n_done = state.dimensions(), state.counts().vectors, 0
        flawed: dict[int, str] = {}
        for rows in state.stored_vectors():
            flawed |= {row.vector_id: what for row, what in vector_flaws(rows, dimensions)}
            n_done += len(rows)
            work.findings.tell("vectors", n_done, n_vectors)
    with amending(work.file) as write:
        n_taken = work.quarantine.keep_rows(_taken_out(write, flawed))
        n_mended, lost_model = write.mend_states(), write.mend_model()
    place = work.quarantine.folder
    if n_taken:
        work.did(f"took {n_taken:,} rows that were no good out to {place}")
    if n_mended:
        work.did(f"mended the state of {n_mended:,} images")
    if lost_model:
        work.did("forgot a model that is not in its table")
    work.needs_index = work.needs_index or bool(n_taken or n_mended or lost_model)


def _taken_out(write: Amendments, flawed: dict[int, str]) -> Iterator[TakenOut]:
    doomed = {row: "its image or model does not exist" for row in write.vectors_without_owner()}
    doomed |= flawed
    for row in write.take_out_vectors(doomed):
        yield row | {"why": doomed[row["vector_id"]]}
    yield from write.take_out_homeless_images()


def _page_problems(file: Path) -> list[str]:
    from clipsearch.catalog.inspection import inspecting

    with inspecting(file) as state:
        return [*state.integrity_problems(), *state.schema_problems()]


def _salvage(work: _Repair) -> bool:
    """Make a new file of what can be read of the damaged one. Returns whether there is one."""
    from clipsearch.catalog.copies import part_of
    from clipsearch.catalog.salvage import is_database, keep_log, replace_damaged, salvage

    kept = work.file.with_name(f"{work.file.name}.corrupt-{work.quarantine.stamp}")
    work.needs_index = True
    keep_log(work.file, kept)
    if not is_database(work.file):
        replace_damaged(work.file, None, kept)
        work.did(f"moved {work.file.name}, which SQLite cannot read at all, to {kept}")
        return False
    new = part_of(work.file)
    refused: list[dict[str, object]] = []

    def on_refused(table: str, row: dict[str, object], why: str) -> None:
        refused.append({"table": table, **row, "why": why})
        if len(refused) == ROWS_AT_ONCE:
            work.quarantine.keep_rows(refused)
            refused.clear()

    work.findings.tell("salvage", 0, 0)
    done = salvage(work.file, new, on_refused)
    work.quarantine.keep_rows(refused)
    replace_damaged(work.file, new, kept)
    images, vectors = done.kept.get("images", 0), done.kept.get("vectors", 0)
    work.did(
        f"made a new catalog of the {images:,} images and {vectors:,} vectors that could be read; "
        f"the damaged one is {kept}"
    )
    if done.refused:
        work.did(f"took {done.refused:,} rows that contradict others to {work.quarantine.folder}")
    return True


def _repair_index(work: _Repair) -> None:
    from clipsearch.catalog import Catalog

    with Catalog.open(work.file) as catalog:
        bad = [
            path for path, problems in judged(catalog, work.files.folder, work.findings) if problems
        ]
        for path in bad:
            work.did(f"moved the index file {path.name} to {work.quarantine.move(path)}")
        if bad and not work.files.has_files():
            _rebuild(work, catalog)


def _rebuild(work: _Repair, catalog: Catalog) -> None:
    model = catalog.model()
    if model is None or not catalog.vector_count(model.model_id):
        return
    try:
        path = merge(catalog, model, work.files)
    except VectorIndexError as error:
        work.did(f"could not build a new index file: {error}")
    else:
        work.did(f"built a new index file, {path.name}")


def _move_index_files(work: _Repair) -> None:
    """Without a catalog they are of no use, and no catalog to come will be theirs."""
    for path in sorted(work.files.folder.glob("base-*.idx")):
        work.did(f"moved the index file {path.name} to {work.quarantine.move(path)}")
