"""The README's table of measurements, from the results of the last run that was kept.

In: results.json. Out: Markdown. A test holds the README to it.
"""

from __future__ import annotations

import json
import os
import platform
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results.json"
README = Path(__file__).parents[1] / "README.md"
_BLOCK = re.compile(r"(<!-- bench -->\n).*?(<!-- end of bench -->)", re.DOTALL)

Row = tuple[str, str, str, str]
HEAD: Row = ("what", "clipsearch", "beside it in the same run", "ratio")


def keep(name: str, result: dict[str, Any]) -> None:
    """Write one result down, with when and on what machine it was measured, and the table."""
    results = read() if RESULTS.exists() else {}
    measured = {"on": datetime.now(UTC).date().isoformat(), "machine": machine()}
    results[name] = {**result, **measured}
    RESULTS.write_text(json.dumps(dict(sorted(results.items())), indent=1) + "\n")
    README.write_text(in_readme(README.read_text(encoding="utf-8"), results), encoding="utf-8")


def read() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(RESULTS.read_text())
    return found


def in_readme(readme: str, results: dict[str, Any]) -> str:
    """The README with the table of these results in the place of the one that it has."""
    return _BLOCK.sub(lambda match: f"{match[1]}{markdown(results)}{match[2]}", readme)


def markdown(results: dict[str, Any]) -> str:
    """One line for each measure that there is a result of."""
    makers = (_encode, _index, _cold, _warm, _add, _memory, _build)
    rows = [row for make in makers for row in make(results)]
    return "".join(f"| {' | '.join(row)} |\n" for row in [HEAD, ("---",) * len(HEAD), *rows])


def machine() -> str:
    """The processor's name and how many cores of it there are."""
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        named = re.search(r"^model name\s*: (.*)$", info.read_text(), re.MULTILINE)
        name = named[1] if named else name
    return f"{name}, {len(os.sched_getaffinity(0))} cores"


def _encode(results: dict[str, Any]) -> list[Row]:
    found = results.get("encode")
    if found is None:
        return []
    ours = f"{found['clipsearch_images_per_second']} images/s"
    peers = {
        "open_clip_fp32": "open_clip float32",
        "open_clip_bf16": "open_clip bfloat16",
        "onnx_runtime_fp32": "ONNX Runtime float32",
    }
    rows: list[Row] = [
        (
            "encode only",
            ours,
            f"{words}: {found[f'{name}_images_per_second']}",
            f"{found[f'ratio_to_{name}']}",
        )
        for name, words in peers.items()
    ]
    gflops = f"bfloat16 matrix product: {found['bf16_matmul_gflops']} GFLOP/s"
    return [*rows, ("encode only", ours, gflops, f"{found['share_of_matmul_rate']} of it")]


def _index(results: dict[str, Any]) -> list[Row]:
    found = results.get("index", {})
    return [
        (
            f"`clipsearch index`, {each['files']:,} JPEGs of {each['pixels'][0]}x"
            f"{each['pixels'][1]} ({each['kilobytes_per_file']:,} kB)",
            f"{each['clipsearch_images_per_second']} images/s",
            f"rclip: {each['rclip_images_per_second']}",
            f"{each['ratio']}",
        )
        for name, each in found.items()
        if name in ("large", "small")
    ]


def _cold(results: dict[str, Any]) -> list[Row]:
    found = results.get("cold", {})
    return [
        (
            f'`clipsearch query "a dog"` in a new process, {int(count):,} vectors',
            f"{each['clipsearch_seconds']:.2f} s, {each['clipsearch_peak_mb']} MB",
            f"rclip: {each['rclip_seconds']:.2f} s, {each['rclip_peak_mb']:,} MB",
            f"{each['share']}",
        )
        for count, each in found.items()
        if count.isdigit() and "share" in each
    ]


def _warm(results: dict[str, Any]) -> list[Row]:
    found = results.get("warm")
    if found is None:
        return []
    rows: list[Row] = []
    for kind, words in (("alike", "pictures"), ("unlike", "words")):
        each = found[kind]
        rows.append(
            (
                f"warm `Library.query`, 1,000,000 vectors, like {words}; recall@10 "
                f"{each['recall_at_10']}",
                f"{each['library_ms']} ms",
                f"plain FAISS, the same index: {each['faiss_ms']} ms",
                f"{each['share']}",
            )
        )
    return rows


def _add(results: dict[str, Any]) -> list[Row]:
    found = results.get("add")
    if found is None:
        return []
    return [
        (
            "add 100 pictures to 1,000,000",
            f"{found['seconds_at_1000000']} s",
            f"to 1,000: {found['seconds_at_1000']} s",
            f"{found['share']}",
        )
    ]


def _memory(results: dict[str, Any]) -> list[Row]:
    found = results.get("memory")
    if found is None:
        return []
    return [
        (
            found["what"],
            f"at the end {found['late_mb']:,} MB",
            f"after 1,000: {found['early_mb']:,} MB",
            f"{found['share']}",
        )
    ]


def _build(results: dict[str, Any]) -> list[Row]:
    found = results.get("build")
    if found is None:
        return []
    return [
        (
            found["what"],
            f"{found['clipsearch_seconds']} s",
            f"plain FAISS: {found['faiss_seconds']} s",
            f"{found['share']}",
        )
    ]
