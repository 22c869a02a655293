"""A place with a garden, a library and a ledger, where children index and a parent judges.

Children are new processes in a session of their own, so that nothing they start can hide.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.chaos import oracle
from tests.chaos.child import PHASES, shared_byte
from tests.chaos.garden import Garden
from tests.chaos.ledger import State, read_ledger
from tests.chaos.questions import wrong_answers

ROOT = Path(__file__).resolve().parents[2]
FINISHED = (0, 3)  # exit codes: done; done, some files skipped
GRACE_SECONDS = 10.0  # for what a dead child has started


@dataclass
class Result:
    """What one claim came to: how often it was tried, and what spoke against it."""

    claim: str
    n_trials: int = 0
    findings: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)

    def count(self, what: str, n: int = 1) -> None:
        self.counts[what] = self.counts.get(what, 0) + n


Tell = Callable[[Result], None]


def say_nothing(_: Result) -> None:
    pass


class Workplace:
    """A folder for one experiment; the same seed makes the same garden and the same choices."""

    def __init__(self, base: Path, seed: int | str, n_pictures: int = 60) -> None:
        self.base, self.chance = base, random.Random(seed)
        self.library, self.photos = base / "library", base / "photos"
        self.ledger, self.phase_file = base / "ledger", base / "phase"
        self.photos.mkdir(parents=True)
        self.phase_file.write_bytes(b"\0")
        self.phase_map = shared_byte(self.phase_file)
        self.garden = Garden(self.photos, self.chance)
        self.garden.plant(n_pictures)
        self.state: State = {}  # of the library, as it was last judged

    def environment(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("CLIPSEARCH_", "XDG_"))}
        return kept | {
            "CLIPSEARCH_BATCH_SIZE": "8",
            "CLIPSEARCH_DECODE_WORKERS": "2",
            "OMP_NUM_THREADS": "1",
            "HOME": str(self.base),
        }

    def command(self, *options: str) -> list[str]:
        """What indexes the garden; the ledger begins anew."""
        self.new_ledger()
        self.phase_map[0] = 0
        program = [sys.executable, "-m", "tests.chaos.child", str(self.library), str(self.photos)]
        return [
            *program,
            *("--ledger", str(self.ledger), "--phase-file", str(self.phase_file)),
            *options,
        ]

    def new_ledger(self) -> None:
        for path in (self.ledger, self.base / "errors"):
            path.write_bytes(b"")

    def start(self, command: Sequence[str]) -> subprocess.Popen[bytes]:
        """Its output goes to files beside the library, so that no pipe can fill up."""
        with open(self.base / "output", "wb") as output, open(self.base / "errors", "wb") as errors:
            return subprocess.Popen(
                command,
                cwd=ROOT,
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                start_new_session=True,
            )

    def run(self, *options: str) -> int:
        """Index from beginning to end; gives the exit code."""
        return self.start(self.command(*options)).wait(120)

    def phase(self) -> str:
        """Where the child is, or was when it died."""
        return PHASES[self.phase_map[0]]

    def errors(self) -> str:
        return (self.base / "errors").read_text(errors="replace")

    def judge(self, code: int, *, ask: bool = True) -> list[str]:
        """All that is wrong after a child has gone, with this exit code. Accepts what is there."""
        commits, before = read_ledger(self.ledger), self.state
        self.state = oracle.read_state(self.library)
        findings = oracle.unsound_file(self.library)
        findings += oracle.broken_chain(before, commits)
        findings += oracle.difference(self.state, oracle.allowed_states(before, commits))
        findings += oracle.untrue_rows(self.state, self.garden)
        if code in FINISHED:
            findings += oracle.incomplete(self.state, self.garden)
        if "Traceback" in self.errors():
            findings.append(f"traceback: {self.errors()[-500:]}")
        if ask:
            findings += wrong_answers(self.library, self.state, self.chance)
        return findings


def left_behind(session: int, seconds: float = GRACE_SECONDS) -> list[int]:
    """The processes of a session that are still there after a while."""
    deadline = time.monotonic() + seconds
    while found := members(session):
        if time.monotonic() > deadline:
            return found
        time.sleep(0.01)
    return []


def members(session: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            # pid (command) state parent group session …; the command may hold anything
            fields: list[Any] = stat.read_text(errors="replace").rpartition(")")[2].split()
        except OSError:
            continue  # it has gone meanwhile
        if int(fields[3]) == session and fields[0] != "Z":
            found.append(int(stat.parent.name))
    return found
