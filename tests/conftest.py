"""What many tests start from: pictures of one colour, and a library that needs no weights."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image

from clipsearch.library import Library
from tests.fakes import ColourEncoder

Paint = Callable[..., Path]
Save = Callable[..., Path]


@pytest.fixture(autouse=True)
def clean_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """No test sees the settings, the libraries or the models of whoever runs it."""
    for name in list(os.environ):
        if name.startswith("CLIPSEARCH_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("CLIPSEARCH_DECODE_WORKERS", "1")  # one is quicker to start than several
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(home))
    for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    return folder


@pytest.fixture
def paint(photos: Path) -> Paint:
    """paint("a/red.png", "red") writes a picture of one colour below `photos`; gives its path."""

    def paint(name: str, colour: object = "red", size: tuple[int, int] = (16, 12)) -> Path:
        path = photos / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size, colour).save(path)  # type: ignore[arg-type]
        return path

    return paint


@pytest.fixture
def save(tmp_path: Path) -> Save:
    """Save an image under a name and return its path."""

    def save_as(image: Image.Image, name: str, **options: object) -> Path:
        path = tmp_path / name
        image.save(path, **options)
        return path

    return save_as


@pytest.fixture
def encoder() -> ColourEncoder:
    return ColourEncoder()


@pytest.fixture
def library(tmp_path: Path, encoder: ColourEncoder) -> Iterator[Library]:
    with Library(tmp_path / "library", encoder=encoder) as opened:
        yield opened
