"""What is left when a run is stopped, and that the next run finishes the work."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from clipsearch.indexer.pipeline import EncodedBatch
from clipsearch.library import Library
from clipsearch.settings import Settings
from clipsearch.vectors import FloatArray
from tests.conftest import Paint
from tests.fakes import ColourEncoder

N_IMAGES = 12


class StoppedEncoder(ColourEncoder):
    """Is interrupted at the batch with this number, as by Ctrl-C."""

    def __init__(self, stop_at: int) -> None:
        super().__init__()
        self.stop_at = stop_at

    def encode_pixels(self, pixels: NDArray[np.uint8]) -> FloatArray:
        if len(self.batch_sizes) == self.stop_at:
            raise KeyboardInterrupt
        return super().encode_pixels(pixels)


@pytest.fixture
def shades(paint: Paint, photos: Path) -> Path:
    for n in range(N_IMAGES):
        paint(f"{n:02}.png", (20 * n, 0, 0))
    return photos


@pytest.mark.parametrize("stop_at", [0, 1, 2])
def test_batches_before_an_interruption_stay_and_the_next_run_does_the_rest(
    tmp_path: Path, shades: Path, stop_at: int
) -> None:
    settings = Settings(batch_size=4, decode_workers=2)
    first = Library(tmp_path / "l", settings=settings, encoder=StoppedEncoder(stop_at))
    with first, pytest.raises(KeyboardInterrupt):
        first.index(shades)
    encoder = ColourEncoder()
    with Library(tmp_path / "l", settings=settings, encoder=encoder) as second:
        assert second.status().n_images == second.status().n_vectors == 4 * stop_at
        report = second.index(shades)
        assert (report.added, report.unchanged) == (N_IMAGES - 4 * stop_at, 4 * stop_at)
        assert encoder.n_encoded == N_IMAGES - 4 * stop_at
        assert len(second.query("red", k=100)) == N_IMAGES


def test_no_decoding_thread_outlives_an_interruption(tmp_path: Path, shades: Path) -> None:
    with Library(tmp_path / "l", encoder=StoppedEncoder(0)) as library:
        with pytest.raises(KeyboardInterrupt):
            library.index(shades)
        alive = [t.name for t in threading.enumerate() if t.name.startswith("decode")]
        assert alive == []


def test_an_interruption_frees_the_lock(tmp_path: Path, shades: Path) -> None:
    encoder = StoppedEncoder(0)
    with Library(tmp_path / "l", encoder=encoder) as library:
        with pytest.raises(KeyboardInterrupt):
            library.index(shades)
        encoder.stop_at = -1
        assert library.index(shades).added == N_IMAGES


def test_a_batch_that_fails_while_it_is_written_leaves_nothing_of_itself(
    library: Library, shades: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without_vectors(batch: EncodedBatch) -> EncodedBatch:
        wrong = {content: vector[:2] for content, vector in batch.vectors.items()}
        return EncodedBatch(batch.readings, wrong, batch.n_encoded)

    from clipsearch.errors import CatalogError
    from clipsearch.indexer.commit import Committer

    write = Committer.write
    monkeypatch.setattr(Committer, "write", lambda self, b: write(self, without_vectors(b)))
    with pytest.raises(CatalogError):
        library.index(shades)
    assert library.status().n_images == 0
    monkeypatch.undo()
    assert library.index(shades).added == N_IMAGES


def test_an_image_that_lost_its_vector_is_encoded_again(library: Library, shades: Path) -> None:
    library.index(shades)
    victim = library.query("red", k=1)[0]
    with library._opened().begin() as write:
        write.remove_vectors([victim.image_id])
    assert victim not in library.query("red", k=100)
    report = library.index(shades)
    assert (report.updated, report.unchanged, report.n_encoded) == (1, N_IMAGES - 1, 1)
    assert library.query("red", k=1) == [victim]
