"""Bring the library up to date with some folders: scan all, then read, encode and commit.

In: engines and folders. Out: counts in a tally. Knows nothing of locks or where models come from.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from clipsearch.indexer.commit import Committer
from clipsearch.indexer.pipeline import Pace, PixelEncoder, encoded_batches
from clipsearch.indexer.report import Tally
from clipsearch.indexer.scan import FolderScan, Rules, outermost, place, scan

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
    tally = committer.tally
    encoder = load_encoder() if candidates else None
    committer.begin(scans)
    if encoder is not None:
        tally.tell_encoded(len(candidates))
        known = frozenset(content for each in scans for content in each.known_contents())
        batches = encoded_batches(candidates, encoder, committer.known_vectors, known, pace)
        with closing(batches):
            for batch in batches:
                committer.write(batch)
                tally.tell_encoded(len(candidates))
    # Only now, because until everything was read a file that is gone may have moved.
    committer.finish()
