"""Captions: articles, plurals, wording."""

from __future__ import annotations

import numpy as np
import pytest

from training.captions import article, caption, name_prompt, plural
from training.concepts import Concept
from training.scenes import Scene, Thing

CONCEPTS = [Concept("", "dog", "animal", ("hound",)), Concept("", "cup with straw", "drink", ())]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("dog", "a dog"),
        ("elephant", "an elephant"),
        ("jeans", "jeans"),
        ("compass", "a compass"),
        ("bus", "a bus"),
    ],
)
def test_names_get_the_article_that_they_need(name: str, expected: str) -> None:
    assert article(name) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("dog", "dogs"),
        ("fox", "foxes"),
        ("cherry", "cherries"),
        ("monkey", "monkeys"),
        ("mouse", "mice"),
        ("fish", "fish"),
        ("scarf", "scarfs"),
        ("snowman", "snowmen"),
        ("jeans", "jeans"),
        ("polar bear", "polar bears"),
        ("police officer", "police officers"),
        ("cup with straw", "cups with straw"),
        ("person playing handball", "people playing handball"),
    ],
)
def test_the_head_of_a_name_is_counted(name: str, expected: str) -> None:
    assert plural(name) == expected


def test_a_plain_caption_says_number_colour_place_and_background() -> None:
    scene = Scene((Thing(0, 2, "red"),), None, None, ("on snow",))
    text = caption(scene, CONCEPTS, np.random.default_rng(0), aliases=False)
    assert text == "two red dogs on snow"


def test_a_plain_caption_joins_two_things_by_their_relation() -> None:
    scene = Scene((Thing(0, 1, None), Thing(1, 1, None)), "above", None, ("on snow",))
    texts = {
        caption(scene, CONCEPTS, np.random.default_rng(seed), aliases=False) for seed in range(60)
    }
    assert "a dog above a cup with straw on snow" in texts
    assert "a cup with straw below a dog on snow" in texts
    assert "a dog below a cup with straw on snow" not in texts


def test_aliases_stand_in_for_names_now_and_then() -> None:
    texts = [name_prompt(CONCEPTS[0], np.random.default_rng(seed)) for seed in range(200)]
    share = sum("hound" in text for text in texts) / len(texts)
    assert 0.1 < share < 0.5
