"""Bring the library up to date with some folders: scan all, then read, encode and commit.

In: engines and folders. Out: counts in a tally. Knows nothing of locks or where models come from.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from clipsearch.indexer.caution import refuse_losses
from clipsearch.indexer.commit import Committer
from clipsearch.indexer.confirm import confirm
from clipsearch.indexer.pipeline import Pace, PixelEncoder, encoded_batches
from clipsearch.indexer.report import Tally
from clipsearch.indexer.scan import Candidate, FolderScan, Rules, outermost, place, scan

if TYPE_CHECKING:
    from clipsearch.catalog import Catalog


def scan_folders(
    folders: Sequence[str | Path], catalog: Catalog, model_id: int, tally: Tally, rules: Rules
) -> list[FolderScan]:
    """Compare folders with the catalog. Raises FolderError before anything is written."""
    roots = catalog.folders()
    bare = catalog.without_vector(model_id)
    places = [place(folder, roots) for folder in outermost(folders)]
    scans = [scan(each, catalog, tally, rules, bare) for each in places]
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
    tally = committer.tally
    encoder = load_encoder() if candidates else None
    committer.begin(scans)
    candidates += _changed(doubtful, committer, pace)
    if candidates:
        encoder = encoder or load_encoder()  # only now, because mostly nothing has changed
        tally.tell_encoded(len(candidates))
        known = frozenset(content for each in scans for content in each.known_contents())
        batches = encoded_batches(candidates, encoder, committer.known_vectors, known, pace)
        with closing(batches):
            for batch in batches:
                committer.write(batch)
                tally.tell_encoded(len(candidates))
    # At the end, because until everything was read a file that is gone may have moved.
    committer.finish()


def _changed(doubtful: Sequence[Candidate], committer: Committer, pace: Pace) -> list[Candidate]:
    """Those of the doubtful files that must be read as if they were new; the others are written."""
    changed: list[Candidate] = []
    n_done = 0
    with closing(confirm(doubtful, pace.decode_threads)) as looks:
        for same, others in looks:
            committer.confirm(same)
            changed += others
            n_done += len(same) + len(others)
            committer.tally.tell_scanned(n_done)
    return changed
