"""A folder of hostile files with good ones between them: all get an outcome, in bounded memory."""

from __future__ import annotations

import random
import subprocess
import time
from pathlib import Path

from clipsearch.library import Library
from tests.chaos import oracle
from tests.chaos.corrupt import KINDS, Kind
from tests.chaos.encoder import HashEncoder, content_hash_of, png_of, stored_vector
from tests.chaos.ledger import Row, State
from tests.chaos.workplace import Result, Tell, Workplace, members, say_nothing

CLAIM = "corrupt pictures: each a named reason, no neighbour lost, bounded memory"
GOOD_EVERY = 4  # after so many hostile files comes a good one
CAP_MIB = 512  # of any one process
LIMIT_SECONDS = 600.0
SOME_SKIPPED = 3
MOST_WORDS = 400  # characters of a reason


def read_hostile(
    base: Path, seed: int, n_files: int, tell: Tell = say_nothing, plant: str | None = None
) -> Result:
    """Index n hostile files and some good ones in one run, then once more."""
    result, place = Result(CLAIM), Workplace(base, f"pictures {seed}", n_pictures=0)
    kinds, good = fill(place.photos, place.chance, n_files)
    options = ("--plant", plant) if plant else ()
    child = place.start(place.command(*options))
    peaks = watch_memory(child)
    state = oracle.read_state(place.library)
    result.n_trials = len(kinds)
    result.count("kinds", len({kind.name for kind in kinds.values()}))
    result.count("peak MiB of a process", max(peaks.values(), default=0))
    result.findings += ended_badly(child, place)
    result.findings += [
        f"memory: process {pid} took {mib} MiB" for pid, mib in peaks.items() if mib > CAP_MIB
    ]
    result.findings += without_outcome(state, kinds, result) + lost(state, good)
    result.findings += untold(place.library, state) + oracle.unsound_file(place.library)
    again = place.run()
    if again != SOME_SKIPPED or oracle.read_state(place.library) != state:
        result.findings.append(f"again: exit {again}, or the catalog has changed")
    tell(result)
    return result


def fill(folder: Path, chance: random.Random, n_files: int) -> tuple[dict[str, Kind], set[str]]:
    """Write the files; gives the hostile ones by name, with their kinds, and the good ones."""
    kinds, good = {}, set()
    for n in range(n_files):
        kind = KINDS[n % len(KINDS)]
        name = f"{n:05}{kind.extension}"
        (folder / name).write_bytes(kind.make(chance))
        kinds[name] = kind
        if n % GOOD_EVERY == 0:
            (folder / f"{n:05}-good.png").write_bytes(png_of(n))
            good.add(f"{n:05}-good.png")
    return kinds, good


def watch_memory(child: subprocess.Popen[bytes]) -> dict[int, int]:
    """Wait for the end of a child; the most MiB that it and each of its processes ever had."""
    peaks: dict[int, int] = {}
    deadline = time.monotonic() + LIMIT_SECONDS
    while child.poll() is None and time.monotonic() < deadline:
        for pid in members(child.pid):
            peaks[pid] = max(peaks.get(pid, 0), high_water_mib(pid))
        time.sleep(0.02)
    child.kill()
    child.wait()
    return peaks


def high_water_mib(pid: int) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0  # it has gone meanwhile
    peak = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(peak[0]) // 1024 if peak else 0


def ended_badly(child: subprocess.Popen[bytes], place: Workplace) -> list[str]:
    is_fine = child.returncode == SOME_SKIPPED and "Traceback" not in place.errors()
    return [] if is_fine else [f"exit {child.returncode}: {place.errors()[-500:]}"]


def without_outcome(state: State, kinds: dict[str, Kind], result: Result) -> list[str]:
    """Hostile files that the catalog does not know, or for which it has no reason, or a wrong
    outcome."""
    rows, findings = {row.path: row for row in state.values()}, []
    for name, kind in kinds.items():
        row = rows.get(name)
        if row is None:
            findings.append(f"swallowed: {name} ({kind.name}) has no outcome")
            continue
        result.count(row.state)
        findings += [f"{name} ({kind.name}): {flaw}" for flaw in flaws(row, kind)]
    return findings


def flaws(row: Row, kind: Kind) -> list[str]:
    if row.state == "present":
        found = ["is no picture, and passes for one"] if kind.fate == "bad" else []
        return found if row.vector else [*found, "has no vector"]
    if kind.fate == "good":
        return [f"is a good picture, and was refused: {row.reason}"]
    reason = row.reason or ""
    is_named = bool(reason) and reason.isprintable() and len(reason) < MOST_WORDS
    return [] if is_named else [f"has a bad reason: {reason!r}"]


def lost(state: State, good: set[str]) -> list[str]:
    """Good pictures without their own vector."""
    rows = {row.path: row for row in state.values()}
    findings = []
    for name in sorted(good):
        seed, row = int(name.partition("-")[0]), rows.get(name)
        wanted = (content_hash_of(png_of(seed)), stored_vector(seed).hex())
        if row is None or row.state != "present" or (row.content, row.vector) != wanted:
            findings.append(f"lost: the good neighbour {name}: {row}")
    return findings


def untold(library: Path, state: State) -> list[str]:
    """What `clipsearch errors` should name and does not, or the other way round."""
    wanted = {f"{row.folder}/{row.path}" for row in state.values() if row.state == "unreadable"}
    with Library(library, create=False, encoder=HashEncoder()) as opened:
        told = {str(error.path) for error in opened.errors()}
    return [f"untold: {path}" for path in sorted(wanted ^ told)]
