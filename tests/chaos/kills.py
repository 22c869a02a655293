"""Indexers that are killed at random moments, and that nothing acknowledged is ever lost."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

from tests.chaos.workplace import Result, Tell, Workplace, left_behind, say_nothing

CLAIM = "kill -9 at random moments: lost, phantom, duplicate, torn"
# Most of a short run is its start, where there is little to break: so most kills wait for a phase,
# and then for up to so many seconds, about as long as it lasts.
AIMS = {
    "open": 0.03,
    "scan": 0.004,
    "read": 0.06,
    "commit": 0.02,
    "write index": 0.012,
    "prune": 0.004,
}
STEP_SECONDS = 0.0003
CHANGES = 14  # in the folder, between two runs


def kill_many(
    base: Path, seed: int, n_kills: int, tell: Tell = say_nothing, plant: str | None = None
) -> Result:
    """Kill this many indexers, judge after each, and let the last ones finish in peace. A planted
    bug need be found only once."""
    result, place = Result(CLAIM), Workplace(base, f"kills {seed}")
    options = ("--disk-seconds", "0.002", *(("--plant", plant) if plant else ()))
    start = time.monotonic()
    place.run()
    run_seconds = time.monotonic() - start
    result.findings += place.judge(0)
    while result.n_trials < n_kills and not (plant and result.findings):
        place.garden.change(CHANGES)
        child = place.start(place.command(*options))
        phase = kill(child, place, run_seconds)
        result.count(f"in {phase}" if child.returncode == -9 else "too late")
        result.n_trials += child.returncode == -9
        _judge(place, child, result)
        tell(result)
    for _ in range(2):  # the second has nothing to do but to write the index, if that is due
        place.garden.change(CHANGES)
        _judge(place, _finished(place), result)
    result.findings += leftovers(place.library / "index")
    return result


def kill(child: subprocess.Popen[bytes], place: Workplace, run_seconds: float) -> str:
    """Kill a child at a moment chosen by chance; the phase that it was in."""
    chance = place.chance
    aim = chance.choice(("any time", "commit", *AIMS))
    if aim == "any time":
        _sleep(child, chance.uniform(0, run_seconds))
    else:
        while place.phase() != aim and child.poll() is None:
            time.sleep(STEP_SECONDS)
        _sleep(child, chance.uniform(0, AIMS[aim]))
    child.kill()
    child.wait()
    return place.phase()


def leftovers(folder: Path) -> list[str]:
    """What interrupted writes have left in the folder of index files."""
    names = sorted(path.name for path in folder.iterdir())
    is_clean = len(names) == 1 and names[0].startswith("base-")
    return [] if is_clean else [f"left behind: {names} in the index folder"]


def _judge(place: Workplace, child: subprocess.Popen[bytes], result: Result) -> None:
    # Now and then nobody looks, so that the next indexer has to do all the recovery by itself.
    findings = place.judge(child.returncode, ask=place.chance.random() < 0.75)
    findings += [f"left behind: process {pid}" for pid in left_behind(child.pid)]
    if child.returncode not in (-9, 0, 3):
        findings.append(f"exit {child.returncode}: {place.errors()}")
    result.findings += [f"kill {result.n_trials}: {finding}" for finding in findings]


def _finished(place: Workplace) -> subprocess.Popen[bytes]:
    child = place.start(place.command())
    child.wait(120)
    return child


def _sleep(child: subprocess.Popen[bytes], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while child.poll() is None and time.monotonic() < deadline:
        time.sleep(STEP_SECONDS)
