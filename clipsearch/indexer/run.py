"""Bring the library up to date with some folders: scan all, then read, encode and commit.

In: engines and folders. Out: counts in a tally. Knows nothing of locks or where models come from.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from clipsearch.indexer.commit import Committer
from clipsearch.indexer.pipeline import Pace, PixelEncoder, encoded_batches
from clipsearch.indexer.report import Tally
from clipsearch.indexer.scan import Candidate, FolderScan, Rules, outermost, place, scan
from clipsearch.indexer.workers import Workers

if TYPE_CHECKING:
    from clipsearch.catalog import Catalog


def scan_folders(
    folders: Sequence[str | Path], catalog: Catalog, model_id: int, tally: Tally, rules: Rules
) -> list[FolderScan]:
    """Compare folders with the catalog. Raises FolderError before anything is written."""
    roots = catalog.folders()
    bare = catalog.without_vector(model_id)
    places = [place(folder, roots) for folder in outermost(folders)]
    return [scan(each, catalog, tally, rules, bare) for each in places]


def apply_scans(
    scans: Sequence[FolderScan],
    committer: Committer,
    load_encoder: Callable[[], PixelEncoder],
    pace: Pace,
) -> None:
    """Do what the scans ask for. An interruption loses at most the batch under way."""
    candidates = [candidate for each in scans for candidate in each.candidates]
    if candidates:
        # Processes that decode start while the model is loaded.
        with Workers(min(pace.decode_workers, len(candidates)), pace.limits) as workers:
            encoder = load_encoder()
            committer.begin(scans)
            known = frozenset(content for each in scans for content in each.known_contents())
            workers.begin(pace.setup(encoder, known))
            _encode(candidates, committer, encoder, workers, pace.batch_size)
    else:
        committer.begin(scans)
    # Only now, because until everything was read a file that is gone may have moved.
    committer.finish()


def _encode(
    candidates: Sequence[Candidate],
    committer: Committer,
    encoder: PixelEncoder,
    workers: Workers,
    batch_size: int,
) -> None:
    committer.tally.tell_encoded(len(candidates))
    for batch in encoded_batches(candidates, encoder, committer.known_vectors, workers, batch_size):
        committer.write(batch)
        committer.tally.tell_encoded(len(candidates))
