"""How many cores this process may use: what it is bound to, and what its container is granted.

In: what Linux says of both. Out: a number, at least 1. Elsewhere all cores count.
"""

from __future__ import annotations

import math
import os
from pathlib import Path

CONTROL_GROUPS = Path("/sys/fs/cgroup")
OWN_GROUP = Path("/proc/self/cgroup")


def available_cores() -> int:
    """The cores that this process may use, in a container often fewer than the machine has."""
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, math.ceil(min(bound or 1, granted_cores())))


def granted_cores(groups: Path = CONTROL_GROUPS, own: Path = OWN_GROUP) -> float:
    """The processor time per time that the control groups allow; infinite where they do not say.

    Version 2 has `cpu.max` in the process's group and those above it, version 1 two files of the
    `cpu` controller (Linux's Documentation/admin-guide/cgroup-v2.rst and scheduler/sched-bwc.rst).
    """
    shares = [math.inf]
    for folder in _folders(groups, own):
        match (_words(folder / "cpu.max"), _words(folder / "cpu.cfs_quota_us")):
            case ([quota, period], _) if quota.isdigit() and period.isdigit():
                shares.append(int(quota) / max(1, int(period)))
            case (_, [quota]) if quota.isdigit():  # without a limit it is -1
                period = "".join(_words(folder / "cpu.cfs_period_us"))
                shares.append(int(quota) / max(1, int(period) if period.isdigit() else 100_000))
    return min(shares)


def _folders(groups: Path, own: Path) -> list[Path]:
    """Of the process's own group up to the root. Inside a container, the root is often its own."""
    folders = [groups, groups / "cpu"]
    for line in _lines(own):
        controllers, _, path = line.partition(":")[2].partition(":")
        base = groups if not controllers else groups / "cpu"
        if controllers in ("", "cpu", "cpu,cpuacct", "cpuacct,cpu"):
            place = Path(path.strip("/"))
            folders += [base / each for each in (place, *place.parents)]
    return list(dict.fromkeys(folders))


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError):
        return []


def _words(file: Path) -> list[str]:
    return " ".join(_lines(file)).split()
