"""Bring the library up to date with some folders: scan all, then read, encode and commit.

In: engines and folders. Out: counts in a tally. Knows nothing of locks or where models come from.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from clipsearch.indexer.caution import refuse_losses
from clipsearch.indexer.commit import Committer
from clipsearch.indexer.confirm import confirm
from clipsearch.indexer.details import fill_in
from clipsearch.indexer.pipeline import Pace, PixelEncoder, encoded_batches
from clipsearch.indexer.report import Tally
from clipsearch.indexer.scan import (
    Candidate,
    FolderScan,
    Rules,
    outermost,
    place,
    scan,
    without_vector,
)
from clipsearch.indexer.workers import Workers

if TYPE_CHECKING:
    from clipsearch.catalog import Catalog


def scan_folders(
    folders: Sequence[str | Path], catalog: Catalog, model_id: int, tally: Tally, rules: Rules
) -> list[FolderScan]:
    """Compare folders with the catalog. Raises FolderError before anything is written."""
    roots = catalog.folders()
    places = [place(folder, roots) for folder in outermost(folders)]
    scans = [
        scan(each, catalog, tally, rules, without_vector(each, catalog, model_id))
        for each in places
    ]
    if not rules.allow_missing:
        refuse_losses(scans)
    return scans


def apply_scans(
    scans: Sequence[FolderScan],
    committer: Committer,
    load_encoder: Callable[[], PixelEncoder],
    pace: Pace,
) -> None:
    """Do what the scans ask for. An interruption loses at most the batch under way."""
    candidates = [candidate for each in scans for candidate in each.candidates]
    doubtful = [candidate for each in scans for candidate in each.doubtful]
    known = frozenset(content for each in scans for content in each.known_contents())
    # Processes that decode start while the model is loaded.
    with ExitStack() as stack:
        engines = Engines.start(load_encoder, pace, len(candidates), stack) if candidates else None
        committer.begin(scans)
        candidates += _changed(doubtful, committer, pace.decode_workers)
        if candidates:
            # Only now, because mostly nothing has changed.
            engines = engines or Engines.start(load_encoder, pace, len(candidates), stack)
            engines.workers.begin(pace.setup(engines.encoder, known))
            _encode(candidates, committer, engines, pace.batch_size)
        # At the end, because until everything was read a file that is gone may have moved.
        committer.finish()
        undescribed = [image_id for each in scans for image_id in each.undescribed]
        fill_in(undescribed, committer, pace, engines.workers if engines else None)


@dataclass(frozen=True)
class Engines:
    """What encoding takes: the processes that decode, and the model."""

    workers: Workers
    encoder: PixelEncoder

    @classmethod
    def start(
        cls, load_encoder: Callable[[], PixelEncoder], pace: Pace, n_files: int, stack: ExitStack
    ) -> Self:
        """Processes start while the model is loaded; leaving the stack ends them."""
        workers = stack.enter_context(Workers(min(pace.decode_workers, n_files), pace.limits))
        return cls(workers, load_encoder())


def _encode(
    candidates: Sequence[Candidate], committer: Committer, engines: Engines, batch_size: int
) -> None:
    tally = committer.tally
    tally.tell_encoded(len(candidates))
    for batch in encoded_batches(
        candidates, engines.encoder, committer.known_vectors, engines.workers, batch_size
    ):
        committer.write(batch)
        tally.tell_encoded(len(candidates))


def _changed(
    doubtful: Sequence[Candidate], committer: Committer, n_threads: int
) -> list[Candidate]:
    """Those of the doubtful files that must be read as if they were new; the others are written."""
    changed: list[Candidate] = []
    n_done = 0
    with closing(confirm(doubtful, n_threads)) as looks:
        for same, others in looks:
            committer.confirm(same)
            changed += others
            n_done += len(same) + len(others)
            committer.tally.tell_scanned(n_done)
    return changed
