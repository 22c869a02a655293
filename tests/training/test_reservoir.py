"""Batches: new scenes and old ones, cropped, lit, worded."""

from __future__ import annotations

import numpy as np
import pytest

from tests.training.fakes import IMAGE_PX, random_shards
from training import reservoir as module
from training.reservoir import MEAN, STD, Reservoir, first_shard
from training.stream import SHARD


@pytest.fixture(autouse=True)
def small_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RESERVOIR", 3 * SHARD)
    monkeypatch.setattr(module, "SHARDS_AT_FIRST", 2)


def filled(step: int, fresh: int = SHARD) -> Reservoir:
    reservoir = Reservoir(random_shards(), IMAGE_PX)
    reservoir.reach(step, fresh)
    return reservoir


def test_scenes_are_taken_when_they_are_due_and_a_few_at_first() -> None:
    assert [filled(step).taken for step in (0, 1, 2, 5)] == [2, 2, 3, 6]


def test_the_oldest_scenes_make_room_for_new_ones() -> None:
    reservoir = filled(step=3)
    shards = random_shards()
    pixels = [next(shards).pixels for _ in range(4)]
    kept = reservoir.pixels.reshape(3, SHARD, *pixels[0].shape[1:])
    for slot, number in enumerate((3, 1, 2)):
        assert np.array_equal(kept[slot], pixels[number])
    assert reservoir.filled == 3 * SHARD


def test_a_batch_begins_with_the_newest_scenes() -> None:
    reservoir = filled(step=2)
    batch = reservoir.batch(np.random.default_rng(0), 6, fresh=4)
    newest = reservoir.concepts[reservoir.filled - 4 :][::-1]
    assert batch.concepts[:4].tolist() == newest.tolist()


def test_pixels_are_a_crop_in_some_light_normalised() -> None:
    reservoir = filled(step=2)
    batch = reservoir.batch(np.random.default_rng(0), 5, fresh=5)
    assert batch.pixels.shape == (5, 3, IMAGE_PX, IMAGE_PX)
    seen = (batch.pixels * STD + MEAN).numpy()
    assert seen.min() > -0.01
    assert seen.max() < 255 * 1.15 + 0.01
    light = [picture.mean() / 127.5 for picture in seen]
    assert np.ptp(light) > 0.05


def test_captions_end_where_the_longest_does() -> None:
    reservoir = filled(step=2)
    reservoir.tokens[..., 5] = 600
    batch = reservoir.batch(np.random.default_rng(0), 4, fresh=2)
    assert batch.tokens.shape == (4, 6)


def test_a_run_that_goes_on_begins_a_little_before_where_it_was() -> None:
    assert first_shard(0, fresh=128) == first_shard(30, fresh=128) == 0
    assert first_shard(1000, fresh=128) == 1000 - module.SHARDS_REFILLED
