"""Base and tail together give what a plain scan of the catalog gives, in every state of both."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clipsearch.care.leftovers import remove_leftovers
from clipsearch.catalog import Catalog, ModelRecord
from clipsearch.errors import VectorIndexError
from clipsearch.index import VectorIndex, generations, recall
from clipsearch.index.base import Proposal
from clipsearch.index.ivf import Effort
from clipsearch.indexer.lock import merge_lock
from clipsearch.indexer.merge import (
    MERGE_FROM,
    can_be_due,
    drop_unusable,
    is_merge_due,
    merge,
    merge_if_due,
    use_recipe,
)
from clipsearch.indexer.report import Tally
from clipsearch.query.base import Base, BaseFiles, Coverage
from clipsearch.query.hits import Hit
from clipsearch.query.search import LEAST_DEPTH, Space, exact_scores, search
from clipsearch.vectors import FloatArray, IdArray, normalise

DIMENSION = 8
RANDOM = np.random.default_rng(7)


class Shelf:
    """A catalog with random vectors and no files, and its index files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files = BaseFiles(folder / "index")
        self.open()
        with self.catalog.begin() as write:
            self.root = write.add_folder(b"/pictures").folder_id
        self.n = 0

    def open(self) -> None:
        self.catalog = Catalog.open(self.folder / "catalog.sqlite3", create=True)
        self.model = self.catalog.set_model(ModelRecord("m", "0" * 64, DIMENSION))

    def add(self, vectors: FloatArray) -> list[int]:
        with self.catalog.begin() as write:
            ids = []
            for _ in vectors:
                self.n += 1
                ids.append(write.add_image(self.root, b"%d.png" % self.n, 1, 1, b"%016d" % self.n))
            write.put_vectors(self.model.model_id, ids, vectors)
        return ids

    def search(self, vector: FloatArray, k: int, leave_out: list[int] | None = None) -> list[Hit]:
        base = self.files.base(self.catalog, self.model)
        space = Space(self.catalog, self.model.model_id, base)
        return search(vector, space, k, np.array(leave_out or [], dtype=np.int64))

    def brute_force(self, vector: FloatArray, k: int) -> list[tuple[int, float]]:
        rows = []
        for batch in self.catalog.vector_batches(self.model.model_id):
            scores = normalise(batch.vectors).astype(np.float64) @ vector.astype(np.float64)
            rows += [(-s, int(i)) for s, i in zip(scores, batch.image_ids, strict=True)]
        return [(image_id, -score) for score, image_id in sorted(rows)[:k]]


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[Shelf]:
    shelf = Shelf(tmp_path)
    yield shelf
    shelf.catalog.close()


def random_vectors(n: int) -> FloatArray:
    return normalise(RANDOM.normal(size=(n, DIMENSION)))


def covered(shelf: Shelf) -> tuple[str, int, int, int]:
    found = shelf.files.coverage(shelf.catalog, shelf.model)
    return found.recipe, found.n_base, found.n_dead, found.n_tail


def check(shelf: Shelf, k: int = 25) -> None:
    """What is found is right, and the same without any index file."""
    for vector in random_vectors(5):
        hits = shelf.search(vector, k)
        expected = shelf.brute_force(vector, k)
        assert [hit.image_id for hit in hits] == [image_id for image_id, _ in expected]
        np.testing.assert_allclose([hit.score for hit in hits], [s for _, s in expected], atol=1e-6)
        plain = search(vector, Space(shelf.catalog, shelf.model.model_id), k)
        assert hits == plain


def test_without_an_index_file_the_catalog_is_searched(shelf: Shelf) -> None:
    shelf.add(random_vectors(300))
    assert shelf.files.base(shelf.catalog, shelf.model) is None
    check(shelf)


def test_base_and_tail_make_up_the_library(shelf: Shelf) -> None:
    shelf.add(random_vectors(300))
    merge(shelf.catalog, shelf.model, shelf.files)
    check(shelf)
    shelf.add(random_vectors(50))
    check(shelf)


