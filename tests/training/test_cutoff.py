"""The figures of the cutoff on the demo: the half of the names that nothing was chosen on."""

from __future__ import annotations

import pytest

from clipsearch.query.cutoff import MATCH
from training.cutoff import (
    Asking,
    ask,
    demo_collection,
    figures,
    simple_rules,
    taught_names,
    text_tower,
)
from training.questions import KINDS, questions


@pytest.fixture(scope="module")
def asking() -> Asking:
    demo = demo_collection()
    return ask(demo, questions(demo, taught_names(1)), text_tower())


def test_the_cutoff_tells_what_is_there_from_what_is_not(asking: Asking) -> None:
    found = figures(asking, asking.sure >= MATCH, KINDS)
    assert found.n_there == found.n_not_there >= 100
    assert found.f1 >= 0.9
    assert found.precision >= 0.9
    assert found.recall >= 0.6


def test_the_cutoff_beats_simple_rules_with_hindsight(asking: Asking) -> None:
    found = figures(asking, asking.sure >= MATCH, KINDS)
    for rule in simple_rules(asking, KINDS).values():
        assert found.f1 > rule.f1
        assert found.precision > rule.precision


def test_words_that_mini_never_learned_find_next_to_nothing(asking: Asking) -> None:
    kinds = [question.kind for question in asking.questions]
    for kind in ("gibberish", "a word never taught", "a related name"):
        mine = [at for at, each in enumerate(kinds) if each == kind]
        assert (asking.sure[mine] >= MATCH).any(axis=1).mean() <= 0.1
