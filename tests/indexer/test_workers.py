"""Decoding in other processes: what a hostile picture costs, and that nothing stays behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from clipsearch.clip.preprocess import Preprocess
from clipsearch.errors import WorkerError
from clipsearch.images import content_hash
from clipsearch.indexer.frames import Found, Setup
from clipsearch.indexer.limits import Limits
from clipsearch.indexer.workers import Workers
from tests.conftest import Paint
from tests.indexer import hostile
from tests.indexer.hostile import HostileEncoder

ROOT = Path(__file__).resolve().parents[2]
LIMITS = Limits(memory_mb=256, cpu_seconds=1, wall_seconds=120)
IMPATIENT = replace(LIMITS, wall_seconds=2)
SETUP = Setup(HostileEncoder().preprocess, 8, 10**6, 256, 1, 1 << 27)
WAIT = 60

Read = Callable[..., list[Found]]


@pytest.fixture
def workers() -> Iterator[Workers]:
    with Workers(1, LIMITS) as workers:
        yield workers


def read(workers: Workers, paths: list[Path], setup: Setup = SETUP) -> list[Found]:
    workers.begin(setup)
    return [future.result(WAIT) for future in [workers.read(path) for path in paths]]


def children() -> set[int]:
    """The processes that this one has started and that are not gone, zombies too."""
    tasks = Path("/proc/self/task").iterdir()
    return {int(pid) for task in tasks for pid in (task / "children").read_text().split()}


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("act", "reason"),
    [
        (hostile.CRASH, "bad.png made the decoder crash (SIGABRT); replace or convert it"),
        (hostile.LEAVE, "bad.png made the decoder end with status 7; replace or convert it"),
        (
            hostile.SPIN,
            "bad.png took more than 1 seconds of processor time to decode; convert it, or raise "
            "CLIPSEARCH_DECODE_SECONDS",
        ),
        (
            hostile.HANG,
            "bad.png took longer than 2 seconds to decode; convert it, or raise "
            "CLIPSEARCH_DECODE_SECONDS",
        ),
        (
            hostile.SWELL,
            "bad.png needs more than 256 MB to decode; make it smaller, or raise "
            "CLIPSEARCH_DECODE_MEMORY",
        ),
        (hostile.BABBLE, "bad.png made the decoder talk nonsense; replace or convert it"),
        (hostile.RAISE, "bad.png cannot be made ready for the model (a size of 0)"),
        (hostile.FLOOD, "bad.png cannot be made ready for the model (File too large)"),
    ],
)
def test_a_picture_that_is_too_much_is_named_and_its_neighbours_are_read(
    paint: Paint, act: int, reason: str
) -> None:
    bad = paint("bad.png", size=(act, 9))
    good = [paint(f"{n}.png", (n, 0, 0)) for n in range(5)]
    with Workers(1, IMPATIENT if act == hostile.HANG else LIMITS) as workers:
        found = read(workers, [*good[:2], bad, *good[2:]])
    killer = found.pop(2)
    assert killer.reason == reason and killer.pixels is None
    assert killer.content_hash == content_hash(bad)  # so that it is not tried again unchanged
    assert (killer.size, killer.mtime_ns) == (bad.stat().st_size, bad.stat().st_mtime_ns)
    assert [each.content_hash for each in found] == [content_hash(path) for path in good]
    assert all(each.pixels is not None for each in found)


def test_what_a_decoder_prints_is_heard_by_nobody(
    paint: Paint, workers: Workers, capfd: pytest.CaptureFixture[str]
) -> None:
    (found,) = read(workers, [paint("a.png", size=(hostile.CHATTER, 9))])
    assert found.pixels is not None and capfd.readouterr() == ("", "")


def test_nothing_but_killers_comes_to_an_end(paint: Paint, workers: Workers) -> None:
    paths = [paint(f"{n}.png", size=(hostile.CRASH, n + 1)) for n in range(12)]
    assert all("SIGABRT" in (found.reason or "") for found in read(workers, paths))


def test_a_worker_that_is_killed_from_outside_costs_nothing(paint: Paint, workers: Workers) -> None:
    workers.begin(replace(SETUP, cpu_seconds=30))
    futures = [workers.read(paint(f"{n}.png", size=(hostile.LOITER, n + 1))) for n in range(4)]
    futures[0].result(WAIT)
    (pid,) = children()
    os.kill(pid, signal.SIGKILL)
    assert all(future.result(WAIT).pixels is not None for future in futures)
    assert children() != {pid}


def test_closing_ends_what_is_under_way_and_leaves_nothing(paint: Paint) -> None:
    with Workers(2, LIMITS) as workers:
        workers.begin(SETUP)
        for n in range(8):
            workers.read(paint(f"{n}.png", size=(hostile.HANG, n + 1)))
        wait_until(lambda: len(children()) == 2)
    assert not children()
    assert not [thread for thread in threading.enumerate() if thread.name == "decode"]
    workers.close()


def test_closing_before_the_beginning_leaves_nothing() -> None:
    Workers(2, LIMITS).close()
    with pytest.raises(KeyError), Workers(2, LIMITS):
        raise KeyError
    assert not children()


def test_a_worker_imports_no_model_index_database_or_network(
    paint: Paint, workers: Workers
) -> None:
    (found,) = read(workers, [paint("a.png")], replace(SETUP, preprocess=hostile.strangers))
    assert found.reason == "a.png cannot be made ready for the model (loaded: [], True)"


def test_nor_does_one_that_prepares_pictures_for_a_model(paint: Paint, workers: Workers) -> None:
    preprocess = partial(hostile.prepared_then_strangers, Preprocess(32))
    (found,) = read(workers, [paint("a.png")], replace(SETUP, preprocess=preprocess))
    assert found.reason == "a.png cannot be made ready for the model (loaded: [], True)"


def test_the_models_own_preprocessing_reaches_the_worker(paint: Paint, workers: Workers) -> None:
    setup = replace(SETUP, preprocess=Preprocess(32).resize_and_crop, input_px=32)
    (found,) = read(workers, [paint("a.png")], setup)
    assert found.pixels is not None and found.pixels.shape == (32, 32, 3)


def test_a_preprocessing_that_cannot_travel_is_one_clear_error(
    paint: Paint, workers: Workers
) -> None:
    with pytest.raises(WorkerError, match=r"preprocess cannot be sent .*a function of a module"):
        workers.begin(replace(SETUP, preprocess=lambda image: image))
    gone = type("Gone", (), {"__call__": lambda self, image: image, "__module__": "nowhere"})
    sys.modules["nowhere"] = type(sys)("nowhere")
    try:
        sys.modules["nowhere"].Gone = gone  # type: ignore[attr-defined]
        with pytest.raises(WorkerError, match=r"No module named 'nowhere'.*function of a module"):
            read(workers, [paint("a.png")], replace(SETUP, preprocess=gone()))
    finally:
        del sys.modules["nowhere"]


def test_processes_that_cannot_start_are_one_clear_error(
    paint: Paint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with Workers(2, LIMITS) as workers, pytest.raises(WorkerError, match="cannot be started"):
        read(workers, [paint("a.png")])


def test_a_worker_that_ends_before_it_begins_says_why(
    paint: Paint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", ["/nowhere"])
    with Workers(1, LIMITS) as workers, pytest.raises(WorkerError, match="No module named"):
        read(workers, [paint("a.png")])


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGTERM])
def test_no_worker_outlives_its_parent(paint: Paint, ending: signal.Signals) -> None:
    """Though they hang, and so never look whether anybody still wants to know."""
    paths = [paint(f"{n}.png", size=(hostile.HANG, n + 1)) for n in range(4)]
    program = (
        "import sys, time; from pathlib import Path; from tests.indexer import test_workers as t;"
        "workers = t.Workers(2, t.LIMITS); workers.begin(t.SETUP);"
        "[workers.read(Path(path)) for path in sys.argv[1:]]; time.sleep(1);"
        "print(*t.children(), flush=True); time.sleep(3600)"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", program, *map(str, paths)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    with parent:
        assert parent.stdout is not None
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        assert len(pids) == 2 and all(map(is_running, pids))
        parent.send_signal(ending)
    wait_until(lambda: not any(map(is_running, pids)))


def test_ctrl_c_is_left_to_the_parent(paint: Paint, workers: Workers) -> None:
    workers.begin(SETUP)
    workers.read(paint("a.png")).result(WAIT)
    (pid,) = children()
    os.kill(pid, signal.SIGINT)
    assert workers.read(paint("b.png")).result(WAIT).pixels is not None
    assert children() == {pid}


def test_what_decodes_goes_on_though_nobody_asks_for_the_result(
    paint: Paint, workers: Workers
) -> None:
    workers.begin(SETUP)
    futures: list[Future[Found]] = [workers.read(paint(f"{n}.png")) for n in range(20)]
    assert futures[-1].result(WAIT).pixels is not None
    assert all(future.done() for future in futures[:-1])
