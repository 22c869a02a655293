"""Scenes, drawn here from plain coloured squares, so that no font is needed."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from tests.training.fakes import square_painter
from training.backgrounds import draw_background
from training.glyphs import Sprite
from training.scenes import Painter, Stream, generator, is_held_out


@pytest.fixture
def painter() -> Painter:
    return square_painter()


def test_the_same_numbers_draw_the_same_scene(painter: Painter) -> None:
    first = painter.draw(generator(1, Stream.TRAIN, 5), 64)
    second = painter.draw(generator(1, Stream.TRAIN, 5), 64)
    assert first[0] == second[0]
    assert np.array_equal(np.asarray(first[1]), np.asarray(second[1]))


def test_other_streams_and_numbers_draw_other_scenes(painter: Painter) -> None:
    streams = ((1, Stream.TRAIN, 5), (1, Stream.EVALUATE, 5), (1, Stream.TRAIN, 6))
    pictures = {painter.draw(generator(*numbers), 64)[1].tobytes() for numbers in streams}
    pictures.add(painter.draw(generator(2, Stream.TRAIN, 5), 64)[1].tobytes())
    assert len(pictures) == 4


@pytest.mark.parametrize("held_out", [False, True])
def test_pairs_are_either_for_training_or_for_evaluation(painter: Painter, held_out: bool) -> None:
    for number in range(60):
        scene, _ = painter.draw(generator(0, Stream.TRAIN, number), 16, held_out=held_out)
        concepts = scene.concepts
        assert len(set(concepts)) == len(concepts)
        pairs = [(a, b) for a in concepts for b in concepts if a < b]
        assert all(is_held_out(*pair) == held_out for pair in pairs)


def test_about_a_tenth_of_the_pairs_is_held_out() -> None:
    pairs = [is_held_out(a, b) for a in range(200) for b in range(a)]
    assert 0.08 < sum(pairs) / len(pairs) < 0.12


def test_only_allowed_concepts_are_drawn(painter: Painter) -> None:
    few = Painter(painter.sprites, [3, 5, 8])
    drawn: set[int] = set()
    for number in range(30):
        scene, _ = few.draw(generator(0, Stream.DEMO, number), 16, layouts=(1, 0, 0, 0))
        drawn.update(scene.concepts)
    assert drawn == {3, 5, 8}


def test_a_lone_thing_covers_a_fair_part_of_the_picture(painter: Painter) -> None:
    for number in range(20):
        pink = Painter([Sprite((Image.new("RGBA", (64, 64), (255, 0, 255, 255)),))])
        _, picture = pink.draw(generator(3, Stream.TRAIN, number), 96, layouts=(1, 0, 0, 0))
        pixels = np.asarray(picture).astype(int)
        covered = ((pixels[..., 0] > 150) & (pixels[..., 1] < 110) & (pixels[..., 2] > 150)).mean()
        assert covered > 0.08 or covered == 0  # 0: the thing is tinted


def test_backgrounds_of_every_kind_fill_the_canvas_and_have_words() -> None:
    for number in range(60):
        canvas, phrases = draw_background(np.random.default_rng(number), 33)
        assert canvas.shape == (33, 33, 3)
        assert np.isfinite(canvas).all()
        assert all(phrase.startswith(("on ", "by ", "in ", "at ", "under ")) for phrase in phrases)
