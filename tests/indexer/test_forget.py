"""Forgetting for good: what goes, what stays, and that an index file's memory does no harm."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from clipsearch.catalog import Catalog, ModelRecord
from clipsearch.errors import FolderError, LibraryLocked
from clipsearch.indexer.lock import write_lock
from clipsearch.indexer.merge import merge
from clipsearch.library import Library
from clipsearch.query.base import BaseFiles
from clipsearch.query.search import Space, exact_scores, search
from clipsearch.vectors import normalise
from tests.conftest import Paint
from tests.fakes import ColourEncoder


@pytest.fixture
def filled(library: Library, paint: Paint, photos: Path) -> Library:
    """Present, missing and unreadable files, in two folders."""
    for n, name in enumerate(["a.png", "sub/b.png", "sub/c.png", "subway/d.png", "gone.png"]):
        paint(name, (200, 20 * n, 0))
    (photos / "sub" / "bad.png").write_bytes(b"no picture")
    (photos / "sub" / "link.png").symlink_to("nowhere")
    library.index(photos)
    (photos / "gone.png").unlink()
    library.index(photos)
    return library


def known(library: Library) -> set[str]:
    catalog = library._opened()
    records = [r for f in catalog.folders() for r in catalog.images(f.folder_id)]
    return {os.fsdecode(record.relative_path) for record in records}


def test_a_file_is_forgotten_with_its_vector(filled: Library, photos: Path) -> None:
    n_vectors = filled._opened().counts().vectors
    assert filled.forget(photos / "a.png").n_files == 1
    assert "a.png" not in known(filled)
    assert filled._opened().counts().vectors == n_vectors - 1
    assert photos / "a.png" not in {hit.path for hit in filled.query("red")}


def test_a_folder_is_forgotten_with_all_below_and_nothing_beside(
    filled: Library, photos: Path
) -> None:
    assert filled.forget(photos / "sub").n_files == 4  # two pictures, a broken one, a bad link
    assert known(filled) == {"a.png", "subway/d.png", "gone.png"}
    assert filled.errors() == []


def test_a_file_that_no_longer_exists_is_forgotten(filled: Library, photos: Path) -> None:
    assert filled.forget(photos / "gone.png").n_files == 1
    assert filled.status().n_missing == 0


def test_all_that_are_missing_are_forgotten_and_nothing_else(filled: Library, photos: Path) -> None:
    (photos / "sub" / "b.png").unlink()
    filled.index(photos)
    assert filled.forget(photos / "sub", only_missing=True).n_files == 1
    assert filled.forget(only_missing=True).n_files == 1
    assert known(filled) == {"a.png", "sub/c.png", "subway/d.png", "sub/bad.png"}
    assert len(filled.errors()) == 2


def test_what_the_library_does_not_have_is_named(filled: Library, photos: Path) -> None:
    done = filled.forget(photos / "a.png", photos / "su", "/")
    assert (done.n_files, done.not_found) == (7, (photos / "su",))
    assert known(filled) == set() and filled.status().folders == ()
    assert filled.forget("/").n_files == 0


def test_without_a_path_nothing_is_forgotten(filled: Library) -> None:
    with pytest.raises(FolderError, match="no path was named"):
        filled.forget()


def test_a_link_that_is_a_picture_is_forgotten_and_not_its_target(
    filled: Library, photos: Path
) -> None:
    (photos / "alias.png").symlink_to("a.png")
    filled.index(photos)
    assert filled.forget(photos / "alias.png").n_files == 1
    assert "a.png" in known(filled) and "alias.png" not in known(filled)


def test_a_folder_can_be_named_by_a_link_and_from_where_one_is(
    filled: Library, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "link").symlink_to(photos)
    assert filled.forget(tmp_path / "link" / "a.png").n_files == 1
    monkeypatch.chdir(photos / "subway")
    assert filled.forget("../subway/./d.png").n_files == 1
    assert filled.forget(tmp_path / "link").n_files == 5


def test_percent_signs_and_underscores_mean_themselves(
    library: Library, paint: Paint, photos: Path
) -> None:
    for name in ("a%/1.png", "ab/1.png", "a_/1.png", "a%b/1.png"):
        paint(name)
    library.index(photos)
    assert library.forget(photos / "a%", photos / "a_").n_files == 2
    assert known(library) == {"ab/1.png", "a%b/1.png"}


def test_a_forgotten_file_that_is_still_there_is_new_again(
    filled: Library, photos: Path, encoder: ColourEncoder
) -> None:
    old = filled.query("red", k=1)[0]
    filled.forget(old.path)
    encoder.n_encoded = 0
    assert filled.index(photos).added == 1 and encoder.n_encoded == 1
    new = filled.query("red", k=1)[0]
    assert new.path == old.path and new.image_id > old.image_id  # an id never comes back


def test_whoever_writes_keeps_the_library_to_himself(filled: Library, photos: Path) -> None:
    with write_lock(filled.path), pytest.raises(LibraryLocked):
        filled.forget(photos / "a.png")
    assert "a.png" in known(filled)


# ---- index files that still hold what was forgotten


N, DIMENSION = 1500, 8


@pytest.fixture
def many(tmp_path: Path) -> tuple[Catalog, ModelRecord, BaseFiles]:
    """A catalog of random vectors and an index file of them all; later some that are newer."""
    catalog = Catalog.open(tmp_path / "catalog.sqlite3", create=True)
    model = catalog.set_model(ModelRecord("random", "ab" * 32, DIMENSION))
    add(catalog, model, N)
    files = BaseFiles(tmp_path / "index")
    merge(catalog, model, files)
    add(catalog, model, 100)
    return catalog, model, files


def add(catalog: Catalog, model: ModelRecord, n: int) -> None:
    rng = np.random.default_rng(catalog.counts().images)
    with catalog.begin() as write:
        folder_id, first = write.add_folder(b"/p").folder_id, write.counts().images
        ids = [write.add_image(folder_id, b"%d" % (first + i), 1, 2, b"h") for i in range(n)]
        vectors = normalise(rng.standard_normal((n, DIMENSION)).astype(np.float32))
        write.put_vectors(model.model_id, ids, vectors)


def found(catalog: Catalog, model: ModelRecord, files: BaseFiles, k: int) -> list[int]:
    with catalog.snapshot() as state:
        space = Space(state, model.model_id, files.base(state, model))
        assert space.base is not None
        return [hit.image_id for hit in search(probe(), space, k)]


def nearest(catalog: Catalog, model: ModelRecord, k: int) -> list[int]:
    """By brute force over what the catalog has."""
    batches = list(catalog.vector_batches(model.model_id))
    ids = np.concatenate([batch.image_ids for batch in batches])
    vectors = np.concatenate([batch.vectors for batch in batches]).astype(np.float32)
    order = np.lexsort((ids, -exact_scores(vectors, probe())))
    return [int(n) for n in ids[order[:k]]]


def probe() -> NDArray[np.float32]:
    return normalise(np.arange(1, DIMENSION + 1, dtype=np.float32))


@pytest.mark.parametrize("n_forgotten", [1, 250, 1200])
def test_forgotten_neighbours_take_no_place_of_others(
    many: tuple[Catalog, ModelRecord, BaseFiles], n_forgotten: int
) -> None:
    catalog, model, files = many
    with catalog.begin() as write:
        write.forget(nearest(catalog, model, n_forgotten))
    assert found(catalog, model, files, 50) == nearest(catalog, model, 50)


def test_coverage_stays_right_until_a_new_file_leaves_them_out(
    many: tuple[Catalog, ModelRecord, BaseFiles],
) -> None:
    catalog, model, files = many
    with catalog.begin() as write:
        write.forget([*range(1, 301), *range(N + 1, N + 11)])
        write.mark_missing(range(301, 311))
    covered = files.coverage(catalog, model)
    assert (covered.n_base, covered.n_dead, covered.n_tail) == (N, 310, 90)
    assert catalog.forgotten_count() == 310
    merge(catalog, model, files)
    covered = files.coverage(catalog, model)
    assert (covered.n_base, covered.n_dead, covered.n_tail) == (N - 310 + 90, 0, 0)
    assert catalog.forgotten_count() == 0
    assert found(catalog, model, files, 50) == nearest(catalog, model, 50)


def test_while_an_older_file_might_be_used_again_the_dead_are_remembered(
    many: tuple[Catalog, ModelRecord, BaseFiles], monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog, model, files = many
    with catalog.begin() as write:
        write.forget(nearest(catalog, model, 300))

    def refuse(path: Path, missing_ok: bool = False) -> None:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", refuse)
        newest = merge(catalog, model, files)
    newest.write_bytes(b"torn")
    assert found(catalog, model, files, 50) == nearest(catalog, model, 50)


def test_forgetting_most_of_an_index_file_writes_a_new_one(
    filled: Library, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog = filled._opened()
    merge(catalog, catalog.model(), filled._files)  # type: ignore[arg-type]
    monkeypatch.setattr("clipsearch.indexer.merge.can_be_due", lambda *_: True)
    monkeypatch.setattr("clipsearch.indexer.merge.is_merge_due", lambda covered, _: covered.n_dead)
    filled.forget(photos / "sub")
    index = filled.status().index
    assert (index.n_base, index.n_dead) == (2, 0)
    assert catalog.forgotten_count() == 0 and len(filled.query("red")) == 2