def test_what_is_dead_in_the_base_is_not_found(shelf: Shelf) -> None:
    ids = shelf.add(random_vectors(300))
    merge(shelf.catalog, shelf.model, shelf.files)
    with shelf.catalog.begin() as write:
        write.mark_missing(ids[:100])
        write.remove_vectors(ids[100:120])
    check(shelf)
    with shelf.catalog.begin() as write:
        write.mark_present(ids[:50])
    check(shelf)


def test_a_new_vector_of_an_old_image_counts(shelf: Shelf) -> None:
    ids = shelf.add(random_vectors(300))
    merge(shelf.catalog, shelf.model, shelf.files)
    with shelf.catalog.begin() as write:
        write.put_vectors(shelf.model.model_id, ids[:100], random_vectors(100))
    check(shelf)


def test_an_image_that_was_away_during_a_merge_is_found_when_it_is_back(shelf: Shelf) -> None:
    ids = shelf.add(random_vectors(300))
    with shelf.catalog.begin() as write:
        write.mark_missing(ids[:100])
    merge(shelf.catalog, shelf.model, shelf.files)
    with shelf.catalog.begin() as write:
        write.mark_present(ids[:100])
    check(shelf)


def test_a_thousand_equals_are_ordered_by_id_through_the_base_too(shelf: Shelf) -> None:
    same = random_vectors(1)
    ids = shelf.add(np.repeat(same, 1000, axis=0))
    merge(shelf.catalog, shelf.model, shelf.files)
    ids += shelf.add(np.repeat(same, 10, axis=0))
    for k in (1, 5, 15, 600, 1010):
        assert [hit.image_id for hit in shelf.search(same[0], k)] == ids[:k]


