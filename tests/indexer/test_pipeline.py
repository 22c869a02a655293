"""Reading ahead and batching: order, bounds, and files that do not keep still."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from clipsearch.images import ImageFile, Signature, content_hash, signature
from clipsearch.indexer.pipeline import Pace, Reader, Reading, encoded_batches, read_ahead
from clipsearch.indexer.scan import Candidate, Place
from tests.conftest import Paint
from tests.fakes import ColourEncoder

PACE = Pace(batch_size=4, decode_threads=3, max_pixels=10**6)


def candidate(path: Path) -> Candidate:
    found = signature(path.stat()) if path.exists() else Signature(0, 0, 0)
    file = ImageFile(path, path.name.encode(), found)
    return Candidate(file, Place(path.parent, bytes(path.parent)))


def reader(known: frozenset[bytes] = frozenset()) -> Reader:
    return Reader(ColourEncoder(), PACE.max_pixels, known)


def test_batches_come_in_order_and_full(paint: Paint) -> None:
    candidates = [candidate(paint(f"{n}.png", (n, 0, 0))) for n in range(10)]
    encoder = ColourEncoder()
    batches = list(encoded_batches(candidates, encoder, lambda _: {}, frozenset(), PACE))
    assert [r.candidate for batch in batches for r in batch.readings] == candidates
    assert encoder.batch_sizes == [4, 4, 2]
    assert all(r.content_hash in b.vectors for b in batches for r in b.readings)


def test_known_contents_are_not_encoded(paint: Paint) -> None:
    path = paint("red.png")
    vector = np.full(4, 0.5, dtype=np.float32)
    known = {content_hash(path): vector}
    encoder = ColourEncoder()
    batches = encoded_batches([candidate(path)], encoder, lambda _: known, frozenset(known), PACE)
    (batch,) = batches
    assert batch.vectors == known and batch.readings[0].pixels is None
    assert encoder.n_encoded == 0


def test_contents_that_turn_out_unknown_are_decoded_after_all(paint: Paint) -> None:
    path = paint("red.png")
    promised = frozenset([content_hash(path)])
    encoder = ColourEncoder()
    (batch,) = encoded_batches([candidate(path)], encoder, lambda _: {}, promised, PACE)
    assert encoder.n_encoded == 1 and list(batch.vectors) == list(promised)


def test_no_more_is_read_ahead_than_the_window_allows(paint: Paint) -> None:
    candidates = [candidate(paint("red.png"))] * 50
    n_taken = 0

    def counted() -> object:
        nonlocal n_taken
        for each in candidates:
            n_taken += 1
            yield each

    readings = read_ahead(counted(), reader(), n_threads=2, window=5)  # type: ignore[arg-type]
    next(readings)
    assert n_taken == 5
    readings.close()


def test_reading_happens_in_several_threads_at_once(paint: Paint) -> None:
    meeting = threading.Barrier(3, timeout=30)

    def read(each: Candidate) -> Reading:
        meeting.wait()  # passes only if three are inside together
        return Reading(each, 0, 0)

    candidates = [candidate(paint("red.png"))] * 6
    readings = read_ahead(candidates, read, n_threads=3, window=6)
    assert len(list(readings)) == 6
    readings.close()


def test_a_file_that_vanished_needs_no_record(tmp_path: Path) -> None:
    reading = reader()(candidate(tmp_path / "gone.png"))
    assert reading.vanished and reading.reason == "the file vanished before it was read"


def test_a_file_that_changes_while_it_is_read_is_read_again(
    paint: Paint, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = paint("red.png", "red")
    n_calls = 0

    def hash_and_change(path: Path) -> bytes:
        nonlocal n_calls
        n_calls += 1
        found = content_hash(path)
        if n_calls == 1:
            paint("red.png", "blue", size=(99, 99))
        return found

    monkeypatch.setattr("clipsearch.indexer.pipeline.content_hash", hash_and_change)
    reading = reader()(candidate(path))
    assert (reading.width, reading.signature.size) == (99, path.stat().st_size)
    assert reading.content_hash == content_hash(path) and reading.reason is None


def test_a_file_that_never_keeps_still_is_given_up(
    paint: Paint, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = paint("red.png")

    def hash_and_grow(path: Path) -> bytes:
        with path.open("ab") as file:
            file.write(b"more")
        return content_hash(path)

    monkeypatch.setattr("clipsearch.indexer.pipeline.content_hash", hash_and_grow)
    reading = reader()(candidate(path))
    assert reading.reason == "the file changed while it was read" and not reading.content_hash


def test_a_broken_file_is_a_reading_with_a_reason(photos: Path) -> None:
    (photos / "broken.png").write_bytes(b"no picture")
    reading = reader()(candidate(photos / "broken.png"))
    assert reading.reason and "broken.png" in reading.reason
    assert reading.content_hash == content_hash(photos / "broken.png")


def test_a_pipe_in_place_of_a_file_does_not_hold_up_the_run(photos: Path) -> None:
    import os

    os.mkfifo(photos / "pipe.png")
    reading = reader()(candidate(photos / "pipe.png"))
    assert reading.reason and "regular file" in reading.reason
