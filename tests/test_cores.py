"""Containers say in several ways how much of the machine is theirs."""

from __future__ import annotations

import math
import os
from pathlib import Path

import pytest

from clipsearch.cores import available_cores, granted_cores


def write(root: Path, files: dict[str, str]) -> tuple[Path, Path]:
    """Files below a made-up /sys/fs/cgroup, and a made-up /proc/self/cgroup."""
    for name, content in files.items():
        (root / "sys" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "sys" / name).write_text(content)
    return root / "sys", root / "sys" / "own"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, math.inf),
        ({"own": "0::/", "cpu.max": "max 100000\n"}, math.inf),
        ({"own": "0::/", "cpu.max": "150000 100000\n"}, 1.5),
        ({"own": "0::/a/b\n", "a/b/cpu.max": "max 100000", "a/cpu.max": "200000 100000"}, 2.0),
        ({"own": "0::/a/b\n", "a/b/cpu.max": "50000 100000", "a/cpu.max": "max 100000"}, 0.5),
        ({"own": "4:cpu,cpuacct:/a", "cpu/a/cpu.cfs_quota_us": "-1"}, math.inf),
        (
            {
                "own": "5:memory:/m\n4:cpu,cpuacct:/a\n",
                "cpu/a/cpu.cfs_quota_us": "300000\n",
                "cpu/a/cpu.cfs_period_us": "100000\n",
            },
            3.0,
        ),
        ({"own": "nonsense", "cpu.max": "nonsense", "cpu/cpu.cfs_quota_us": "?"}, math.inf),
        ({"own": "0::/", "cpu.max": "1000 0"}, 1000.0),
    ],
)
def test_the_smallest_grant_counts(tmp_path: Path, files: dict[str, str], expected: float) -> None:
    assert granted_cores(*write(tmp_path, files)) == expected


def test_there_is_always_one_core_and_never_more_than_there_are() -> None:
    assert 1 <= available_cores() <= (os.cpu_count() or 1)
