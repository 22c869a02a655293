"""Another model for a library: what it would cost, and doing it.

In: a catalog, an encoder, folders. The old vectors answer every query until each picture has a new
one; the library then changes its model in one transaction. Knows nothing of locks.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from clipsearch.indexer.commit import Committer
from clipsearch.indexer.pipeline import Pace, PixelEncoder
from clipsearch.indexer.report import Tally
from clipsearch.indexer.run import apply_scans, scan_folders
from clipsearch.indexer.scan import Rules
from clipsearch.indexer.workers import Workers

if TYPE_CHECKING:
    from clipsearch.catalog import Catalog, CatalogReads, ModelRecord
    from clipsearch.query.base import BaseFiles

N_SAMPLED = 8  # pictures; enough to tell minutes from hours


@dataclass(frozen=True)
class ReindexCost:
    """What encoding a library's pictures with another model takes.

    `seconds` is an estimate from a few of the pictures, None where the model is not here to be
    tried. What an interrupted attempt has already encoded is not counted again.
    """

    n_images: int
    n_bytes: int  # of files to be read
    seconds: float | None


def cost(
    catalog: CatalogReads, model: ModelRecord | None, encoder: PixelEncoder | None, pace: Pace
) -> ReindexCost:
    """What is left to encode with a model. It and its encoder are None where it is not here."""
    records = [
        record
        for folder in catalog.folders()
        for record in catalog.images(folder.folder_id)
        if record.state == "present"
    ]
    known = next(
        (m for m in catalog.models() if model and m.fingerprint == model.fingerprint), None
    )
    if known is not None:
        bare = {
            image_id
            for folder in catalog.folders()
            for image_id in catalog.without_vector(known.model_id, folder.folder_id)
        }
        records = [record for record in records if record.image_id in bare]
    n_bytes = sum(record.size for record in records)
    if encoder is None:
        return ReindexCost(len(records), n_bytes, None)
    step = max(1, len(records) // N_SAMPLED)
    each = _seconds_each([record.path for record in records[::step][:N_SAMPLED]], encoder, pace)
    return ReindexCost(len(records), n_bytes, None if each is None else each * len(records))


def reencode(
    folders: Sequence[str | Path],
    committer: Committer,
    encoder: PixelEncoder,
    pace: Pace,
    rules: Rules,
) -> None:
    """Give every picture of the library, and of these folders, a vector of the committer's model.

    What an interrupted attempt has done is not done again. Raises FolderError if a folder of the
    library cannot be read; where the rules allow empty folders, one that is not there is left out.
    """
    catalog, tally = committer.catalog, committer.tally
    everything = [*folders, *_roots(catalog, rules.allow_missing)]
    scans = scan_folders(everything, catalog, committer.model_id, tally, rules)
    apply_scans(scans, committer, lambda: encoder, pace)


def switch(catalog: Catalog, model: ModelRecord, files: BaseFiles, tally: Tally) -> None:
    """Make `model` the library's own, in one transaction, and forget the vectors of all others.

    Imported pictures whose files nobody has seen have no vector then, and count as missing.
    """
    from clipsearch.index import prune_generations

    with catalog.begin() as write:
        # An index file tells models apart by their weights alone, and preprocessing may differ too.
        # Inside the transaction, because a merge that is under way publishes its file in one.
        if files.has_files():
            prune_generations(files.folder, keep=())
        write.set_model(model, replace=True)
        write.keep_only_vectors_of(model.model_id)
        bare: frozenset[int] = frozenset().union(
            *(write.without_vector(model.model_id, root.folder_id) for root in write.folders())
        )
        records = write.records(sorted(bare)).values()
        unseen = [r.image_id for r in records if r.is_unseen and r.state == "present"]
        write.mark_missing(unseen)
    if unseen:
        tally.count("missing", len(unseen))
        tally.notes.append(
            f"{len(unseen):,} imported pictures are not there to be encoded, and so are missing "
            "now: import vectors of the new model for them"
        )


def _roots(catalog: CatalogReads, skip_absent: bool) -> list[Path]:
    """The roots that have pictures; one that another root has taken over stays behind empty."""
    n_present = catalog.folder_counts()
    return [
        folder.path
        for folder in catalog.folders()
        if n_present[folder.folder_id] and not (skip_absent and not os.path.isdir(folder.path))
    ]


def _seconds_each(paths: Sequence[Path], encoder: PixelEncoder, pace: Pace) -> float | None:
    if not paths:
        return None
    with Workers(1, pace.limits) as workers:
        workers.begin(pace.setup(encoder))
        workers.read(paths[0]).result()  # the process has to start first
        started = time.monotonic()
        found = [future.result() for future in [workers.read(path) for path in paths]]
    pixels = [each.pixels for each in found if each.pixels is not None]
    if not pixels:
        return None
    reading = (time.monotonic() - started) / len(pixels) / pace.decode_workers
    encoder.encode_pixels(np.stack(pixels[:1]))  # the first time is slower than all others
    started = time.monotonic()
    encoder.encode_pixels(np.stack(pixels))
    return reading + (time.monotonic() - started) / len(pixels)
