"""Look at everything that a library keeps, and say what is not as it should be.

In: the library's folder. Out: a CheckReport. Changes nothing, and an indexer may work meanwhile.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from clipsearch.care.index_files import check_index_files
from clipsearch.care.pictures import check_pictures
from clipsearch.care.report import CheckReport, Findings, Kind, OnCheckProgress
from clipsearch.errors import CatalogDamaged, CatalogError, NoLibrary

if TYPE_CHECKING:
    from clipsearch.catalog.inspection import Inspection, StoredVector


def check(
    catalog_file: Path,
    index_folder: Path,
    *,
    read_data: float = 0.0,
    on_progress: OnCheckProgress | None = None,
) -> CheckReport:
    """Check catalog and index files, and the pictures themselves: all for `read_data=1`, a share
    of them for less.

    Raises NoLibrary if there is none, CatalogTooNew for that of a newer version.
    """
    from clipsearch.catalog import Catalog

    started = time.monotonic()
    findings = Findings(on_progress)
    if not catalog_file.exists():
        raise NoLibrary(f"there is no library at {catalog_file}: index a folder to make one")
    try:
        with Catalog.open(catalog_file) as catalog:
            check_catalog(catalog_file, findings)
            # Without a sound catalog there is nothing to hold the rest against.
            if not findings.counts[Kind.CATALOG] and not findings.counts[Kind.SCHEMA]:
                check_index_files(catalog, index_folder, findings)
                if read_data:
                    check_pictures(catalog, read_data, findings)
    except CatalogDamaged as error:
        _damaged(error, catalog_file, findings)
    return findings.report(time.monotonic() - started)


def check_catalog(file: Path, findings: Findings) -> None:
    """Check one committed state of a catalog: pages, tables, references, states, vectors."""
    from clipsearch.catalog.inspection import inspecting, uuid_without_log

    with inspecting(file) as state:
        findings.tell("catalog", 0, 0)
        for step in (_check_pages, _check_rows, _check_vectors):
            try:
                step(state, findings)
            except CatalogDamaged as error:
                _damaged(error, file, findings)
                return
            except CatalogError as error:
                # A table that is missing has been told of already.
                if not findings.counts[Kind.SCHEMA]:
                    findings.add(Kind.CATALOG, str(error), file)
                return
        alone = uuid_without_log(file)
        if alone is not None and alone != state.uuid:
            what = "beside the catalog lies the write-ahead log of another library"
            findings.add(Kind.FOREIGN_LOG, what, file)


def vector_flaws(
    rows: Iterable[StoredVector], dimensions: dict[int, int]
) -> list[tuple[StoredVector, str]]:
    """The rows that are no vectors as the library keeps them, and what is wrong with each."""
    from clipsearch.catalog.blobs import flaws

    rows = list(rows)
    # A torn page gives NULL, or a value of another type, where the tables allow none.
    found = [(row, "is not a whole row") for row in rows if not row.is_whole]
    by_model = sorted((row for row in rows if row.is_whole), key=lambda row: row.model_id)
    for model_id, group in groupby(by_model, key=lambda row: row.model_id):
        mine = list(group)
        if model_id not in dimensions:
            found += [(row, "belongs to a model that the library does not know") for row in mine]
            continue
        vectors, checksums = [row.vector for row in mine], [row.crc32 for row in mine]
        wrong = flaws(vectors, checksums, dimensions[model_id])
        found += [(mine[position], what) for position, what in wrong.items()]
    return found


def _damaged(error: CatalogDamaged, file: Path, findings: Findings) -> None:
    kind = Kind.FOREIGN_LOG if "log of another file" in str(error) else Kind.CATALOG
    findings.add(kind, str(error), file)


def _check_pages(state: Inspection, findings: Findings) -> None:
    for problem in state.integrity_problems():
        findings.add(Kind.CATALOG, f"SQLite finds: {problem}", state.path)
    for problem in state.schema_problems():
        findings.add(Kind.SCHEMA, problem, state.path)


def _check_rows(state: Inspection, findings: Findings) -> None:
    for table, row_id, parent in state.broken_references():
        what = f"row {row_id} of {table} refers to a row of {parent} that does not exist"
        findings.add(Kind.REFERENCE, what, state.path)
    for image_id, what, path in state.contradictions():
        findings.add(Kind.CONTRADICTION, f"image {image_id} {what}", path)
    if state.has_lost_its_model():
        findings.add(Kind.CONTRADICTION, "the library's model is not in its table", state.path)
    findings.seen["n_images"] = state.counts().images


def _check_vectors(state: Inspection, findings: Findings) -> None:
    dimensions, n_vectors = state.dimensions(), state.counts().vectors
    n_done = 0
    for rows in state.stored_vectors():
        wrong = vector_flaws(rows, dimensions)
        paths = state.records([row.image_id for row, _ in wrong if row.is_whole]) if wrong else {}
        for row, what in wrong:
            record = paths.get(row.image_id)
            where = record.path if record else f"image {row.image_id}"
            findings.add(Kind.VECTOR, f"the vector of image {row.image_id} {what}", where)
        n_done += len(rows)
        findings.tell("vectors", n_done, n_vectors)
    findings.seen["n_vectors"] = n_done
