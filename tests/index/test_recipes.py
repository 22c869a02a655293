"""Which index a library gets."""

from __future__ import annotations

import pytest

from clipsearch.errors import VectorIndexError
from clipsearch.index import choose_recipe
from clipsearch.index.recipes import installed_memory

GB = 10**9


@pytest.mark.parametrize(
    ("count", "dimension", "memory", "recipe"),
    [
        (0, 512, 16 * GB, "exact"),
        (100_000, 512, 16 * GB, "exact"),
        (100_000, 2048, 16 * GB, "ivf-rabitq"),
        (1_000_000, 512, 16 * GB, "ivf-rabitq"),
        (1_000_000, 64, 16 * GB, "exact"),
        (100_000, 512, GB // 2, "ivf-rabitq"),
    ],
)
def test_exact_while_it_is_fast_and_fits(
    count: int, dimension: int, memory: int, recipe: str
) -> None:
    assert choose_recipe(count, dimension, memory_bytes=memory) == recipe


def test_what_the_user_wants_he_gets() -> None:
    assert choose_recipe(10**9, 512, "exact") == "exact"
    assert choose_recipe(3, 512, "ivf-rabitq") == "ivf-rabitq"


def test_an_unknown_recipe_is_named_with_those_that_exist() -> None:
    with pytest.raises(VectorIndexError, match=r'"hnsw": use auto, exact, ivf-rabitq'):
        choose_recipe(3, 512, "hnsw")


def test_the_memory_of_this_machine_is_known() -> None:
    assert installed_memory() > 10**8
