"""What is shown of what was found: matches, pages, order. Vectors are made up."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from clipsearch.index.ivf import Effort
from clipsearch.indexer.merge import merge, use_recipe
from clipsearch.library import Library
from clipsearch.vectors import FloatArray, normalise
from tests.fakes import ColourEncoder

DIM = 48
N_PICTURES, N_BIRDS = 300, 40


def direction(text: str) -> FloatArray:
    """Any words have a direction of their own."""
    seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "little")
    return normalise(np.random.default_rng(seed).normal(size=DIM))


class WordEncoder(ColourEncoder):
    """Every text is a direction; how many texts it has encoded can be asked."""

    dimension = DIM

    def __init__(self) -> None:
        super().__init__("words")
        self.n_texts = 0

    def encode_texts(self, texts: Sequence[str]) -> FloatArray:
        self.n_texts += len(texts)
        return np.stack([direction(text) for text in texts])


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    """300 pictures, of which 40 are birds, the first ones the most."""
    random = np.random.default_rng(3)
    vectors = normalise(random.normal(size=(N_PICTURES, DIM)))
    strength = np.linspace(1.6, 1.0, N_BIRDS)[:, None]
    vectors[:N_BIRDS] = normalise(vectors[:N_BIRDS] + strength * direction("bird"))
    dated = [{"taken_at": f"2020-01-{1 + at % 28:02d}T00:00:00"} for at in range(N_PICTURES)]
    dated[2] = {}
    paths = [f"{(at * 7) % N_PICTURES:03d}.jpg" for at in range(N_PICTURES)]
    with Library(tmp_path / "library", encoder=WordEncoder()) as opened:
        opened.add_vectors(paths, vectors, dated, root=tmp_path)
        yield opened


def test_only_what_stands_out_is_a_match(library: Library) -> None:
    found = library.query("bird", k=100, only_matches=True)
    assert {hit.image_id for hit in found} <= set(range(1, N_BIRDS + 1))
    assert len(found) > N_BIRDS * 0.8
    assert library.query("aardvark", k=100, only_matches=True) == []


def test_without_the_cutoff_there_are_k_hits_each_with_its_confidence(library: Library) -> None:
    found = library.query("aardvark", k=100)
    assert len(found) == 100
    assert all(hit.confidence is not None and hit.confidence < 0.5 for hit in found)


def test_pages_of_matches_continue_each_other(library: Library) -> None:
    whole = library.query("bird", k=100, only_matches=True)
    pages = [library.query("bird", k=7, offset=at, only_matches=True) for at in range(0, 100, 7)]
    assert [hit for page in pages for hit in page] == whole
    assert len(whole) > 32  # more than are looked at in one step


def test_the_confidence_of_a_hit_depends_on_nothing_but_library_and_question(
    library: Library,
) -> None:
    whole = {hit.image_id: hit for hit in library.query("bird", k=N_PICTURES)}
    for k, offset, exact in [(1, 0, False), (3, 0, True), (5, 17, False), (100, 90, True)]:
        for hit in library.query("bird", k=k, offset=offset, exact=exact):
            assert hit == whole[hit.image_id]


def test_a_least_score_holds_on_every_page(library: Library) -> None:
    least = library.query("bird", k=10)[-1].score
    assert len(library.query("bird", k=100, min_score=least)) == 10
    assert library.query("bird", k=10, offset=10, min_score=least) == []


def test_the_order_is_within_the_page(library: Library) -> None:
    by_score = library.query("bird", k=10)
    by_path = library.query("bird", k=10, sort="path")
    assert [hit.path for hit in by_path] == sorted(hit.path for hit in by_score)


def test_by_date_the_newest_come_first_and_the_undated_last(library: Library) -> None:
    found = library.query("bird", k=N_PICTURES, sort="date")
    days = [(hit.image_id - 1) % 28 for hit in found]
    assert found[-1].image_id == 3
    assert days[:-1] == sorted(days[:-1], reverse=True)


def test_a_damaged_date_is_sorted_somewhere(library: Library) -> None:
    with closing(sqlite3.connect(library.path / "catalog.sqlite3")) as connection, connection:
        connection.execute("UPDATE images SET taken_at = x'ff' WHERE image_id = 5")
    assert len(library.query("bird", k=N_PICTURES, sort="date")) == N_PICTURES


def test_a_library_without_pictures_has_no_hits(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    with Library(tmp_path / "empty", encoder=WordEncoder()) as opened:
        opened.index(tmp_path / "photos", allow_missing=True)
        assert opened.query("bird", only_matches=True) == []


@pytest.mark.parametrize("n", [1, 2, 16, 600])
@pytest.mark.parametrize("probe", ["bird", "aardvark", "bird + sea", direction("bird")])
def test_equal_pictures_are_equally_sure(tmp_path: Path, n: int, probe: object) -> None:
    vectors = np.repeat(direction("bird")[None], n, axis=0)
    with Library(tmp_path / "equal", encoder=WordEncoder()) as opened:
        opened.add_vectors([f"{at}.jpg" for at in range(n)], vectors, root=tmp_path)
        sure = [hit.confidence for hit in opened.query(probe, k=n)]
    assert len(sure) == n and len(set(sure)) == 1
    assert sure[0] is not None and 0 <= sure[0] <= 1


def test_one_picture_that_is_left_of_many_is_judged(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clipsearch.query.answer.SAMPLE_SIZE", 20)
    with library._opened().begin() as write:
        write.mark_missing([image_id for image_id in range(1, N_PICTURES + 1) if image_id != 2])
    (hit,) = library.query("bird")
    assert hit.image_id == 2 and hit.confidence is not None and 0 <= hit.confidence <= 1


def test_the_prompts_are_encoded_once_for_all_libraries(library: Library, tmp_path: Path) -> None:
    library.query("bird")
    encoder = WordEncoder()
    with Library(library.path, encoder=encoder) as again:
        again.query("bird")
    assert encoder.n_texts == 1


def test_pages_of_an_approximate_index_continue_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Searching deeper finds what was missed before; that must not push a picture to a page that
    has been shown."""
    monkeypatch.setattr("clipsearch.index.recall.LADDER", (Effort(1, 20),))
    vectors = normalise(np.random.default_rng(5).normal(size=(3000, DIM)))
    with Library(tmp_path / "library", encoder=WordEncoder()) as library:
        library.add_vectors([f"{at}.jpg" for at in range(len(vectors))], vectors, root=tmp_path)
        catalog = library._opened()
        use_recipe(catalog, "ivf-rabitq")
        record = catalog.model()
        assert record is not None
        merge(catalog, record, library._files)
        n_missed = 0
        for question in vectors[:20] + 0.1:
            pages = [library.query(question, k=10, offset=at) for at in range(0, 200, 10)]
            shown = [hit.image_id for page in pages for hit in page]
            assert len(shown) == len(set(shown)) == 200
            assert shown == [hit.image_id for hit in library.query(question, k=200)]
            best = library.query(question, k=200, exact=True)
            n_missed += len({hit.image_id for hit in best} - set(shown))
        assert n_missed > 100  # it is approximate indeed


def test_a_model_lets_go_of_its_memory_once_and_only_before_an_index_is_read(
    tmp_path: Path,
) -> None:
    class RestingEncoder(WordEncoder):
        n_rests = 0

        def rest(self) -> None:
            self.n_rests += 1

    encoder = RestingEncoder()
    with Library(tmp_path / "library", encoder=encoder) as library:
        library.add_vectors(["a.jpg"], direction("bird")[None], root=tmp_path)
        library.query("bird"), library.query("bird")
        assert encoder.n_rests == 0  # there is no index file
        record = library._opened().model()
        assert record is not None
        merge(library._opened(), record, library._files)
        library.query("bird", exact=True)
        assert encoder.n_rests == 0
        library.query("bird"), library.query("bird")
        assert encoder.n_rests == 1
