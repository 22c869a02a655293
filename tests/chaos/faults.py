"""Writes, syncs and renames that fail, one after the other; and in which order they come.

Every call of a run that changes the library fails once, and from then on for ever, with EIO and
with ENOSPC, until a run passes that makes no such call any more.
"""

from __future__ import annotations

import re
import shutil
from collections import Counter
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from clipsearch.library import Library
from clipsearch.settings import Settings
from tests.chaos import oracle
from tests.chaos.encoder import HashEncoder
from tests.chaos.questions import wrong_answers
from tests.chaos.strace import CALLS, traced
from tests.chaos.workplace import Result, Tell, Workplace, say_nothing

CLAIM = "the Nth write, sync or rename fails, once and for ever"
ORDER_CLAIM = "write, sync, rename, sync of the folder; sync before acknowledging"
ERRORS = ("EIO", "ENOSPC")
# A new library, and one that has an index file already, which is to be replaced.
SCENARIOS = ("new", "old")


@dataclass(frozen=True)
class Fault:
    """Of all calls of a kind in a run the Nth fails, or the Nth and all after it."""

    scenario: str
    call: str
    n: int
    error: str
    for_ever: bool

    @property
    def inject(self) -> str:
        return f"{self.call}:error={self.error}:when={self.n}{'+' if self.for_ever else ''}"


class FaultBench:
    """A library in both scenarios, to be put back as it was before every fault."""

    def __init__(self, base: Path, seed: int) -> None:
        self.place = Workplace(base, f"faults {seed}", n_pictures=20)
        self.log = base / "calls"
        self.place.run()
        self.findings = self.place.judge(0)
        shutil.copytree(self.place.library, base / "old")
        self.states = {"new": {}, "old": self.place.state}
        self.place.garden.change(14)

    def restore(self, scenario: str) -> None:
        shutil.rmtree(self.place.library, ignore_errors=True)
        if scenario == "old":
            shutil.copytree(self.place.base / "old", self.place.library)
        self.place.state = self.states[scenario]

    def suffer(self, fault: Fault) -> tuple[bool, list[str]]:
        """Whether the fault came to pass, and what was wrong after it."""
        place = self.place
        self.restore(fault.scenario)
        code = self.run_traced(fault.inject)
        was_hit = "(INJECTED)" in self.log.read_text(errors="replace")
        findings = place.judge(code)
        if code not in (0, 3) and not is_sentence(code, place.errors()):
            findings.append(f"exit {code}: {place.errors()[-300:]}")
        return was_hit, [f"{fault.inject} ({fault.scenario}): {f}" for f in findings + self.rerun()]

    def run_traced(self, inject: str = "", also: Path | None = None, *options: str) -> int:
        place = self.place
        command = place.command("--merge-from", "4", *options)
        command = traced(command, place.library, self.log, inject=inject, also=also)
        return place.start(command).wait(120)

    def calls(self) -> list[tuple[str, str, str]]:
        return logged_calls(self.log.read_text(errors="replace"))

    def rerun(self) -> list[str]:
        """What is wrong after another run, without faults, in this process."""
        place = self.place
        settings = Settings(batch_size=8)
        with Library(place.library, encoder=HashEncoder(), settings=settings) as library:
            library.index(place.photos)
        state = oracle.read_state(place.library)
        findings = oracle.unsound_file(place.library) + oracle.untrue_rows(state, place.garden)
        findings += oracle.incomplete(state, place.garden)
        return [f"after a rerun: {f}" for f in findings] + wrong_answers(
            place.library, state, place.chance
        )


def suffer_first(base: Path, seed: int, n_faults: int) -> Result:
    """The first calls of every kind, with each error in turn, once and for ever in turn."""
    result, bench = Result(CLAIM), FaultBench(base, seed)
    result.findings += bench.findings
    faults = []
    for scenario in SCENARIOS:
        bench.restore(scenario)
        result.findings += bench.place.judge(bench.run_traced())
        for call, n_calls in Counter(call for call, _, _ in bench.calls()).items():
            faults += [(n, scenario, call) for n in range(1, n_calls + 1)]
    for number, (n, scenario, call) in enumerate(sorted(faults)[:n_faults]):
        fault = Fault(scenario, call, n, ERRORS[number % 2], bool(number // 2 % 2))
        _suffer(bench, fault, result)
    return result


def suffer_all(base: Path, seed: int, tell: Tell = say_nothing) -> Result:
    """Every call of every kind, with both errors, once and for ever, until there are no more."""
    result, bench = Result(CLAIM), FaultBench(base, seed)
    result.findings += bench.findings
    for scenario in SCENARIOS:
        for call in CALLS:
            for error in ERRORS:
                for for_ever in (False, True):
                    for n in count(1):
                        fault = Fault(scenario, call, n, error, for_ever)
                        if not _suffer(bench, fault, result):
                            break
                        tell(result)
    return result


def _suffer(bench: FaultBench, fault: Fault, result: Result) -> bool:
    was_hit, findings = bench.suffer(fault)
    result.n_trials += was_hit
    result.count(f"{fault.call} failed" if was_hit else "passed without a fault")
    result.findings += findings
    return was_hit


def is_sentence(code: int, told: str) -> bool:
    """Whether a run ended as an error should: with a line for people, and a code that says so."""
    lines = [line for line in told.splitlines() if line.startswith("clipsearch: ")]
    return code == 2 and bool(lines) and "Traceback" not in told


def record_order(base: Path, seed: int, plant: str | None = None) -> Result:
    """Log one run over a library that gets a new index file, and judge the order of its calls."""
    result, bench = Result(ORDER_CLAIM), FaultBench(base, seed)
    bench.restore("old")
    code = bench.run_traced("", bench.place.ledger, *(("--plant", plant) if plant else ()))
    calls = bench.calls()
    result.findings += bench.place.judge(code) + unordered(calls)
    result.n_trials = len(calls)
    result.count("renames", sum(name == "rename" for name, _, _ in calls))
    result.count("acknowledged", sum('"acknowledge' in what for _, _, what in calls))
    return result


def logged_calls(log: str) -> list[tuple[str, str, str]]:
    """Lines of strace as (call, file, all of it)."""
    found = []
    for line in log.splitlines():
        match = re.match(r'\d+ +(\w+)\((?:\d+<(.*?)>|"(.*?)")', line)
        if match:
            found.append((match[1], match[2] or match[3], line))
    return found


def unordered(calls: list[tuple[str, str, str]]) -> list[str]:
    """Files that got their name before they were on disk, names that were not made to last, and
    acknowledgements of what was not on disk yet."""
    dirty: set[str] = set()  # written since the last sync
    findings = []
    for call, file, line in calls:
        if call in ("fsync", "fdatasync"):
            dirty.discard(file)
        elif call == "rename":
            if file in dirty:
                findings.append(f"unsynced: renamed before it was synced: {line}")
            dirty.add(str(Path(file).parent))
        elif "write" in call and file.endswith("/ledger"):
            logs = {name for name in dirty if name.endswith(("-wal", "-journal"))}
            if '"acknowledge' in line and logs:
                findings.append(f"unsynced: acknowledged before {logs} was synced: {line}")
        elif "write" in call:
            dirty.add(file)
    folders = {name for name in dirty if name.endswith("/index")}
    return findings + [f"unsynced: the folder {name} after a rename" for name in folders]
