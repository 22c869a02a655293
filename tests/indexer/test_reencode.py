"""Another model for a library: the old one answers until the new one can, whatever happens."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from clipsearch.catalog import Catalog
from clipsearch.errors import FolderError, LibraryLocked, ModelMismatch, NoLibrary
from clipsearch.indexer.lock import write_lock
from clipsearch.indexer.merge import merge
from clipsearch.library import Library
from clipsearch.settings import Settings
from clipsearch.vectors import FloatArray
from tests.conftest import Paint
from tests.fakes import ColourEncoder

N_IMAGES = 12
SETTINGS = Settings(batch_size=4, decode_workers=2)


class Contrary(ColourEncoder):
    """Five numbers a vector. To it a word means the colour opposite; may stop at some batch."""

    dimension = 5

    def __init__(self, stop_at: int = -1) -> None:
        super().__init__("contrary")
        self.stop_at = stop_at

    def encode_pixels(self, pixels: NDArray[np.uint8]) -> FloatArray:
        if len(self.batch_sizes) == self.stop_at:
            raise KeyboardInterrupt
        return np.pad(super().encode_pixels(pixels), ((0, 0), (0, 1)))

    def encode_texts(self, texts: Sequence[str]) -> FloatArray:
        opposite = super().encode_texts(texts)[:, [1, 2, 0, 3]]  # red asks for blue
        return np.pad(opposite, ((0, 0), (0, 1)))


@pytest.fixture
def painted(paint: Paint, photos: Path, tmp_path: Path) -> Path:
    """A library of the model "colour": shades of red, and one blue picture."""
    for n in range(N_IMAGES - 1):
        paint(f"{n:02}.png", (100 + 10 * n, 0, 0))
    paint("blue.png", "blue")
    with opened(tmp_path / "library", ColourEncoder()) as library:
        library.index(photos)
    return tmp_path / "library"


def opened(path: Path, encoder: ColourEncoder | None = None) -> Library:
    return Library(path, settings=SETTINGS, encoder=encoder)


def first(library: Library, probe: str = "red") -> str:
    return library.query(probe, k=1)[0].path.name


def stored(path: Path) -> dict[str, int]:
    """How many vectors there are, by model."""
    with Catalog.open(path / "catalog.sqlite3") as catalog:
        return {m.name: catalog.vector_count(m.model_id) for m in catalog.models()}


def test_another_model_takes_over_and_leaves_nothing_of_the_old(painted: Path) -> None:
    with opened(painted, ColourEncoder()) as library:
        assert first(library) != "blue.png"
        encoder = Contrary()
        report = library.reindex(encoder)
        assert (report.n_encoded, encoder.n_encoded) == (N_IMAGES, N_IMAGES)
        assert first(library) == "blue.png"
        assert (library.status().model, library.status().dimension) == ("contrary", 5)
    assert stored(painted) == {"colour": 0, "contrary": N_IMAGES}


@pytest.mark.parametrize("stop_at", [0, 1, 2])
def test_an_interrupted_change_keeps_the_old_answers_and_goes_on_later(
    painted: Path, stop_at: int
) -> None:
    with opened(painted, ColourEncoder()) as library:
        before = library.query("red", k=100)
        with pytest.raises(KeyboardInterrupt):
            library.reindex(Contrary(stop_at))
        assert library.query("red", k=100) == before
    assert stored(painted) == {"colour": N_IMAGES, "contrary": 4 * stop_at}
    with opened(painted, ColourEncoder()) as library:
        assert library.query("red", k=100) == before
        assert library.reindex_cost(Contrary()).n_images == N_IMAGES - 4 * stop_at
        assert library.reindex(Contrary()).n_encoded == N_IMAGES - 4 * stop_at
        assert len(library.query("red", k=100)) == N_IMAGES


def test_queries_meanwhile_use_the_old_vectors(painted: Path) -> None:
    asked: list[str] = []
    with opened(painted, ColourEncoder()) as reader, opened(painted, ColourEncoder()) as writer:
        writer.reindex(Contrary(), on_progress=lambda _: asked.append(first(reader)))
        assert len(asked) > 3
        assert "blue.png" not in asked
        # The reader was given one model, and the library has another by now.
        with pytest.raises(ModelMismatch, match="'contrary', not 'colour'"):
            reader.query("red")


def test_a_picture_changed_between_two_attempts_gets_a_vector_of_its_new_content(
    painted: Path, paint: Paint, photos: Path
) -> None:
    with opened(painted, ColourEncoder()) as library:
        with pytest.raises(KeyboardInterrupt):
            library.reindex(Contrary(stop_at=1))
        paint("00.png", "green", size=(20, 20))
        library.index(photos)  # with the old model
        assert first(library, "green") == "00.png"
        library.reindex(Contrary())
        assert first(library, "blue") == "00.png"


def test_a_picture_changed_in_an_attempt_that_failed_is_not_found_by_its_old_content(
    painted: Path, paint: Paint, photos: Path
) -> None:
    paint("00.png", "green", size=(20, 20))
    with opened(painted, ColourEncoder()) as library:
        with pytest.raises(KeyboardInterrupt):
            library.reindex(Contrary(stop_at=1))
        names = {hit.path.name for hit in library.query("red", k=100)}
        assert len(names) == N_IMAGES - 1 and "00.png" not in names
        library.index(photos)
        assert first(library, "green") == "00.png"


def test_new_pictures_and_folders_come_with_it(painted: Path, paint: Paint, photos: Path) -> None:
    paint("new.png", "cyan")
    other = paint("../others/new.png", "yellow").parent
    with opened(painted, ColourEncoder()) as library:
        assert library.reindex(Contrary(), other).added == 2
        assert library.index(photos, other).unchanged == N_IMAGES + 2


def test_a_missing_picture_is_encoded_when_it_comes_back(
    painted: Path, photos: Path, tmp_path: Path
) -> None:
    away = (photos / "blue.png").rename(tmp_path / "blue.png")
    with opened(painted, ColourEncoder()) as library:
        library.index(photos)
        library.reindex(Contrary())
        away.rename(photos / "blue.png")
        assert library.index(photos).n_encoded == 1
        assert first(library) == "blue.png"


def test_a_folder_that_is_not_there_stops_it_unless_that_is_allowed(
    painted: Path, photos: Path, paint: Paint, tmp_path: Path
) -> None:
    other = paint("../others/new.png", "yellow").parent
    with opened(painted, ColourEncoder()) as library:
        library.index(other)
        other.rename(tmp_path / "unplugged")
        with pytest.raises(FolderError, match="others"):
            library.reindex(Contrary())
        assert library.status().model == "colour"
        library.reindex(Contrary(), allow_missing=True)
        assert len(library.query("red", k=100)) == N_IMAGES
        (tmp_path / "unplugged").rename(other)
        assert library.index(other).n_encoded == 1


def test_an_index_file_of_the_old_model_goes_with_it(painted: Path) -> None:
    with opened(painted, ColourEncoder()) as library:
        model = library._model()
        assert model is not None
        merge(library._opened(), model, library._files)
        assert library.status().index.n_base == N_IMAGES
        same_weights = Contrary()  # another preprocessing alone makes another model
        same_weights.model_sha256 = hashlib.sha256(b"colour").hexdigest()
        library.reindex(same_weights)
        assert library.status().index.n_base == 0
        assert first(library) == "blue.png"


def test_going_back_before_the_end_keeps_what_is_right_and_drops_the_rest(painted: Path) -> None:
    with opened(painted, ColourEncoder()) as library:
        with pytest.raises(KeyboardInterrupt):
            library.reindex(Contrary(stop_at=1))
        assert library.reindex(ColourEncoder()).n_encoded == 0
    assert stored(painted) == {"colour": N_IMAGES, "contrary": 0}


def test_the_cost_counts_pictures_and_bytes_and_tries_the_model(
    painted: Path, photos: Path
) -> None:
    with opened(painted, ColourEncoder()) as library:
        cost = library.reindex_cost(Contrary())
        assert cost.n_images == N_IMAGES
        assert cost.n_bytes == sum(path.stat().st_size for path in photos.iterdir())
        assert cost.seconds is not None and cost.seconds > 0
        assert library.reindex_cost("ViT-B/32").seconds is None  # it is not here
    assert stored(painted) == {"colour": N_IMAGES}


def test_only_one_process_changes_a_library(painted: Path) -> None:
    with (
        opened(painted, ColourEncoder()) as library,
        write_lock(painted),
        pytest.raises(LibraryLocked),
    ):
        library.reindex(Contrary())


def test_without_a_library_there_is_nothing_to_change(tmp_path: Path) -> None:
    with opened(tmp_path / "none") as library, pytest.raises(NoLibrary):
        library.reindex(Contrary())
