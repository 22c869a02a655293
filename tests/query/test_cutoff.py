"""Which pictures stand out: made-up vectors, where what is right is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from clipsearch.probes import ImageProbe, Query, TextProbe, VectorProbe, parse
from clipsearch.query.cutoff import (
    MATCH,
    STEP,
    Asked,
    Numbers,
    Ordinary,
    confidences,
    floor_of,
    standing,
)
from clipsearch.query.search import exact_scores
from clipsearch.vectors import FloatArray, normalise

DIM = 64
Made = tuple[Ordinary, FloatArray, FloatArray]


def made(n: int, n_matching: int, strength: float = 0.5, seed: int = 0) -> Made:
    """A library of n pictures, the first of which lean towards the question that comes last."""
    random = np.random.default_rng(seed)
    towards_all = random.normal(size=DIM)  # pictures have a direction in common, and words another
    pictures = random.normal(size=(n, DIM)) + 0.4 * towards_all
    prompts = normalise(random.normal(size=(300, DIM)) + 0.3 * towards_all)
    question = normalise(random.normal(size=DIM) + 0.3 * towards_all)
    pictures = normalise(pictures)
    pictures[:n_matching] = normalise(pictures[:n_matching] + strength * question)
    spread = np.unique(np.linspace(0, n - 1, min(n, 512)).astype(int))
    return Ordinary(pictures[spread], prompts, n), pictures, question


def sure(made: Made, *, is_words: bool = True, has_parts: bool = False) -> Numbers:
    """The confidence of every picture."""
    ordinary, pictures, question = made
    asked = Asked(question, is_words, has_parts)
    stands = standing(asked, pictures, exact_scores(pictures, question), ordinary)
    first = -np.sort(-stands)[:STEP]
    sample = ordinary.sample

    def of_sample() -> Numbers:
        return standing(asked, sample, exact_scores(sample, question), ordinary)

    return confidences(stands, floor_of(asked, first, ordinary, of_sample))


@pytest.mark.parametrize("n", [1, 10, 100, 1000, 20_000])
def test_nothing_stands_out_where_nothing_is_meant(n: int) -> None:
    found = [(sure(made(n, 0, seed=seed)) >= MATCH).any() for seed in range(10)]
    assert sum(found) <= 2


@pytest.mark.parametrize("n", [1, 10, 100, 1000, 20_000])
def test_one_picture_that_is_meant_stands_out(n: int) -> None:
    found = np.nonzero(sure(made(n, 1, strength=1.2)) >= MATCH)[0]
    assert found.tolist() == [0]


@pytest.mark.parametrize("n", [30, 300, 3000])
def test_a_third_of_the_library_can_stand_out(n: int) -> None:
    is_match = sure(made(n, n // 3, strength=0.8)) >= MATCH
    assert is_match[: n // 3].mean() > 0.9
    assert is_match[n // 3 :].mean() < 0.02


def test_a_library_of_nothing_else_stands_out_whole() -> None:
    assert (sure(made(300, 300, strength=1.0)) >= MATCH).mean() > 0.9


def test_what_matches_a_part_is_kept_apart_where_the_question_has_parts() -> None:
    ordinary, pictures, question = made(300, 0)
    pictures[0] = normalise(pictures[0] + 1.5 * question)
    pictures[1] = normalise(pictures[1] + 0.8 * question)
    one_word, parts = (
        sure((ordinary, pictures, question), has_parts=has_parts) >= MATCH
        for has_parts in (False, True)
    )
    assert one_word[:2].tolist() == [True, True]
    assert parts[:2].tolist() == [True, False]


def test_a_picture_finds_its_like() -> None:
    ordinary, pictures, _ = made(300, 0)
    probe = pictures[7]
    random = np.random.default_rng(1)
    pictures[8] = normalise(probe + 0.3 * normalise(random.normal(size=DIM)))
    found = sure((ordinary, pictures, probe), is_words=False)
    assert set(np.nonzero(found >= MATCH)[0]) == {7, 8}


def test_confidence_rises_with_standing() -> None:
    ordinary, pictures, question = made(100, 5, strength=1.0)
    scores = exact_scores(pictures, question)
    stands = standing(Asked(question, True, False), pictures, scores, ordinary)
    confidence = sure((ordinary, pictures, question))
    assert np.all(np.diff(confidence[np.argsort(stands)]) >= 0)
    assert confidence.min() >= 0 and confidence.max() <= 1


@pytest.mark.parametrize(
    ("query", "is_words", "has_parts"),
    [
        (parse("dog"), True, False),
        (parse("a dog"), True, False),
        (parse("a red dog"), True, True),
        (parse("dog + cat"), False, True),
        (parse("dog - cat"), False, True),
        (Query((ImageProbe(Path("a.jpg")),)), False, False),
        (Query((VectorProbe(np.ones(4, np.float32)),)), False, False),
        (Query((ImageProbe(Path("a.jpg")), TextProbe("night"))), False, True),
    ],
)
def test_what_kind_of_question_it_is(query: Query, is_words: bool, has_parts: bool) -> None:
    asked = Asked.of(query, np.ones(4, np.float32))
    assert (asked.is_words, asked.has_parts) == (is_words, has_parts)
