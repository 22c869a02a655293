"""All claims, tried often: python -m tests.chaos --seed N --kills N [--part NAME …].

Prints a table at the end, and every finding; the exit code is 1 if there is any. A part that was
interrupted can be run again alone; the same seed makes the same choices.
"""

from __future__ import annotations

import argparse
import platform
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.chaos import strace
from tests.chaos.asking import ask_many
from tests.chaos.damage import damage_many
from tests.chaos.faults import record_order, suffer_all
from tests.chaos.kills import kill_many
from tests.chaos.pictures import read_hostile
from tests.chaos.races import race_many
from tests.chaos.workplace import Result, Tell

MESSAGE_SECONDS = 10.0
N_SHOWN = 20

# By name: in a folder, with a seed, for a number of kills, telling how it goes.
Part = Callable[[Path, int, int, Tell], Result]
PARTS: dict[str, Part] = {
    "kills": lambda base, seed, n, tell: kill_many(base, seed, n, tell),
    "order": lambda base, seed, n, tell: record_order(base, seed),
    "faults": lambda base, seed, n, tell: suffer_all(base, seed, tell),
    "damage": lambda base, seed, n, tell: damage_many(base, seed, 2 * n, tell),
    "pictures": lambda base, seed, n, tell: read_hostile(base, seed, 2 * n, tell),
    "asking": lambda base, seed, n, tell: ask_many(base, seed, 100 * n, tell),
    "races": lambda base, seed, n, tell: race_many(base, seed, max(1, n // 5), tell),
}
NEED_STRACE = ("order", "faults")


def main() -> int:
    given = arguments()
    say(f"seed {given.seed}, {given.kills} kills, {platform.platform()}, {sys.version.split()[0]}")
    rows, n_findings = [], 0
    for name in given.part or PARTS:
        if name in NEED_STRACE and strace.why_not():
            rows.append(f"| {name} | skipped: {strace.why_not()} | | | |")
            continue
        start = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="clipsearch-chaos-") as folder:
            result = PARTS[name](Path(folder, name), given.seed, given.kills, teller(name))
        for finding in result.findings[:N_SHOWN]:
            say(f"{name}: {finding}")
        n_findings += len(result.findings)
        rows.append(row(result, time.monotonic() - start))
    say("\n| claim | tried | findings | seconds | what happened |\n|---|---|---|---|---|")
    for line in rows:
        say(line)
    return 1 if n_findings else 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--kills", type=int, default=1000, help="the other parts scale with it")
    parser.add_argument("--part", action="append", choices=list(PARTS), help="only this one")
    return parser.parse_args()


def teller(name: str) -> Tell:
    """Says how a part goes, every ten seconds."""
    last = time.monotonic()

    def tell(result: Result) -> None:
        nonlocal last
        if time.monotonic() - last >= MESSAGE_SECONDS:
            last = time.monotonic()
            say(f"{name}: {result.n_trials:,} tried, {len(result.findings)} findings")

    return tell


def row(result: Result, seconds: float) -> str:
    counts = ", ".join(f"{what} {n:,}" for what, n in sorted(result.counts.items()))
    n_findings = len(result.findings)
    return f"| {result.claim} | {result.n_trials:,} | {n_findings} | {seconds:.0f} | {counts} |"


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
