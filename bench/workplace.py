"""Where the large measurements keep what they have made: libraries and results outlive a run, so
that one that was interrupted goes on where it stopped."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path("build/bench")  # `make clean` removes it

# A process begins with the peak of the one that it was forked from; this one is small.
_LAUNCHER = """
import json, os, sys, time
began = time.perf_counter()
child = os.posix_spawnp(sys.argv[2], sys.argv[2:], os.environ)
_, status, usage = os.wait4(child, 0)
told = [time.perf_counter() - began, usage.ru_maxrss, os.waitstatus_to_exitcode(status)]
os.write(int(sys.argv[1]), json.dumps(told).encode())
"""


@dataclass(frozen=True)
class Ran:
    """What a process took: seconds by the clock, megabytes of memory at most, what it wrote."""

    seconds: float
    peak_mb: float
    output: str


def folder_of(name: str) -> Path:
    folder = FOLDER / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder.resolve()


def kept(name: str, measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The result of that name if there is one, else measured now and kept."""
    file = folder_of("results") / f"{name}.json"
    if not file.exists():
        result = measure()
        file.with_suffix(".part").write_text(json.dumps(result, indent=1))
        os.replace(file.with_suffix(".part"), file)
    found: dict[str, Any] = json.loads(file.read_text())
    return found


def run_process(command: Sequence[str | Path], environment: Mapping[str, str]) -> Ran:
    """Run a command to its end. Raises CalledProcessError if it fails."""
    words = list(map(str, command))
    reading, writing = os.pipe()
    with subprocess.Popen(
        [sys.executable, "-S", "-c", _LAUNCHER, str(writing), *words],
        stdout=subprocess.PIPE,
        env=os.environ | dict(environment),
        pass_fds=[writing],
    ) as process:
        os.close(writing)
        output = process.communicate()[0].decode(errors="replace")
        with os.fdopen(reading) as told:
            seconds, peak_kb, code = json.loads(told.read())
    if code:
        raise subprocess.CalledProcessError(code, words, output)
    return Ran(seconds, peak_kb / 1024, output)


def clipsearch(*arguments: str | Path) -> Ran:
    """Run our command, with a cache of models of its own."""
    command = [sys.executable, "-m", "clipsearch", *arguments]
    return run_process(command, {"CLIPSEARCH_CACHE": str(folder_of("cache"))})
