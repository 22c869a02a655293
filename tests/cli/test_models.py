"""`clipsearch models`."""

from __future__ import annotations

from tests.cli.conftest import Run


def test_models_lists_the_registry_and_one_default(run: Run) -> None:
    listed = run("models", "--json").json["models"]
    assert {"RN50", "ViT-B/32", "ViT-L/14@336px"} <= {model["name"] for model in listed}
    assert [model["name"] for model in listed if model["is_default"]] == ["ViT-B/32"]


def test_an_empty_home_has_downloaded_nothing(run: Run) -> None:
    listed = run("models", "--json").json["models"]
    assert {model["name"] for model in listed if model["is_downloaded"]} <= {"mini"}


def test_models_for_people_is_one_line_each(run: Run) -> None:
    lines = run("models").out.decode().splitlines()
    assert len(lines) == len(run("models", "--json").json["models"])
    assert any(line.startswith("ViT-B/32\tno\t") for line in lines)
