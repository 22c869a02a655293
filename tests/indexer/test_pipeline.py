"""Reading ahead and batching: order, bounds, and what costs no encoding."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from clipsearch.images import ImageFile, Signature, content_hash, signature
from clipsearch.indexer.limits import Limits
from clipsearch.indexer.pipeline import EncodedBatch, Pace, encoded_batches, read_ahead
from clipsearch.indexer.scan import Candidate, Place
from clipsearch.indexer.workers import Workers
from clipsearch.vectors import FloatArray
from tests.conftest import Paint
from tests.fakes import ColourEncoder

LIMITS = Limits(memory_mb=512, cpu_seconds=30, wall_seconds=60)
PACE = Pace(batch_size=4, decode_workers=2, max_pixels=10**6, limits=LIMITS)


def candidate(path: Path) -> Candidate:
    found = signature(path.stat()) if path.exists() else Signature(0, 0, 0)
    file = ImageFile(path, path.name.encode(), found)
    return Candidate(file, Place(path.parent, bytes(path.parent)))


@pytest.fixture
def workers() -> Iterator[Workers]:
    with Workers(PACE.decode_workers, LIMITS) as workers:
        yield workers


def encoded(
    candidates: list[Candidate],
    encoder: ColourEncoder,
    workers: Workers,
    stored: dict[bytes, FloatArray] | None = None,
    promised: frozenset[bytes] = frozenset(),
) -> list[EncodedBatch]:
    workers.begin(PACE.setup(encoder, promised))
    stored = stored or {}
    return list(encoded_batches(candidates, encoder, lambda _: stored, workers, PACE.batch_size))


def test_batches_come_in_order_and_full(paint: Paint, workers: Workers) -> None:
    candidates = [candidate(paint(f"{n}.png", (n, 0, 0))) for n in range(10)]
    encoder = ColourEncoder()
    batches = encoded(candidates, encoder, workers)
    assert [r.candidate for batch in batches for r in batch.readings] == candidates
    assert encoder.batch_sizes == [4, 4, 2]
    assert all(r.content_hash in b.vectors for b in batches for r in b.readings)


def test_known_contents_are_not_encoded(paint: Paint, workers: Workers) -> None:
    path = paint("red.png")
    known = {content_hash(path): np.full(4, 0.5, dtype=np.float32)}
    encoder = ColourEncoder()
    (batch,) = encoded([candidate(path)], encoder, workers, known, frozenset(known))
    assert batch.vectors == known and batch.readings[0].pixels is None
    assert encoder.n_encoded == 0


def test_contents_that_turn_out_unknown_are_decoded_after_all(
    paint: Paint, workers: Workers
) -> None:
    path = paint("red.png")
    promised = frozenset([content_hash(path)])
    encoder = ColourEncoder()
    (batch,) = encoded([candidate(path)], encoder, workers, promised=promised)
    assert encoder.n_encoded == 1 and list(batch.vectors) == list(promised)


def test_no_more_is_read_ahead_than_the_window_allows(paint: Paint, workers: Workers) -> None:
    candidates = [candidate(paint("red.png"))] * 50
    n_taken = 0

    def counted() -> Iterator[Candidate]:
        nonlocal n_taken
        for each in candidates:
            n_taken += 1
            yield each

    workers.begin(PACE.setup(ColourEncoder()))
    readings = read_ahead(counted(), workers, window=5)
    next(readings), next(readings)
    assert n_taken == 6


def test_a_picture_that_the_model_cannot_take_is_named_and_its_neighbours_stay(
    paint: Paint, workers: Workers
) -> None:
    class Choosy(ColourEncoder):
        def encode_pixels(self, pixels: np.ndarray) -> FloatArray:
            vectors = super().encode_pixels(pixels)
            return np.where(pixels[:, 0, 0, :1] == 77, np.float32("nan"), vectors)

    candidates = [candidate(paint(f"{n}.png", (n, 0, 0))) for n in (1, 77, 3)]
    (batch,) = encoded(candidates, Choosy(), workers)
    assert [reading.reason for reading in batch.readings] == [
        None,
        "77.png cannot be encoded (the model gives no finite vector for it); replace or remove it",
        None,
    ]
    assert batch.n_encoded == len(batch.vectors) == 2
    assert batch.readings[1].content_hash == content_hash(candidates[1].file.path)
