"""Hold every index file against the catalog: is it whole, is it ours, does it hold what it should.

In: the catalog and the folder. Out: findings. The writer may swap the files meanwhile.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from clipsearch.care.report import Findings, Kind
from clipsearch.errors import CatalogError
from clipsearch.query.base import Base
from clipsearch.query.hits import Hit
from clipsearch.query.search import Space, search
from clipsearch.vectors import IdArray, normalise

if TYPE_CHECKING:
    from clipsearch.catalog import Catalog, CatalogReads, ModelRecord
    from clipsearch.index import GenerationHeader, VectorIndex

N_PROBES, K = 3, 10  # each probe is an exact search through the whole library
# Vectors are scaled to unit length when they go in; another processor may round the last digit
# otherwise.
ROUNDING = 1e-5
# An approximate index finds nearly all of the nearest, as it was measured when it was built; one
# whose content is of other vectors finds hardly any.
MIN_FOUND = 0.7

Problem = tuple[Kind, str]


def check_index_files(catalog: Catalog, folder: Path, findings: Findings) -> None:
    """Check all of them. They take as much memory as a query does."""
    for path, problems in judged(catalog, folder, findings):
        findings.seen["n_index_files"] += 1
        for kind, what in problems:
            findings.add(kind, what, path)


def judged(catalog: Catalog, folder: Path, findings: Findings) -> list[tuple[Path, list[Problem]]]:
    """Every index file with what is wrong with it."""
    from clipsearch.index import generation_path, generations

    found = []
    known = generations(folder) if folder.is_dir() else []
    for n_done, generation in enumerate(known):
        findings.tell("index files", n_done, len(known))
        problems = _problems(catalog, folder, generation)
        if problems is not None:
            found.append((generation_path(folder, generation), problems))
    return found


def _problems(catalog: Catalog, folder: Path, generation: int) -> list[Problem] | None:
    """None if the file has gone meanwhile."""
    from clipsearch.index import Refusal, open_one

    model, uuid = catalog.model(), catalog.uuid
    if model is None:
        return [(Kind.INDEX_FOREIGN, "the library has no model yet, so this file is not its own")]
    try:
        loaded = open_one(folder, (generation, uuid, model.sha256))
    except FileNotFoundError:
        return None
    # Opened after the file was read: what the writer put into it is in this state.
    with catalog.snapshot() as state:
        if state.model() != model:  # it was changed meanwhile, and this file is on its way out
            return _problems(catalog, folder, generation)
        if isinstance(loaded, Refusal):
            kind = Kind.INDEX_FOREIGN if "other" in loaded.reason else Kind.INDEX_FILE
            return [(kind, f"{loaded.reason}: {loaded.detail}")]
        header, index = loaded
        if header.dimension != model.dimension:
            what = f"holds vectors of {header.dimension} dimensions, not of {model.dimension}"
            return [(Kind.INDEX_FOREIGN, what)]
        if header.through_vector_id > state.revision():
            what = "holds vectors that the catalog does not have, as after going back to a copy"
            return [(Kind.INDEX_STALE, what)]
        return _content_problems(state, model, header, index)


def _content_problems(
    state: CatalogReads, model: ModelRecord, header: GenerationHeader, index: VectorIndex
) -> list[Problem]:
    try:
        live, n_different = _compared(state, model, header, index)
        dead = state.dead_ids(model.model_id, header.through_vector_id)
        n_twice = len(index) - len(np.unique(index.ids))
        unknown = np.setdiff1d(index.ids, np.union1d(live, dead))
        lacking = np.setdiff1d(live, index.ids)
        counts = {
            "vectors are not those of the catalog": n_different,
            "images of the catalog are not in it": len(lacking),
            "of its images are not in the catalog": len(unknown),
            "of its images are in it more than once": n_twice,
        }
        found = [(Kind.INDEX_CONTENT, f"{n} {what}") for what, n in counts.items() if n]
        return found or _answer_problems(state, model, Base(index, header.through_vector_id), live)
    except (CatalogError, ValueError):
        return []  # a vector that is none is a finding of the catalog's own


def _compared(
    state: CatalogReads, model: ModelRecord, header: GenerationHeader, index: VectorIndex
) -> tuple[IdArray, int]:
    """The images that should be in the file, and how many have another vector there."""
    from clipsearch.index import CODE_ERROR, ExactIndex

    live: list[IdArray] = []
    inside, n_different = np.sort(index.ids), 0
    for batch in state.vector_batches(model.model_id):
        is_covered = batch.vector_ids <= header.through_vector_id
        ids = batch.image_ids[is_covered]
        if not ids.size:
            break
        live.append(ids)
        if isinstance(index, ExactIndex):  # another kind does not keep the vectors themselves
            is_inside = np.isin(ids, inside)
            expected = normalise(batch.vectors[is_covered][is_inside])
            differences = np.abs(index.vectors(ids[is_inside]) - expected)
            is_alike = (differences <= CODE_ERROR + ROUNDING).all(axis=1)
            n_different += int((~is_alike).sum())
    return np.concatenate([np.empty(0, np.int64), *live]), n_different


def _answer_problems(
    state: CatalogReads, model: ModelRecord, base: Base, live: IdArray
) -> list[Problem]:
    """Whether the file finds what an exact search finds, for some vectors of the library; most of
    it if it is an approximate one."""
    n_found = n_wanted = 0
    chosen = live[:: max(1, len(live) // N_PROBES)][:N_PROBES]
    ids, vectors = state.vectors_of(model.model_id, chosen)
    for image_id, vector in zip(ids.tolist(), normalise(vectors), strict=True):
        by_index = search(vector, Space(state, model.model_id, base), K)
        exactly = search(vector, Space(state, model.model_id), K)
        if base.index.recipe == "exact" and not _are_alike(by_index, exactly):
            what = f"a search for image {image_id} finds other images than an exact search"
            return [(Kind.INDEX_ANSWER, what)]
        n_wanted += len(exactly)
        n_found += len({hit.image_id for hit in exactly} & {hit.image_id for hit in by_index})
    if n_found < MIN_FOUND * n_wanted:
        what = f"finds {n_found} of {n_wanted} images that an exact search finds"
        return [(Kind.INDEX_ANSWER, what)]
    return []


def _are_alike(one: list[Hit], other: list[Hit]) -> bool:
    return [(hit.image_id, hit.score) for hit in one] == [
        (hit.image_id, hit.score) for hit in other
    ]
