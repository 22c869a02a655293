"""Interleaved repetitions and their medians, because these machines are shared and noisy."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from statistics import median


def interleaved(
    contenders: Mapping[str, Callable[[], object]], repetitions: int
) -> dict[str, list[float]]:
    """Run each once to warm up, then all in turn, `repetitions` times over.

    Returns the seconds of every run, by name.
    """
    for run in contenders.values():
        run()
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(repetitions):
        for name, run in contenders.items():
            began = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - began)
    return seconds


def rates(seconds: Mapping[str, list[float]], count: int) -> dict[str, float]:
    """Things per second at the median."""
    return {name: count / median(runs) for name, runs in seconds.items()}
