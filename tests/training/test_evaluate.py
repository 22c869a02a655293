"""The measurements, taken of towers that know everything and of towers that know nothing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clipsearch.vectors import FloatArray
from tests.training.fakes import CONCEPTS, square_painter
from training.evaluate import Gate, TwoTowers, demo_search, naming, ranks_of_own, report, retrieval

POOL = 12


class Towers:
    """The nth text has the vector of picture n + shift: 0 is an oracle, all else is wrong."""

    def __init__(self, shift: int = 0) -> None:
        self.shift = shift

    def encode_images(self, images: Sequence[Image.Image]) -> FloatArray:
        return np.eye(64, dtype=np.float32)[: len(images)]

    def encode_texts(self, texts: Sequence[str]) -> FloatArray:
        rows = (np.arange(len(texts)) + self.shift) % len(texts)
        return np.eye(64, dtype=np.float32)[rows]


def values(gates: Sequence[Gate]) -> list[float]:
    return [gate.value for gate in gates]


def test_an_oracle_finds_every_scene_and_the_wrong_towers_few() -> None:
    assert values(retrieval(Towers(), square_painter(), CONCEPTS, POOL)) == [1.0] * 4
    assert values(retrieval(Towers(1), square_painter(), CONCEPTS, POOL)) == [0.0] * 4


def test_an_oracle_names_every_concept_and_the_wrong_towers_none() -> None:
    few = CONCEPTS[:10]
    assert values(naming(Towers(), square_painter(), few, per_concept=2)) == [1.0, 1.0]
    assert values(naming(Towers(1), square_painter(), few, per_concept=1)) == [0.0, 0.0]


def test_the_scenes_of_the_pool_differ_in_what_they_show() -> None:
    seen: list[int] = []

    class Counting(Towers):
        def encode_images(self, images: Sequence[Image.Image]) -> FloatArray:
            seen.append(len({image.tobytes() for image in images}))
            return super().encode_images(images)

    retrieval(Counting(), square_painter(), CONCEPTS, POOL)
    assert seen == [POOL]


def test_a_rank_counts_what_is_nearer_and_what_is_as_near() -> None:
    scores = np.array([[0.9, 0.1, 0.2], [0.5, 0.4, 0.4], [0.3, 0.2, 0.1]], np.float32)
    assert ranks_of_own(scores).tolist() == [0, 2, 2]


@pytest.fixture
def demo(tmp_path: Path) -> Path:
    names = ("dog", "owl", "key")
    pictures = {}
    for number, name in enumerate(names):
        Image.new("RGB", (8, 8)).save(tmp_path / f"{number}.jpg")
        pictures[f"{number}.jpg"] = {"caption": f"a {name}", "things": [{"name": name}]}
    document = {"concepts": names, "pictures": pictures}
    (tmp_path / "captions.json").write_text(json.dumps(document), encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize(("towers", "expected"), [(Towers(), 1.0), (Towers(1), 0.0)])
def test_the_demo_is_searched_for_its_concepts_and_captions(
    demo: Path, towers: TwoTowers, expected: float
) -> None:
    assert values(demo_search(towers, demo)) == [expected, expected]


@pytest.mark.parametrize(
    ("value", "wanted", "holds"), [(0.92, 0.92, True), (0.919, 0.92, False), (0.0, None, True)]
)
def test_a_gate_holds_when_it_is_reached(value: float, wanted: float | None, holds: bool) -> None:
    assert Gate("recall", value, wanted).holds is holds


def test_the_report_has_a_row_for_every_figure() -> None:
    gates = [Gate("good", 0.95, 0.92), Gate("bad", 0.5, 0.9), Gate("told", 0.123, None)]
    lines = report(gates, "Model mini.").splitlines()
    assert "Model mini." in lines
    assert lines[-3:] == [
        "| good | 0.950 | ≥ 0.92 | yes |",
        "| bad | 0.500 | ≥ 0.90 | **no** |",
        "| told | 0.123 |  |  |",
    ]