class Counted:
    """A state of the catalog that counts the vectors which are read from it."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog, self.n_read = catalog, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.catalog, name)

    def vectors_of(self, model_id: int, image_ids: IdArray) -> tuple[IdArray, FloatArray]:
        self.n_read += len(image_ids)
        return self.catalog.vectors_of(model_id, image_ids)


def estimating(vectors: FloatArray, ids: list[int], error: float) -> VectorIndex:
    """An index that proposes every vector, with scores that are off by up to an error."""
    draw = np.random.default_rng(3)

    class Estimating:
        recipe, dimension = "estimating", DIMENSION

        def __len__(self) -> int:
            return len(ids)

        def propose(
            self,
            query: FloatArray,
            k: int,
            allowed: IdArray | None = None,
            excluded: IdArray | None = None,
        ) -> Proposal:
            wanted = ~np.isin(ids, [] if excluded is None else excluded)
            off = draw.uniform(-error, error, len(ids))
            at_most = (vectors @ query + off + error + 1e-3)[wanted].astype(np.float32)
            order = np.argsort(-at_most)
            return Proposal(np.array(ids)[wanted][order], at_most[order])

    return Estimating()


def test_a_query_reads_no_more_than_can_be_among_the_best(shelf: Shelf) -> None:
    vectors = random_vectors(2000)
    ids = shelf.add(vectors)
    base = Base(estimating(vectors, ids, 0.05), shelf.catalog.revision())
    with shelf.catalog.begin() as write:
        write.mark_missing(ids[:100])
    shelf.add(random_vectors(20))
    for vector in random_vectors(10):
        counted = Counted(shelf.catalog)
        hits = search(vector, Space(counted, shelf.model.model_id, base), 15)
        assert [hit.image_id for hit in hits] == [n for n, _ in shelf.brute_force(vector, 15)]
        assert 64 <= counted.n_read < 1000
        space = Space(shelf.catalog, shelf.model.model_id, base)
        assert search(vector, space, 5) == hits[:5]
        out = np.array([hit.image_id for hit in hits[:5]])
        assert search(vector, space, 10, out) == hits[5:]


def test_as_many_are_looked_for_as_the_examination_supposed() -> None:
    assert recall.DEPTH == LEAST_DEPTH


def test_what_is_left_out_makes_room_for_the_next(shelf: Shelf) -> None:
    shelf.add(random_vectors(300))
    merge(shelf.catalog, shelf.model, shelf.files)
    shelf.add(random_vectors(50))
    vector = random_vectors(1)[0]
    all_hits = shelf.search(vector, 40)
    out = [hit.image_id for hit in all_hits[:10]]
    assert shelf.search(vector, 30, leave_out=out) == all_hits[10:]


def test_what_is_left_out_makes_room_among_the_newest_too(shelf: Shelf) -> None:
    shelf.add(random_vectors(100))
    vector = random_vectors(1)[0]
    all_hits = shelf.search(vector, 30)
    out = [hit.image_id for hit in all_hits[:20]]
    assert shelf.search(vector, 10, leave_out=out) == all_hits[20:]


@pytest.mark.parametrize("damage", [b"", b"not an index", None])
def test_a_lost_index_file_changes_no_answer(shelf: Shelf, damage: bytes | None) -> None:
    shelf.add(random_vectors(300))
    path = merge(shelf.catalog, shelf.model, shelf.files)
    check(shelf)
    path.unlink() if damage is None else path.write_bytes(damage)
    check(shelf)
    assert shelf.files.coverage(shelf.catalog, shelf.model) == Coverage("none", 0, 0, 300)


def test_an_index_file_that_is_ahead_of_the_catalog_is_not_used(
    shelf: Shelf, tmp_path: Path
) -> None:
    shelf.add(random_vectors(300))
    merge(shelf.catalog, shelf.model, shelf.files)
    (tmp_path / "older").mkdir()
    older = Shelf(tmp_path / "older")
    older.files = shelf.files
    older.add(random_vectors(100))
    check(older)
    older.catalog.close()


def test_an_index_file_of_another_library_hides_nothing(shelf: Shelf, tmp_path: Path) -> None:
    shelf.add(random_vectors(300))
    merge(shelf.catalog, shelf.model, shelf.files)
    (tmp_path / "other").mkdir()
    other = Shelf(tmp_path / "other")
    other.files = shelf.files
    other.add(random_vectors(300))
    check(other)
    assert other.files.coverage(other.catalog, other.model) == Coverage("none", 0, 0, 300)
    other.catalog.close()


def test_a_return_to_an_older_copy_of_the_catalog_costs_no_hit(
    shelf: Shelf, tmp_path: Path
) -> None:
    shelf.add(random_vectors(200))
    shelf.catalog.close()
    copy = (tmp_path / "catalog.sqlite3").read_bytes()
    shelf.open()
    shelf.add(random_vectors(100))
    merge(shelf.catalog, shelf.model, shelf.files)
    shelf.catalog.close()
    (tmp_path / "catalog.sqlite3").write_bytes(copy)
    shelf.open()
    drop_unusable(shelf.catalog, shelf.model, shelf.files)
    shelf.n = 200
    shelf.add(random_vectors(150))  # as many as before and more, under the same ids
    check(shelf)


def test_a_usable_index_file_stays(shelf: Shelf) -> None:
    drop_unusable(shelf.catalog, shelf.model, shelf.files)
    shelf.add(random_vectors(30))
    merge(shelf.catalog, shelf.model, shelf.files)
    drop_unusable(shelf.catalog, shelf.model, shelf.files)
    assert generations(shelf.files.folder) == [1]


def test_an_index_file_outlives_the_newest_of_its_vectors(shelf: Shelf) -> None:
    ids = shelf.add(random_vectors(30))
    merge(shelf.catalog, shelf.model, shelf.files)
    with shelf.catalog.begin() as write:
        write.remove_vectors(ids[-3:])
        for image_id in ids[-3:]:
            write.update_image(image_id, state="unreadable", reason="broken")
    assert covered(shelf) == ("exact", 30, 3, 0)
    assert shelf.files.base(shelf.catalog, shelf.model) is not None
    check(shelf)


def test_the_ids_of_the_index_are_those_of_the_images(shelf: Shelf) -> None:
    shelf.add(random_vectors(10))
    ids = shelf.add(random_vectors(20))
    with shelf.catalog.begin() as write:
        write.mark_missing(range(1, 11))
    merge(shelf.catalog, shelf.model, shelf.files)
    base = shelf.files.base(shelf.catalog, shelf.model)
    assert base is not None
    vector = random_vectors(1)
    assert sorted(base.index.propose(vector[0], 20).ids) == ids
    assert sorted(hit.image_id for hit in shelf.search(vector[0], 20)) == ids


def test_threads_that_come_together_read_the_index_file_once(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf.add(random_vectors(300))
    merge(shelf.catalog, shelf.model, shelf.files)
    read, n_read = BaseFiles._read, []

    def slowly(self: BaseFiles, *arguments: Any) -> Base | None:
        n_read.append(1)
        together.wait(0.2) if len(n_read) > 1 else time.sleep(0.05)
        return read(self, *arguments)

    together = threading.Event()
    monkeypatch.setattr(BaseFiles, "_read", slowly)
    with ThreadPoolExecutor(4) as pool:
        bases = [pool.submit(shelf.files.base, shelf.catalog, shelf.model) for _ in range(4)]
    assert len({id(base.result()) for base in bases}) == 1 and len(n_read) == 1


def test_merging_keeps_one_file_and_counts_what_is_outside(shelf: Shelf) -> None:
    ids = shelf.add(random_vectors(30))
    merge(shelf.catalog, shelf.model, shelf.files)
    merge(shelf.catalog, shelf.model, shelf.files)
    assert generations(shelf.files.folder) == [2]
    shelf.add(random_vectors(5))
    with shelf.catalog.begin() as write:
        write.mark_missing(ids[:2])
    assert covered(shelf) == ("exact", 30, 2, 5)


def test_what_can_be_due_is_never_underestimated(shelf: Shelf) -> None:
    ids = shelf.add(random_vectors(30))
    merge(shelf.catalog, shelf.model, shelf.files)
    header = shelf.files.header(shelf.catalog, shelf.model)
    assert header is not None
    shelf.add(random_vectors(5))
    with shelf.catalog.begin() as write:
        write.mark_missing(ids[:2])
        write.forget(ids[2:5])
        write.put_vectors(shelf.model.model_id, ids[5:9], random_vectors(4))
        write.update_image(ids[9], state="unreadable", reason="broken")
    found = shelf.files.coverage(shelf.catalog, shelf.model)
    n_most = shelf.catalog.changes_at_most(shelf.model.model_id, header.through_vector_id, 1000)
    assert (found.n_tail, found.n_dead) == (9, 10)
    assert found.n_tail + found.n_dead <= n_most <= 2 * (found.n_tail + found.n_dead)


@pytest.mark.parametrize(
    ("n_new", "can_be", "is_due"), [(2, False, False), (3, True, False), (6, True, True)]
)
def test_what_is_due_can_be_due(shelf: Shelf, n_new: int, can_be: bool, is_due: bool) -> None:
    shelf.add(random_vectors(200))
    merge(shelf.catalog, shelf.model, shelf.files)
    shelf.add(random_vectors(n_new))
    assert can_be_due(shelf.catalog, shelf.model, shelf.files, merge_from=5) is can_be
    assert is_merge_due(shelf.files.coverage(shelf.catalog, shelf.model), merge_from=5) is is_due


@pytest.mark.parametrize(
    ("covered", "is_due"),
    [
        (Coverage("none", 0, 0, MERGE_FROM), False),
        (Coverage("none", 0, 0, MERGE_FROM + 1), True),
        (Coverage("ivf-rabitq", 10**6, 0, 20_000), False),
        (Coverage("ivf-rabitq", 10**6, 1, 20_000), True),
    ],
)
def test_a_merge_is_due_when_it_pays(covered: Coverage, is_due: bool) -> None:
    assert is_merge_due(covered) is is_due


def test_a_merge_is_due_when_the_user_wants_another_kind() -> None:
    assert is_merge_due(Coverage("none", 0, 0, 5), "exact")
    assert is_merge_due(Coverage("exact", 5, 0, 0), "ivf-rabitq")
    assert not is_merge_due(Coverage("exact", 5, 0, 0), "exact")
    assert not is_merge_due(Coverage("none", 0, 0, 0), "exact")


@pytest.fixture(params=["exact", "ivf-rabitq"])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A recipe; the approximate index is told to search so hard that it must find everything."""
    monkeypatch.setattr("clipsearch.index.recall.LADDER", (Effort(10**6, 10**6),))
    return str(request.param)


