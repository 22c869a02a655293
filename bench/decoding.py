"""Decoding in worker processes against the same in threads of one process.

Photographs of 12 megapixels and small pictures; decoding alone, and `Library.index` with a model
that costs nothing. Beside the rate stands the processor time per picture, which other programs on
the machine disturb less.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from statistics import median
from typing import Any, ClassVar
from unittest import mock

import numpy as np
from PIL import Image

from bench.photographs import write_photographs
from clipsearch.clip.preprocess import Preprocess
from clipsearch.cores import available_cores
from clipsearch.indexer import run as indexer_run
from clipsearch.indexer.frames import Found, Pixels, Setup, Want
from clipsearch.indexer.limits import Limits
from clipsearch.indexer.reader import FileReader
from clipsearch.indexer.workers import Workers
from clipsearch.library import Library
from clipsearch.settings import Settings
from clipsearch.vectors import FloatArray, normalise

LARGE, SMALL = 60, 1000  # pictures
SMALL_SIZE, SMALL_QUALITY = (500, 375), 90
ROUNDS = 7
PX = 224


class Threads(AbstractContextManager["Threads"]):
    """What Workers does, in threads of this process: no limits, and a crash ends everything."""

    def __init__(self, n: int, _limits: Limits) -> None:
        self.pool = ThreadPoolExecutor(n)

    def begin(self, setup: Setup) -> None:
        self.reader = FileReader(setup, lambda _: None)

    def read(self, path: Path, want: Want = Want.PIXELS) -> Future[Found]:
        return self.pool.submit(self.reader, path, want)

    def __exit__(self, *_: object) -> None:
        self.pool.shutdown(cancel_futures=True)


class FreeModel:
    """An encoder that costs next to nothing, so that decoding is what is measured."""

    model_name, activation, precision, folder = "free", "none", "float32", None
    model_sha256, dimension, input_px = "0" * 64, 16, PX
    max_tokens = 77
    preprocess_info: ClassVar[dict[str, Any]] = {"size": PX}

    @property
    def preprocess(self) -> Callable[[Any], Pixels]:
        return Preprocess(PX).resize_and_crop

    def encode_pixels(self, pixels: Pixels) -> FloatArray:
        return normalise(pixels[:, ::56, ::56, 0].reshape(len(pixels), -1) + np.float32(1))

    def encode_texts(self, texts: Sequence[str]) -> FloatArray:
        raise NotImplementedError

    def n_tokens(self, text: str) -> int:
        raise NotImplementedError


KINDS: dict[str, Any] = {"threads": Threads, "workers": Workers}


def run() -> dict[str, Any]:
    """Pictures per second at the median of interleaved rounds, and processor time."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_photographs(folder / "large", LARGE)
        write_small(folder / "small", SMALL)
        sets = {"12 megapixels": folder / "large", "500x375": folder / "small"}
        results = {
            f"{what}, {pictures}": compared(measure, place)
            for pictures, place in sets.items()
            for what, measure in (("decode only", decode_only), ("Library.index", index_all))
        }
    return {
        "what": f"decoding in {available_cores()} threads and in as many processes",
        "rounds": ROUNDS,
        **results,
    }


def write_small(folder: Path, count: int) -> None:
    """Write JPEGs of 500x375 with much detail, about 100 KB each."""
    folder.mkdir()
    random = np.random.default_rng(0)
    for number in range(count):
        coarse = random.integers(0, 256, (94, 125, 3), dtype=np.uint8)
        picture = Image.fromarray(coarse).resize(SMALL_SIZE, Image.Resampling.BICUBIC)
        picture.save(folder / f"{number:04d}.jpg", quality=SMALL_QUALITY)


def compared(measure: Callable[[str, Path], tuple[float, float]], folder: Path) -> dict[str, Any]:
    """`measure` gives seconds and processor seconds; once unmeasured, then in turn."""
    count = sum(1 for _ in folder.iterdir())
    rounds: dict[str, list[tuple[float, float]]] = {kind: [] for kind in KINDS}
    for number in range(ROUNDS + 1):
        for kind in KINDS:
            taken = measure(kind, folder)
            if number:
                rounds[kind].append(taken)
    rates = {kind: count / median(wall for wall, _ in rounds[kind]) for kind in KINDS}
    costs = {kind: 1000 * median(cpu for _, cpu in rounds[kind]) / count for kind in KINDS}
    pairs = zip(rounds["threads"], rounds["workers"], strict=True)
    return {
        "images_per_second": {kind: round(rate, 1) for kind, rate in rates.items()},
        "processor_ms_per_image": {kind: round(cost, 2) for kind, cost in costs.items()},
        "rate_of_workers_to_threads": round(rates["workers"] / rates["threads"], 3),
        "the_same_in_each_round": [round(a / b, 3) for (a, _), (b, _) in pairs],
    }


def decode_only(kind: str, folder: Path) -> tuple[float, float]:
    """All pictures of a folder, once the workers have started."""
    settings = Settings()
    limits = Limits.of(settings)
    model = FreeModel()
    paths = sorted(folder.iterdir())
    setup = Setup(model.preprocess, PX, 10**9, limits.memory_mb, limits.cpu_seconds, 1 << 30)
    with measured() as taken, KINDS[kind](settings.decode_workers, limits) as workers:
        workers.begin(setup)
        for future in [workers.read(paths[0]) for _ in range(8)]:
            future.result()
        began = time.perf_counter()
        for future in [workers.read(path) for path in paths]:
            assert future.result().pixels is not None
        seconds = time.perf_counter() - began
    return seconds, taken[1]


def index_all(kind: str, folder: Path) -> tuple[float, float]:
    """A new library, from the call to the report, with the start of the workers."""
    with (
        tempfile.TemporaryDirectory() as name,
        mock.patch.object(indexer_run, "Workers", KINDS[kind]),
        Library(Path(name) / "library", settings=Settings(), encoder=FreeModel()) as library,
        measured() as taken,
    ):
        report = library.index(folder)
    assert report.added == sum(1 for _ in folder.iterdir())
    return taken[0], taken[1]


@contextmanager
def measured() -> Iterator[list[float]]:
    """A list that holds, afterwards, seconds and the processor seconds of this and its children."""
    taken: list[float] = []
    before, began = processor_seconds(), time.perf_counter()
    yield taken
    taken += [time.perf_counter() - began, processor_seconds() - before]


def processor_seconds() -> float:
    import resource

    whose = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(used.ru_utime + used.ru_stime for used in map(resource.getrusage, whose))
