"""Questions while somebody indexes: no error, and every answer that of one committed state.

Of one that was there between the question and the answer, even: the ledger knows when each came.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from bisect import bisect_right
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from tests.chaos.ledger import Commit, read_ledger
from tests.chaos.oracle import is_answer
from tests.chaos.serving import Server
from tests.chaos.workplace import FINISHED, ROOT, Result, Tell, Workplace, say_nothing

CLAIM = "queries while indexing: no error, each right for a committed state"
N_ASKERS = 2
N_CHANGES = 10


def ask_many(
    base: Path, seed: int, n_questions: int, tell: Tell = say_nothing, plant: bool = False
) -> Result:
    """Two processes of two threads ask, one indexes, and the garden changes all the time."""
    result, place = Result(CLAIM), Workplace(base, f"asking {seed}")
    commits: list[Commit] = []
    place.new_ledger()
    with ExitStack() as stack:
        program = ["tests.chaos.server", str(place.ledger)]
        indexer = stack.enter_context(Server(program, place.environment(), base / "errors"))
        indexer.answer()
        result.findings += _index(place, indexer, commits)
        askers = [_asker(place, n, n_questions // N_ASKERS, plant) for n in range(N_ASKERS)]
        while any(asker.poll() is None for asker in askers):
            place.garden.change(N_CHANGES)
            result.findings += _index(place, indexer, commits)
            result.count("runs of the indexer")
            tell(result)
    for n, asker in enumerate(askers):
        if asker.returncode:
            result.findings.append(f"asker: exit {asker.returncode}: {place.errors()[-500:]}")
        _judge(place.base / f"answers-{n}", commits, result)
    result.count("states", len(commits))
    return result


def _asker(place: Workplace, n: int, n_questions: int, plant: bool) -> subprocess.Popen[bytes]:
    program = [sys.executable, "-m", "tests.chaos.asker", str(place.library)]
    program += [str(place.base / f"answers-{n}"), "--count", str(n_questions)]
    program += ["--seed", str(place.chance.randrange(10**9)), *(["--plant"] if plant else [])]
    with open(place.base / "errors", "ab") as errors:
        return subprocess.Popen(program, cwd=ROOT, env=place.environment(), stderr=errors)


def _index(place: Workplace, indexer: Server, commits: list[Commit]) -> list[str]:
    """One run of the indexer; its commits are added to those before."""
    place.new_ledger()
    arguments = ["index", str(place.photos), "--library", str(place.library), "--yes"]
    indexer.order(arguments=arguments, gate=None, start_ns=time.monotonic_ns())
    told = indexer.answer()
    commits += [commit for commit in read_ledger(place.ledger) if not commit.failed]
    findings = place.judge(told["code"], ask=False)
    if told["code"] not in FINISHED:
        findings.append(f"exit {told['code']}: {told['errors']}")
    return findings


def _judge(answers: Path, commits: Sequence[Commit], result: Result) -> None:
    intended = [commit.intended_ns for commit in commits]
    with open(answers, encoding="utf-8") as lines:
        for line in lines:
            told = json.loads(line)
            result.n_trials += 1
            if "error" in told:
                result.findings.append(f"error: {told['error']}")
                continue
            states = _possible(told, commits, intended)
            result.count("with several states possible", len(states) > 1)
            vector = np.array(told["vector"], dtype=np.float32)
            if not any(is_answer(each.state, vector, told["k"], told["hits"]) for each in states):
                result.findings.append(f"wrong: {line[:200]}")


def _possible(
    told: dict[str, Any], commits: Sequence[Commit], intended: Sequence[int]
) -> list[Commit]:
    """The commits that may have been the last at some moment between question and answer."""
    last = bisect_right(intended, told["answered_ns"])
    first = last - 1
    # One is over only when the next one has certainly been committed.
    while first > 0 and (commits[first].acknowledged_ns or 0) >= told["asked_ns"]:
        first -= 1
    return list(commits[max(first, 0) : last])