def test_every_kind_of_index_gives_what_a_plain_scan_gives(shelf: Shelf, kind: str) -> None:
    ids = shelf.add(random_vectors(600))
    use_recipe(shelf.catalog, kind)
    merge(shelf.catalog, shelf.model, shelf.files)
    assert covered(shelf) == (kind, 600, 0, 0)
    check(shelf)
    shelf.add(random_vectors(50))
    with shelf.catalog.begin() as write:
        write.mark_missing(ids[:100])
        write.put_vectors(shelf.model.model_id, ids[100:150], random_vectors(50))
    check(shelf)
    merge(shelf.catalog, shelf.model, shelf.files)  # the approximate one is extended, not rebuilt
    assert covered(shelf) == (kind, 550, 0, 0)
    check(shelf)
    with shelf.catalog.begin() as write:
        write.mark_present(ids[:70])
    check(shelf)


def test_a_library_that_doubled_is_trained_anew(shelf: Shelf) -> None:
    use_recipe(shelf.catalog, "ivf-rabitq")
    for n, n_trained in ((200, 200), (199, 200), (2, 401)):
        shelf.add(random_vectors(n))
        merge(shelf.catalog, shelf.model, shelf.files)
        header = shelf.files.header(shelf.catalog, shelf.model)
        assert header is not None and header.n_trained == n_trained


