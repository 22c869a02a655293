"""Indexers that start at the same moment: one works, all others say that it does."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from clipsearch.errors import LibraryLocked
from tests.chaos.ledger import read_ledger
from tests.chaos.serving import PATIENCE_SECONDS, Server
from tests.chaos.workplace import FINISHED, Result, Tell, Workplace, say_nothing

CLAIM = "2-8 indexers started together: one works, the others say so"
MOST = 8
LOCKED = LibraryLocked.exit_code
HEAD_START_NS = 5_000_000  # until all have read their order


def race_many(
    base: Path, seed: int, n_rounds: int, tell: Tell = say_nothing, plant: str | None = None
) -> Result:
    """Rounds of two to eight indexers, over a new library or one that is there already.

    Who works is held up until the others have given up, so that nobody can come too late.
    """
    result, place = Result(CLAIM), Workplace(base, f"races {seed}", n_pictures=20)
    place.new_ledger()
    program = ["tests.chaos.server", str(place.ledger), *(("--plant", plant) if plant else ())]
    with ExitStack() as stack:
        racers = [
            stack.enter_context(Server(program, place.environment(), place.base / "errors"))
            for _ in range(MOST)
        ]
        for racer in racers:
            racer.answer()  # it is ready
        while result.n_trials < n_rounds:
            starters = place.chance.sample(racers, 2 + result.n_trials % (MOST - 1))
            patience = 2.0 if plant else PATIENCE_SECONDS
            findings = _round(place, starters, patience)
            result.findings += [f"round {result.n_trials}: {finding}" for finding in findings]
            result.n_trials += 1
            result.count("starters", len(starters))
            tell(result)
    return result


def _round(place: Workplace, starters: Sequence[Server], patience: float) -> list[str]:
    if place.chance.random() < 0.5:
        shutil.rmtree(place.library, ignore_errors=True)
        place.state = {}
    place.garden.change(10)
    place.garden.add()  # there must be something to encode
    place.new_ledger()
    gate = place.base / "gate"
    gate.unlink(missing_ok=True)
    arguments = ["index", str(place.photos), "--library", str(place.library), "--yes"]
    start_ns = time.monotonic_ns() + HEAD_START_NS
    for starter in starters:
        starter.order(arguments=arguments, gate=str(gate), start_ns=start_ns)
    deadline = time.monotonic() + patience
    while sum(each.is_answering() for each in starters) < len(starters) - 1:
        if time.monotonic() > deadline:
            break
        time.sleep(0.001)
    gate.touch()
    answers = {each.process.pid: each.answer() for each in starters}
    return _unfair(place, answers)


def _unfair(place: Workplace, answers: dict[int, dict[str, Any]]) -> list[str]:
    workers = [pid for pid, told in answers.items() if told["code"] in FINISHED]
    findings = [] if len(workers) == 1 else [f"{len(workers)} of {len(answers)} worked"]
    writers = {commit.pid for commit in read_ledger(place.ledger)}
    if not writers <= set(workers[:1]):
        findings.append(f"{len(writers)} wrote")
    for pid, told in answers.items():
        if pid not in workers:
            findings += _unclear(told, workers)
    return findings + place.judge(0)


def _unclear(told: dict[str, Any], workers: list[int]) -> list[str]:
    """What is wrong with how somebody was turned away. Just when the lock was taken, its holder
    has not signed yet."""
    named = re.search(r"by (another process|process (\d+) since \S)", told["errors"])
    if told["code"] != LOCKED or named is None:
        return [f"exit {told['code']}: {told['errors']}"]
    if named[2] and int(named[2]) not in workers:
        return [f"blamed {named[2]}, and {workers} worked"]
    return []
