"""The demo: what its pictures are called, what is said of them, and that it can be drawn again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.training.fakes import CONCEPTS, squares
from training import draw_demo as module
from training.draw_demo import NAMES, demo_concepts, draw_demo


@pytest.fixture
def tiny_demo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "load_concepts", lambda: CONCEPTS)
    monkeypatch.setattr(module, "draw_sprites", lambda concepts: squares())
    monkeypatch.setattr(module, "NAMES", ", ".join(concept.name for concept in CONCEPTS))
    monkeypatch.setattr(module, "PICTURES", 6)
    monkeypatch.setattr(module, "SIZE_PX", 24)


@pytest.mark.usefixtures("tiny_demo")
def test_the_same_seed_writes_the_same_files(tmp_path: Path) -> None:
    for name in ("one", "two"):
        draw_demo(tmp_path / name, seed=3)
    one, two = (
        {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()}
        for name in ("one", "two")
    )
    assert one == two
    assert set(one) == {*(f"{number:04d}.jpg" for number in range(1, 7)), "captions.json"}


@pytest.mark.usefixtures("tiny_demo")
def test_the_captions_say_what_is_in_every_picture(tmp_path: Path) -> None:
    draw_demo(tmp_path, seed=3)
    document = json.loads((tmp_path / "captions.json").read_text(encoding="utf-8"))
    assert list(document["pictures"]) == sorted(document["pictures"])
    for entry in document["pictures"].values():
        for thing in entry["things"]:
            assert thing["name"] in document["concepts"]
            assert thing["name"].removeprefix("thing") in entry["caption"]


def test_a_name_that_mini_was_not_taught_is_named() -> None:
    with pytest.raises(ValueError, match="not taught: monkey, gorilla"):
        demo_concepts(CONCEPTS)


def test_at_least_a_hundred_things_are_advertised_each_once() -> None:
    names = " ".join(NAMES.split()).split(", ")
    assert len(names) == len(set(names)) >= 100
