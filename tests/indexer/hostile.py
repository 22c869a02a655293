"""A model whose preprocessing does to its process what a hostile picture could.

A picture's width says what it does; it is run in decoding workers, so it has to be a module.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from clipsearch.clip.preprocess import Preprocess
from tests.fakes import ColourEncoder, shrunk

CRASH, HANG, SPIN, SWELL, LEAVE, CHATTER, RAISE, BABBLE, FLOOD, LOITER = range(101, 111)


class HostileEncoder(ColourEncoder):
    @property
    def preprocess(self) -> Callable[[Image.Image], NDArray[np.uint8]]:
        return partial(shrunk_or_worse, self.input_px)


def shrunk_or_worse(input_px: int, image: Image.Image) -> NDArray[np.uint8]:
    act = ACTS.get(image.width)
    if act is not None:
        act()
    return shrunk(input_px, image)


def _spin() -> None:
    while True:
        pass


def _swell() -> None:
    hoard: list[Any] = []
    while True:
        hoard.append(np.ones(1 << 22))


def _chatter() -> None:
    os.write(1, b"this is no answer")
    os.write(2, b"nor is this")


def _raise() -> None:
    raise ZeroDivisionError("a size of 0")


def _babble() -> None:
    """What code in a worker could do that a picture has taken over: write to the answers' pipe."""
    for descriptor in range(3, 20):
        try:
            os.write(descriptor, b"\xff" * 64)
        except OSError:
            continue


def _flood() -> None:
    with tempfile.TemporaryFile(dir="/tmp") as file:
        file.write(bytes(1 << 20))


ACTS: dict[int, Callable[[], object]] = {
    CRASH: os.abort,
    HANG: lambda: time.sleep(3600),
    SPIN: _spin,
    SWELL: _swell,
    LEAVE: lambda: os._exit(7),
    CHATTER: _chatter,
    RAISE: _raise,
    BABBLE: _babble,
    FLOOD: _flood,
    LOITER: lambda: time.sleep(0.3),
}


STRANGERS = frozenset(
    [
        "torch",
        "torchvision",
        "faiss",
        "sqlalchemy",
        "alembic",
        "typer",
        "rich",
        "pydantic",
        "socket",
        "ssl",
        "http",
        "urllib3",
        "requests",
        "asyncio",
        "multiprocessing",
    ]
)


def strangers(_: Image.Image) -> NDArray[np.uint8]:
    """Instead of pixels, as an error: what the worker has imported though it has no need of it."""
    raise ValueError(f"loaded: {sorted(STRANGERS & set(sys.modules))}, {'PIL' in sys.modules}")


def prepared_then_strangers(preprocess: Preprocess, image: Image.Image) -> NDArray[np.uint8]:
    preprocess.resize_and_crop(image)
    return strangers(image)
