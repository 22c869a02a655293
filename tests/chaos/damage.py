"""State files that were cut off or have a flipped bit: noticed, no crash, no wrong answer.

An answer may also be refused. What is neither right nor refused has to be found by the library's
own check; only the log of a crashed writer may cost the commits at its end, as SQLite promises.
"""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tests.chaos import oracle
from tests.chaos.ledger import State, read_ledger
from tests.chaos.questions import question
from tests.chaos.serving import Gone, Server
from tests.chaos.workplace import Result, Tell, Workplace, say_nothing

CLAIM = "state files cut off or flipped: noticed, no crash, no wrong answer"
N_QUESTIONS = 3
LOG = f"{oracle.CATALOG}-wal"


@dataclass(frozen=True)
class Damage:
    file: str  # relative to the library
    how: str  # "cut" or "flipped"
    place: int  # the length that is left, or the number of the bit


class DamageBench:
    """A library at rest, one whose writer was killed, and the states that each may speak of."""

    def __init__(self, base: Path, seed: int) -> None:
        self.place = place = Workplace(base, f"damage {seed}", n_pictures=40)
        place.run()
        self.findings = place.judge(0)
        shutil.copytree(place.library, base / "rest")
        at_rest = place.state
        place.garden.change(20)
        self._kill_in_the_middle()
        self.findings += place.judge(-9, ask=False)
        shutil.copytree(place.library, base / "killed")
        earlier = [at_rest, *(commit.state for commit in read_ledger(place.ledger))]
        self.states: dict[str, list[State]] = {"rest": [at_rest], "killed": earlier}
        self.now = {"rest": at_rest, "killed": place.state}
        self.questions = [
            (vector.tolist(), k)
            for vector, k in (question(place.chance) for _ in range(N_QUESTIONS - 1))
        ]
        self.questions.append((question(place.chance)[0].tolist(), 1000))  # every picture

    def _kill_in_the_middle(self) -> None:
        """So that the log stays: a writer that ends in peace puts it away."""
        child = self.place.start(self.place.command("--disk-seconds", "0.1"))
        while self.place.phase() != "write index" and child.poll() is None:
            time.sleep(0.001)
        child.kill()
        child.wait()
        assert (self.place.library / LOG).stat().st_size

    def choose(self) -> tuple[str, Damage]:
        """A library and what shall happen to it; each file in turn, each place by chance."""
        chance = self.place.chance
        library = chance.choice(("rest", "killed"))
        folder = self.place.base / library
        files = sorted(
            str(path.relative_to(folder))
            for path in folder.rglob("*")
            if path.is_file() and path.stat().st_size and not path.name.endswith("-shm")
        )
        file = chance.choice(files)
        size = (folder / file).stat().st_size
        if chance.random() < 0.25:
            return library, Damage(file, "cut", chance.randrange(size))
        return library, Damage(file, "flipped", chance.randrange(8 * size))

    def damaged(self, library: str, damage: Damage) -> Path:
        target = self.place.library
        shutil.rmtree(target)
        shutil.copytree(self.place.base / library, target)
        inflict(target / damage.file, damage)
        return target


def inflict(path: Path, damage: Damage) -> None:
    if damage.how == "cut":
        os.truncate(path, damage.place)
        return
    content = bytearray(path.read_bytes())
    content[damage.place // 8] ^= 1 << damage.place % 8
    path.write_bytes(content)


def damage_many(base: Path, seed: int, n: int, tell: Tell = say_nothing) -> Result:
    """Damage one place of one file at a time, and ask."""
    result, bench = Result(CLAIM), DamageBench(base, seed)
    result.findings += bench.findings
    server = None
    try:
        while result.n_trials < n:
            server = server or _prober(bench)
            library, damage = bench.choose()
            target = bench.damaged(library, damage)
            try:
                server.order(library=str(target), questions=bench.questions)
                outcome = judge(bench, library, damage, server.answer())
            except Gone as gone:
                outcome = f"crash: {gone} {bench.place.errors()[-500:]}"
                server = server.__exit__(None, None, None)
            result.n_trials += 1
            result.count(outcome.split(":")[0])
            if outcome.startswith(("crash", "WRONG")):
                result.findings.append(f"{library} {damage}: {outcome}")
            tell(result)
    finally:
        if server is not None:
            server.__exit__(None, None, None)
    return result


def judge(bench: DamageBench, library: str, damage: Damage, told: dict[str, Any]) -> str:
    """What came of it, in one or two words; WRONG with details."""
    if told["refused"] is not None:
        return "refused"
    if _are_right(bench, [bench.now[library]], told["hits"]):
        noticed = damage.file.startswith("index/") and bool(told["found"])
        return "right, and found by check" if noticed or told["found"] else "right"
    if damage.file == LOG and _are_right(bench, bench.states[library], told["hits"]):
        return "right before the end of the log"
    if told["found"]:
        return "wrong, but found by check"
    return f"WRONG: {str(told['hits'])[:300]}"


def _are_right(bench: DamageBench, states: list[State], hits: list[Any]) -> bool:
    return any(
        all(
            oracle.is_answer(state, np.array(vector, dtype=np.float32), k, answer)
            for (vector, k), answer in zip(bench.questions, hits, strict=True)
        )
        for state in states
    )


def _prober(bench: DamageBench) -> Server:
    errors = bench.place.base / "errors"
    return Server(["tests.chaos.prober"], bench.place.environment(), errors)
