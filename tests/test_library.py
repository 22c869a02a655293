"""The facade: what a user of the Python API sees, with real pictures, SQLite and FAISS."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from clipsearch.errors import (
    CatalogError,
    CatalogTooNew,
    FolderError,
    LibraryLocked,
    ModelError,
    ModelMismatch,
    ModelUnavailable,
    NoLibrary,
    QueryError,
    UnknownModel,
)
from clipsearch.indexer.lock import write_lock
from clipsearch.indexer.merge import merge
from clipsearch.library import Library, Progress
from clipsearch.library_model import LibraryModel
from clipsearch.probes import Query, TextProbe
from clipsearch.settings import Settings
from tests.clip.tiny import write_bundle
from tests.conftest import Paint
from tests.fakes import COLOURS, ColourEncoder


def names(hits: object) -> list[str]:
    return [hit.path.name for hit in hits]  # type: ignore[attr-defined]


@pytest.fixture
def painted(library: Library, paint: Paint, photos: Path) -> Library:
    for colour in COLOURS:
        paint(f"{colour}.png", colour)
    library.index(photos)
    return library


def test_words_find_what_they_name(painted: Library) -> None:
    hits = painted.query("a red thing", k=3)
    assert names(hits)[0] == "red.png"
    assert hits[0].score == pytest.approx(1.0, abs=1e-3)
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


def test_a_picture_finds_its_like_but_not_itself(painted: Library, photos: Path) -> None:
    Image.new("RGB", (16, 12), (250, 5, 5)).save(photos / "almost.png")
    painted.index(photos)
    assert names(painted.query(photos / "red.png", k=1)) == ["almost.png"]
    assert "red.png" not in names(painted.query(photos / "red.png", k=20))


def test_a_copy_held_in_hand_finds_the_picture(painted: Library, tmp_path: Path) -> None:
    copy = tmp_path / "copy.png"
    copy.write_bytes((tmp_path / "photos" / "red.png").read_bytes())
    assert names(painted.query(copy, k=20))[0] == "red.png"


def test_a_probe_that_changed_since_it_was_indexed_is_left_out(
    painted: Library, paint: Paint
) -> None:
    probe = paint("red.png", (200, 10, 10))
    assert "red.png" not in names(painted.query(probe, k=20))


def test_leaving_the_probe_out_costs_no_hit(painted: Library, photos: Path) -> None:
    assert len(painted.query(photos / "red.png", k=len(COLOURS) - 1)) == len(COLOURS) - 1


def test_a_path_as_text_is_a_picture(painted: Library, photos: Path) -> None:
    assert painted.query(str(photos / "red.png")) == painted.query(photos / "red.png")


def test_an_image_in_memory_can_be_looked_for(painted: Library) -> None:
    hits = painted.query(Image.new("RGBA", (30, 30), (0, 0, 255, 255)), k=1)
    assert names(hits) == ["blue.png"]


def test_a_vector_of_any_length_can_be_looked_for(painted: Library) -> None:
    vector = 7 * ColourEncoder().encode_texts(["green"])[0]
    as_words, as_vector = painted.query("green", k=2), painted.query(vector, k=2)
    assert [(hit.path, hit.score) for hit in as_vector] == [(h.path, h.score) for h in as_words]


def test_probes_of_all_kinds_add_up(painted: Library, photos: Path) -> None:
    assert names(painted.query(["red", "+", "green"], k=1)) == ["yellow.png"]
    assert names(painted.query("red + green", k=1)) == ["yellow.png"]
    mixed = [TextProbe("red"), photos / "green.png"]
    assert names(painted.query(mixed, k=1)) == ["yellow.png"]
    assert names(painted.query("white - red", k=1)) == ["cyan.png"]


def test_a_query_object_is_taken_as_it_is(painted: Library) -> None:
    assert painted.query(Query((TextProbe("red"),)), k=3) == painted.query("red", k=3)


def test_the_first_five_of_fifteen_are_the_five_of_five(painted: Library, paint: Paint) -> None:
    for n in range(20):
        paint(f"same{n}.png", (255, 0, 0), size=(16, 13 + n))
    painted.index(paint("x.png").parent)
    assert painted.query("red", k=15)[:5] == painted.query("red", k=5)


def test_equal_scores_are_ordered_by_id(library: Library, paint: Paint, photos: Path) -> None:
    for n in range(6):
        paint(f"{n}.png", "red", size=(16, 16 + n))
    library.index(photos)
    ids = [hit.image_id for hit in library.query("green", k=6)]
    assert ids == sorted(ids)


def test_scores_are_the_cosines_of_the_stored_vectors(painted: Library) -> None:
    encoder = ColourEncoder()
    wanted = encoder.encode_texts(["red"])[0]
    for hit in painted.query("red", k=8):
        with Image.open(hit.path) as image:
            expected = float(encoder.encode_images([image])[0] @ wanted)
        assert hit.score == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("k", [0, -1, 2.5, True])
def test_a_number_of_hits_below_one_is_refused(painted: Library, k: int) -> None:
    with pytest.raises(QueryError, match="hits"):
        painted.query("red", k=k)


@pytest.mark.parametrize("k", [1, 8, 1000])
def test_as_many_hits_as_asked_for_or_all(painted: Library, k: int) -> None:
    assert len(painted.query("red", k=k)) == min(k, len(COLOURS))


@pytest.mark.parametrize(
    "probe", ["", "   ", [], 3, None, {"a": 1}, np.zeros(4), np.ones(3), np.full(4, np.nan)]
)
def test_a_probe_without_sense_is_refused(painted: Library, probe: object) -> None:
    with pytest.raises(QueryError):
        painted.query(probe)


def test_an_option_that_there_is_not_is_refused_rather_than_passed_over(painted: Library) -> None:
    with pytest.raises(QueryError, match='no option "filter"'):
        painted.query("red", filter="year:2023")  # type: ignore[call-arg]


def test_probes_that_cancel_out_are_refused(painted: Library) -> None:
    with pytest.raises(QueryError, match="cancel"):
        painted.query("red - red")


@pytest.mark.parametrize("content", [None, b"no picture", b""])
def test_a_probe_picture_that_cannot_be_read_is_named(
    painted: Library, tmp_path: Path, content: bytes | None
) -> None:
    probe = tmp_path / "probe.jpg"
    if content is not None:
        probe.write_bytes(content)
    with pytest.raises(QueryError, match=r"probe\.jpg"):
        painted.query(probe)


def test_a_query_before_any_index_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(NoLibrary, match="clipsearch index"):
        Library(tmp_path / "none", encoder=ColourEncoder()).query("red")
    with pytest.raises(NoLibrary, match="none"):
        Library(tmp_path / "none", create=False)
    assert not (tmp_path / "none").exists()


def test_a_library_that_failed_to_start_leaves_nothing_behind(
    tmp_path: Path, photos: Path, paint: Paint
) -> None:
    library = Library(tmp_path / "new", encoder=ColourEncoder())
    with pytest.raises(FolderError, match="no pictures"):
        library.index(photos)
    with pytest.raises(FolderError, match="elsewhere"):
        library.index(tmp_path / "elsewhere")
    paint("red.png")
    with pytest.raises(ModelError):
        Library(tmp_path / "new", model="no such model").index(photos)
    assert not (tmp_path / "new").exists()


def test_a_model_that_cannot_be_fetched_leaves_no_library(
    tmp_path: Path, photos: Path, paint: Paint
) -> None:
    paint("red.png")
    settings = Settings(offline=True, cache_dir=tmp_path / "models")
    with pytest.raises(ModelUnavailable, match="ViT-B/32"):
        Library(tmp_path / "new", settings=settings).index(photos)
    assert not (tmp_path / "new").exists()


def test_an_indexing_that_was_killed_at_its_beginning_can_be_repeated(
    tmp_path: Path, photos: Path, paint: Paint
) -> None:
    paint("red.png")
    (tmp_path / "l").mkdir()
    (tmp_path / "l" / "catalog.sqlite3").touch()
    with pytest.raises(NoLibrary, match="clipsearch index"):
        Library(tmp_path / "l", create=False)
    with Library(tmp_path / "l", encoder=ColourEncoder()) as library:
        with pytest.raises(NoLibrary, match="clipsearch index"):
            library.query("red")
        assert library.index(photos).added == 1


def test_no_folder_at_all_is_an_error(library: Library) -> None:
    with pytest.raises(FolderError, match="no folder"):
        library.index()


def test_a_file_is_not_a_folder(library: Library, paint: Paint) -> None:
    with pytest.raises(FolderError, match=r"red\.png"):
        library.index(paint("red.png"))


def test_the_library_opens_again_with_what_was_in_it(painted: Library) -> None:
    expected = painted.query("red")
    painted.close()
    with Library(painted.path, create=False, encoder=ColourEncoder()) as again:
        assert again.query("red") == expected
        assert again.model_name == "colour"


def test_another_model_is_refused_by_name(painted: Library) -> None:
    with pytest.raises(ModelMismatch, match=r"'colour', not 'grey'.*leave the model out"):
        Library(painted.path, encoder=ColourEncoder("grey"))


def test_another_model_of_the_same_name_is_refused(painted: Library) -> None:
    other = ColourEncoder()
    other.model_sha256 = "0" * 64
    with pytest.raises(ModelMismatch, match="another model of that name"):
        Library(painted.path, encoder=other)


@pytest.mark.parametrize("model", ["mini", "RN50", "vit-b-32"])
def test_a_model_of_the_registry_is_refused_for_a_library_of_another(
    painted: Library, model: str
) -> None:
    with pytest.raises(ModelMismatch, match=f"'colour', not '{model}'"):
        Library(painted.path, model=model)


def test_a_model_that_nobody_knows_is_named(painted: Library) -> None:
    with pytest.raises(UnknownModel, match="hat in the cat"):
        Library(painted.path, model="hat in the cat")


def test_a_library_of_a_newer_version_is_left_alone(painted: Library) -> None:
    import sqlite3

    painted.close()
    connection = sqlite3.connect(painted.path / "catalog.sqlite3")
    with connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999_from_the_future'")
    connection.close()
    with pytest.raises(CatalogTooNew):
        Library(painted.path, encoder=ColourEncoder())


def test_two_writers_are_one_too_many(painted: Library, photos: Path) -> None:
    with write_lock(painted.path), pytest.raises(LibraryLocked, match=r"process [0-9]+ since"):
        painted.index(photos)
    painted.index(photos)


def test_queries_go_on_while_somebody_writes(painted: Library) -> None:
    with write_lock(painted.path):
        assert names(painted.query("blue", k=1)) == ["blue.png"]


def test_without_its_index_files_a_library_finds_the_same(painted: Library, photos: Path) -> None:
    model = painted._opened().model()
    assert model is not None
    file = merge(painted._opened(), model, painted._files)
    assert painted.status().index.n_base == len(COLOURS)
    questions: list[Any] = ["red", "white - red", photos / "blue.png"]
    before = [painted.query(question) for question in questions]
    file.unlink()
    assert painted.status().index.n_base == 0
    assert [painted.query(question) for question in questions] == before
    painted.close()
    with Library(painted.path, encoder=ColourEncoder()) as again:
        assert [again.query(question) for question in questions] == before


def test_an_index_file_from_elsewhere_is_cleared_away(painted: Library, photos: Path) -> None:
    model = painted._opened().model()
    assert model is not None
    file = merge(painted._opened(), model, painted._files)
    painted.index(photos)
    assert file.exists()
    file.write_bytes(b"not ours")
    assert names(painted.query("red", k=1)) == ["red.png"]
    painted.index(photos)
    assert not file.exists()


def test_threads_that_come_together_share_one_model(
    painted: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    painted.close()
    n_loaded = 0

    def load(self: LibraryModel, record: object, lite: bool) -> ColourEncoder:
        nonlocal n_loaded
        n_loaded += 1
        time.sleep(0.05)
        return ColourEncoder()

    monkeypatch.setattr(LibraryModel, "_load_for", load)
    with Library(painted.path) as library, ThreadPoolExecutor(4) as pool:
        hits = list(pool.map(library.query, ["red"] * 4))
    assert n_loaded == 1 and all(found == hits[0] for found in hits)


def test_status_counts_what_is_there(painted: Library, photos: Path, paint: Paint) -> None:
    (photos / "broken.jpg").write_bytes(b"no picture")
    (photos / "red.png").unlink()
    painted.index(photos)
    status = painted.status()
    assert (status.n_images, status.n_missing, status.n_unreadable) == (7, 1, 1)
    assert (status.model, status.dimension, status.n_vectors) == ("colour", 4, 7)
    assert [(folder.path, folder.n_images) for folder in status.folders] == [(photos, 7)]
    assert (status.index.n_base, status.index.n_tail) == (0, 7)
    assert status.catalog_bytes > 0
    json.dumps(status.to_dict())


def test_errors_lists_what_could_not_be_read(painted: Library, photos: Path) -> None:
    (photos / "broken.jpg").write_bytes(b"no picture")
    painted.index(photos)
    (error,) = painted.errors()
    assert error.path == photos / "broken.jpg"
    assert "not a picture" in error.reason


def test_progress_is_told_to_the_end(library: Library, paint: Paint, photos: Path) -> None:
    for n in range(5):
        paint(f"{n}.png", (n, 0, 0))
    told: list[Progress] = []
    library.index(photos, on_progress=told.append)
    assert (told[-1].stage, told[-1].n_done, told[-1].n_total) == ("encode", 5, 5)
    assert [step.n_done for step in told] == sorted(step.n_done for step in told)


def test_the_report_goes_into_json(library: Library, paint: Paint, photos: Path) -> None:
    paint("red.png")
    (photos / "broken.jpg").write_bytes(b"no picture")
    report = library.index(photos)
    values = json.loads(json.dumps(report.to_dict()))
    assert (values["added"], values["n_encoded"]) == (1, 1)
    assert values["skipped"][0]["path"] == str(photos / "broken.jpg")
    assert values["images_per_second"] > 0


def test_looking_at_a_library_loads_no_model(painted: Library) -> None:
    code = (
        "import sys; from clipsearch import Library\n"
        f"library = Library({str(painted.path)!r}, create=False)\n"
        "assert library.status().n_images == 8 and library.errors() == []\n"
        "library.close()\n"
        "heavy = {'torch', 'faiss', 'PIL'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[1])


def test_reading_writes_nothing(painted: Library, photos: Path) -> None:
    def state() -> dict[str, tuple[int, bytes]]:
        files = [path for path in painted.path.rglob("*") if path.is_file()]
        return {str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in files}

    painted.close()
    before = state()
    with Library(painted.path, create=False, encoder=ColourEncoder()) as library:
        library.query("red"), library.query(photos / "red.png"), library.status(), library.errors()
        with pytest.raises(QueryError):
            library.query(photos / "not there.png")
    assert state() == before
    assert {Path(name).name for name in before} == {"catalog.sqlite3", "write.lock"}


def test_a_library_that_is_refused_is_let_go_of(painted: Library) -> None:
    painted.close()
    with pytest.raises(ModelMismatch):
        Library(painted.path, encoder=ColourEncoder("grey"))
    assert not (painted.path / "catalog.sqlite3-wal").exists()  # goes with the last connection


# ---- with a real model of random weights


def test_a_model_from_a_folder_indexes_and_answers(
    tmp_path: Path, paint: Paint, photos: Path
) -> None:
    red, _ = paint("red.png", "red"), paint("blue.png", "blue")
    bundle = write_bundle(tmp_path / "models" / "tiny")
    with Library(tmp_path / "l", model=bundle) as library:
        assert library.index(photos).added == 2
        assert len(library.query("a red blue thing")) == 2
        assert names(library.query(red)) == ["blue.png"]
        copy = Image.open(red)
        assert library.query(copy, k=1)[0].score == pytest.approx(1.0, abs=1e-3)
        copy.close()
    with Library(tmp_path / "l", model=bundle) as again:
        assert again.model_name == "tiny" and again.index(photos).unchanged == 2
    with Library(tmp_path / "l") as without:  # it knows where its model was
        assert names(without.query(red)) == ["blue.png"]
    write_bundle(bundle, seed=1)  # another model in its place
    with Library(tmp_path / "l") as without, pytest.raises(ModelError, match="--model"):
        without.query("red")
    bundle.rename(bundle.with_name("elsewhere"))
    with Library(tmp_path / "l") as without, pytest.raises(ModelError, match=r"'tiny'.*--model"):
        without.query("red")


def test_another_model_from_a_folder_is_refused(tmp_path: Path, paint: Paint, photos: Path) -> None:
    paint("red.png")
    one = write_bundle(tmp_path / "models" / "one")
    other = write_bundle(tmp_path / "models" / "other", seed=1)
    with Library(tmp_path / "l", model=one) as library:
        library.index(photos)
    with pytest.raises(ModelMismatch, match="another model of that name"):
        Library(tmp_path / "l", model=other)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may enter everything")
def test_a_library_that_may_not_be_entered_is_told_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0)
    with pytest.raises(CatalogError, match="may not be entered"):
        Library(tmp_path / "closed")
