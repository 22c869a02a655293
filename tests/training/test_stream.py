"""Shards: repeatable, in order, whoever draws them."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from tests.training.fakes import CONCEPTS, CONTEXT, squares, write_merges
from training import stream
from training.concepts import ANNOTATIONS, EMOJI_TEST
from training.glyphs import FONT
from training.stream import CAPTIONS_PER_SCENE, SHARD, Drawer, StreamSpec, in_order, shards

needs_font = pytest.mark.skipif(
    not all(path.exists() for path in (FONT, EMOJI_TEST, ANNOTATIONS)),
    reason="needs Debian's fonts-noto-color-emoji, unicode-data and unicode-cldr-core",
)


@pytest.fixture
def spec(tmp_path: Path) -> StreamSpec:
    return StreamSpec(1, 16, CONTEXT, write_merges(tmp_path / "merges.txt.gz"))


@pytest.fixture
def drawer(spec: StreamSpec, monkeypatch: pytest.MonkeyPatch) -> Drawer:
    monkeypatch.setattr(stream, "load_concepts", lambda: CONCEPTS)
    monkeypatch.setattr(stream, "draw_sprites", lambda concepts: squares())
    return Drawer(spec)


def test_a_shard_holds_pictures_captions_and_what_is_shown(drawer: Drawer) -> None:
    shard = drawer.shard(0)
    assert shard.pixels.shape == (SHARD, 18, 18, 3)
    assert shard.tokens.shape == (SHARD, CAPTIONS_PER_SCENE, CONTEXT)
    assert (shard.tokens.max(-1) == drawer.tokenizer.end_token).all()
    assert shard.concepts.shape == (SHARD, 3)
    assert (shard.concepts[:, 0] >= 0).all() and (shard.concepts < len(CONCEPTS)).all()


def test_a_shard_depends_on_seed_and_number_alone(drawer: Drawer) -> None:
    first, again, other = drawer.shard(3), drawer.shard(3), drawer.shard(4)
    assert np.array_equal(first.pixels, again.pixels)
    assert np.array_equal(first.tokens, again.tokens)
    assert not np.array_equal(first.pixels, other.pixels)


def test_results_come_in_order_though_later_ones_are_done_first() -> None:
    def late(number: int) -> int:
        time.sleep(0.02 if number == 5 else 0)
        return number

    with ThreadPoolExecutor(3) as pool:
        assert list(islice(in_order(pool, late, first=5, ahead=4), 7)) == list(range(5, 12))


def test_only_so_many_are_begun_in_advance() -> None:
    begun: list[int] = []
    with ThreadPoolExecutor(1) as pool:
        results = in_order(pool, begun.append, first=0, ahead=3)
        next(results)
        next(results)
    assert begun == [0, 1, 2, 3]


@needs_font
def test_processes_draw_the_same_shards_as_this_one(spec: StreamSpec) -> None:
    drawn = shards(spec, first=2, processes=1, ahead=1)
    shard = next(drawn)
    drawn.close()
    expected = Drawer(spec).shard(2)
    assert np.array_equal(shard.pixels, expected.pixels)
    assert np.array_equal(shard.tokens, expected.tokens)
    assert np.array_equal(shard.concepts, expected.concepts)
