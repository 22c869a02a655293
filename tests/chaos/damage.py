"""State files that were cut off or have a flipped bit: noticed, no crash, no wrong answer.

An answer may also be refused, and no score is ever wrong. Where rows have gone from an answer, or
harm is done that shows in none, the library's own check has to find it. Only the log of a crashed
writer may cost the commits at its end: SQLite takes what is damaged for never written.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
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
FAILURES = ("crash", "unnoticed", "wrong score")
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
        at_rest = before = place.state
        while not (place.library / LOG).exists():  # a machine may be too slow to kill in time
            before = place.state
            place.garden.change(20)
            self._kill_in_the_middle()
            self.findings += place.judge(-9, ask=False)
        shutil.copytree(place.library, base / "killed")
        earlier = [before, *(commit.state for commit in read_ledger(place.ledger))]
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

    def prober(self, *options: str) -> Server:
        errors = self.place.base / "errors"
        return Server(["tests.chaos.prober", *options], self.place.environment(), errors)

    def has_lost_something(self, library: str, damage: Damage) -> bool:
        """Whether the damage did harm: of a catalog also that shows in no answer, or that only
        makes a file look changed, which costs reading it again."""
        if damage.file.startswith("index/base-"):
            return True
        if damage.file != oracle.CATALOG:
            return False
        try:
            return _essence(oracle.read_state(self.place.library)) != _essence(self.now[library])
        except (sqlite3.Error, UnicodeDecodeError):
            return True

    def are_right(self, states: list[State], hits: list[Any]) -> bool:
        """Whether all answers are those of one of the states."""
        return any(
            all(
                oracle.is_answer(state, np.array(vector, dtype=np.float32), k, answer)
                for (vector, k), answer in zip(self.questions, hits, strict=True)
            )
            for state in states
        )

    def has_wrong_score(self, library: str, hits: list[Any]) -> bool:
        """Whether a picture is said to be nearer or farther than it is."""
        for (vector, _), answer in zip(self.questions, hits, strict=True):
            true = dict(oracle.best(self.now[library], np.array(vector, dtype=np.float32), 1000))
            for image_id, _, score in answer:
                if abs(score - true.get(image_id, score)) > oracle.SCORE_ERROR:
                    return True
        return False


def _essence(state: State) -> dict[int, tuple[Any, ...]]:
    return {
        n: (row.folder, row.path, row.content, row.state, row.vector, row.crc32)
        for n, row in state.items()
    }


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
    while result.n_trials < n:
        with bench.prober() as server:
            is_alive = True
            while is_alive and result.n_trials < n:
                library, damage = bench.choose()
                outcome = suffer(bench, library, damage, server)
                is_alive = not outcome.startswith("crash")
                result.n_trials += 1
                result.count(outcome.split(":")[0])
                if outcome.split(":")[0] in FAILURES:
                    result.findings.append(f"{library} {damage}: {outcome}")
                tell(result)
    return result


def suffer(bench: DamageBench, library: str, damage: Damage, server: Server) -> str:
    """What came of one damage, in a few words, if need be with details behind a colon."""
    target = bench.damaged(library, damage)
    must_be_noticed = bench.has_lost_something(library, damage)
    try:
        server.order(library=str(target), questions=bench.questions)
        told = server.answer()
    except Gone as gone:
        return f"crash: {gone} {bench.place.errors()[-500:]}"
    if told["refused"] is not None:
        return "refused"
    is_found = bool(told["found"])
    if bench.are_right([bench.now[library]], told["hits"]):
        if must_be_noticed and not is_found:
            return "unnoticed: right all the same"
        return "right, and found by check" if is_found else "right"
    if damage.file == LOG and bench.are_right(bench.states[library], told["hits"]):
        return "right before the end of the log"
    if bench.has_wrong_score(library, told["hits"]):
        return f"wrong score: {str(told['hits'])[:300]}"
    return "other rows, and found by check" if is_found else f"unnoticed: {told['hits']}"[:300]