def test_a_damaged_file_is_not_extended_but_built_anew(shelf: Shelf) -> None:
    use_recipe(shelf.catalog, "ivf-rabitq")
    shelf.add(random_vectors(300))
    path = merge(shelf.catalog, shelf.model, shelf.files)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    merge(shelf.catalog, shelf.model, shelf.files)
    assert covered(shelf) == ("ivf-rabitq", 300, 0, 0)
    check(shelf)


def test_indexing_goes_on_while_a_merge_is_under_way(shelf: Shelf, kind: str) -> None:
    ids = shelf.add(random_vectors(400))
    use_recipe(shelf.catalog, kind)

    def meddle(n_done: int, n_total: int) -> None:
        with shelf.catalog.begin() as write:
            write.mark_missing(ids[n_done % 100 : n_done % 100 + 20])
            write.mark_present(ids[:10])
            write.put_vectors(shelf.model.model_id, ids[300:310], random_vectors(10))
        shelf.add(random_vectors(5))

    merge(shelf.catalog, shelf.model, shelf.files, meddle)
    check(shelf)


def test_who_is_forgotten_during_a_merge_stays_among_the_dead(shelf: Shelf, kind: str) -> None:
    ids = shelf.add(random_vectors(400))
    use_recipe(shelf.catalog, kind)
    with shelf.catalog.begin() as write:
        write.forget(ids[:5])

    def forget(n_done: int, n_total: int) -> None:
        if n_done:
            with shelf.catalog.begin() as write:
                write.forget(ids[100:110])

    merge(shelf.catalog, shelf.model, shelf.files, forget)
    assert shelf.catalog.forgotten_ids().tolist() == ids[100:110]
    check(shelf)
    merge(shelf.catalog, shelf.model, shelf.files)
    assert shelf.catalog.forgotten_count() == 0
    check(shelf)


