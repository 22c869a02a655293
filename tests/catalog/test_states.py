"""Whatever happens to images, in whatever order: an old index without the dead, and the vectors
after it, are exactly the present images with their newest vectors."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from clipsearch.catalog import Catalog, ModelRecord

values = st.integers(-8, 8).map(lambda n: n / 8)


@dataclass
class Expected:
    state: str
    reason: str | None
    value: float | None


class States(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.catalog = Catalog.open(self.folder / "catalog.sqlite3", create=True)
        self.model_id = self.catalog.set_model(ModelRecord("tiny", "ab", 1)).model_id
        self.expected: dict[int, Expected] = {}
        self.base: dict[int, float] = {}
        self.base_id = self.n_added = 0

    def teardown(self) -> None:
        self.catalog.close()
        shutil.rmtree(self.folder)

    def some(self, data: st.DataObject) -> list[int]:
        ids = st.sampled_from(sorted(self.expected))
        return data.draw(st.lists(ids, unique=True, min_size=1, max_size=3))

    @rule(value=values)
    def add(self, value: float) -> None:
        with self.catalog.begin() as batch:
            folder_id = batch.add_folder(b"/p").folder_id
            self.n_added += 1
            name = b"%d" % self.n_added
            image_id = batch.add_image(folder_id, name, 1, 2, b"h")
            batch.put_vectors(self.model_id, [image_id], np.array([[value]]))
        self.expected[image_id] = Expected("present", None, value)

    @precondition(lambda self: self.expected)
    @rule(data=st.data(), value=values)
    def encode_again(self, data: st.DataObject, value: float) -> None:
        ids = self.some(data)
        with self.catalog.begin() as batch:
            for image_id in ids:
                batch.update_image(image_id, state="present")
            batch.put_vectors(self.model_id, ids, np.full((len(ids), 1), value))
        self.expected |= {image_id: Expected("present", None, value) for image_id in ids}

    @precondition(lambda self: self.expected)
    @rule(data=st.data())
    def become_unreadable(self, data: st.DataObject) -> None:
        ids = self.some(data)
        with self.catalog.begin() as batch:
            for image_id in ids:
                batch.update_image(image_id, state="unreadable", reason="truncated")
            batch.remove_vectors(ids)
        self.expected |= {image_id: Expected("unreadable", "truncated", None) for image_id in ids}

    @precondition(lambda self: self.expected)
    @rule(data=st.data())
    def go_missing(self, data: st.DataObject) -> None:
        ids = self.some(data)
        with self.catalog.begin() as batch:
            batch.mark_missing(ids)
        for image_id in ids:
            self.expected[image_id].state = "missing"

    @precondition(lambda self: self.expected)
    @rule(data=st.data())
    def come_back(self, data: st.DataObject) -> None:
        ids = self.some(data)
        with self.catalog.begin() as batch:
            batch.mark_present(ids)
        for image_id in ids:
            image = self.expected[image_id]
            image.state = "unreadable" if image.reason else "present"

    @precondition(lambda self: self.expected)
    @rule(data=st.data())
    def lose_vectors(self, data: st.DataObject) -> None:
        ids = self.some(data)
        with self.catalog.begin() as batch:
            batch.remove_vectors(ids)
        for image_id in ids:
            self.expected[image_id].value = None

    @precondition(lambda self: self.expected)
    @rule(data=st.data())
    def be_forgotten(self, data: st.DataObject) -> None:
        ids = self.some(data)
        with self.catalog.begin() as batch:
            batch.forget(ids)
        for image_id in ids:
            del self.expected[image_id]

    @rule()
    def build_an_index(self) -> None:
        self.base = self.vectors_after(0)
        self.base_id = self.catalog.last_vector_id(self.model_id)
        with self.catalog.begin() as batch:
            batch.clear_forgotten(batch.forgotten_ids())

    def vectors_after(self, vector_id: int) -> dict[int, float]:
        batches = self.catalog.vector_batches(self.model_id, vector_id, batch_size=2)
        return {
            int(image_id): float(value)
            for batch in batches
            for image_id, value in zip(batch.image_ids, batch.vectors[:, 0], strict=True)
        }

    @invariant()
    def records_are_as_expected(self) -> None:
        records = self.catalog.records(self.expected)
        found = {image_id: (r.state, r.reason) for image_id, r in records.items()}
        assert found == {n: (image.state, image.reason) for n, image in self.expected.items()}

    @invariant()
    def index_and_newer_vectors_make_up_the_library(self) -> None:
        dead = set(self.catalog.dead_ids(self.model_id, self.base_id).tolist())
        alive = {n: value for n, value in self.base.items() if n not in dead}
        newer = self.vectors_after(self.base_id)
        assert not alive.keys() & newer.keys()
        present = {n: e.value for n, e in self.expected.items() if e.state == "present"}
        assert alive | newer == {n: v for n, v in present.items() if v is not None}
        assert self.catalog.vector_count(self.model_id) == len(alive | newer)
        # How status counts: the images and the forgotten ones that are not dead are in the index.
        n_all = self.catalog.counts().images + self.catalog.forgotten_count()
        assert n_all - len(dead) == len(alive)


TestStates = States.TestCase
TestStates.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)
