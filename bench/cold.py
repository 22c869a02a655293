"""One `clipsearch query "a dog"` in a new process, over libraries of three sizes, beside rclip.

Interleaved, medians. rclip gets the same vectors, and the same model exported to ONNX.
"""

from __future__ import annotations

from functools import partial
from statistics import median
from typing import Any

from bench import rclip
from bench.libraries import library
from bench.workplace import Ran, clipsearch, kept

COUNTS = (200, 100_000, 1_000_000)
REPETITIONS = 5
QUERY = "a dog"


def run() -> dict[str, Any]:
    """About 2 minutes for each size, without the making of the libraries (25 minutes in all)."""
    return {str(count): kept(f"cold-{count}", partial(_measure, count)) for count in COUNTS}


def _measure(count: int) -> dict[str, Any]:
    ours = library(count)
    peer = rclip.prepared(count)
    runs: dict[str, list[Ran]] = {"clipsearch": [], "rclip": []}
    for repetition in range(REPETITIONS + 1):
        ran = clipsearch("query", QUERY, "--all", "--library", ours)
        theirs = peer.query(QUERY) if peer is not None else None
        if repetition:  # the first warms up
            runs["clipsearch"].append(ran)
            runs["rclip"] += [theirs] if theirs is not None else []
    result: dict[str, Any] = {"what": f'cold "{QUERY}" in a library of {count:,}'}
    for name, times in runs.items():
        if times:
            result[f"{name}_seconds"] = round(median(each.seconds for each in times), 3)
            result[f"{name}_peak_mb"] = round(max(each.peak_mb for each in times))
    if peer is None:
        result["rclip"] = "could not be installed here"
    else:
        result["share"] = round(result["clipsearch_seconds"] / result["rclip_seconds"], 3)
    return result