def test_a_file_of_a_model_that_was_changed_meanwhile_is_not_published(shelf: Shelf) -> None:
    shelf.add(random_vectors(50))
    other = replace(shelf.model, preprocessing={"crop": "none"})

    def change(n_done: int, n_total: int) -> None:
        with shelf.catalog.begin() as write:
            write.set_model(other, replace=True)

    with pytest.raises(VectorIndexError, match="another one"):
        merge(shelf.catalog, shelf.model, shelf.files, change)
    assert list(shelf.files.folder.iterdir()) == []


def test_a_file_that_is_being_written_is_no_leftover(shelf: Shelf) -> None:
    shelf.add(random_vectors(50))

    def tidy(n_done: int, n_total: int) -> None:
        assert remove_leftovers(shelf.folder, shelf.files.folder) == []

    with merge_lock(shelf.folder):
        merge(shelf.catalog, shelf.model, shelf.files, tidy)
    check(shelf)


def test_a_merge_that_is_interrupted_leaves_the_old_file(shelf: Shelf, kind: str) -> None:
    use_recipe(shelf.catalog, kind)
    shelf.add(random_vectors(300))
    merge(shelf.catalog, shelf.model, shelf.files)
    shelf.add(random_vectors(300))

    def interrupt(n_done: int, n_total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        merge(shelf.catalog, shelf.model, shelf.files, interrupt)
    assert [path.name for path in shelf.files.folder.iterdir()] == ["base-1.idx"]
    check(shelf)


def test_one_merges_and_the_other_does_not_wait(shelf: Shelf) -> None:
    shelf.add(random_vectors(10))
    use_recipe(shelf.catalog, "exact")
    with merge_lock(shelf.folder) as is_mine:
        assert is_mine
        merge_if_due(shelf.catalog, shelf.model, shelf.files, Tally())
        assert not shelf.files.has_files()
    for _ in range(2):
        merge_if_due(shelf.catalog, shelf.model, shelf.files, Tally())
        assert generations(shelf.files.folder) == [1]


@pytest.mark.parametrize("few", [0, 10**6])
def test_a_filter_gives_what_brute_force_gives_among_the_allowed(
    shelf: Shelf, kind: str, few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clipsearch.query.search.FEW", few)
    ids = shelf.add(random_vectors(500))
    use_recipe(shelf.catalog, kind)
    merge(shelf.catalog, shelf.model, shelf.files)
    ids += shelf.add(random_vectors(50))
    with shelf.catalog.begin() as write:
        write.mark_missing(ids[:30])
    for n_allowed in (0, 1, 7, 60, 400):
        allowed = np.sort(RANDOM.permutation(ids)[:n_allowed])
        for vector in random_vectors(3):
            expected = [n for n, _ in shelf.brute_force(vector, 999) if n in allowed][:20]
            base = shelf.files.base(shelf.catalog, shelf.model)
            space = Space(shelf.catalog, shelf.model.model_id, base)
            hits = search(vector, space, 20, allowed=allowed)
            assert [hit.image_id for hit in hits] == expected


def test_equal_vectors_have_equal_scores_whatever_stands_beside_them() -> None:
    vector, one = random_vectors(2)
    alone = exact_scores(one[None], vector)[0]
    for n in (2, 3, 7, 64, 1000):
        rows = np.concatenate([random_vectors(n), one[None]])
        assert exact_scores(rows, vector)[-1] == alone


def test_scores_are_cosines_of_vectors_that_lost_a_little_length() -> None:
    vector = random_vectors(1)
    assert exact_scores(vector * np.float32(1.0005), vector[0])[0] == pytest.approx(1.0, abs=1e-7)
    assert exact_scores(vector, vector[0])[0] <= 1.0
