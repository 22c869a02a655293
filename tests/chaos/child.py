"""`clipsearch index FOLDER` with the fake encoder, watched: python -m tests.chaos.child …

It keeps the ledger, says in a shared byte which phase it is in, and can carry a planted bug. All
else is the real command: the same parsing, locking, errors and exit codes.
"""

from __future__ import annotations

import argparse
import mmap
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial, wraps
from pathlib import Path
from typing import Any

from tests.chaos import plants
from tests.chaos.encoder import HashEncoder
from tests.chaos.ledger import STATE, LedgerWriter, state_of

PHASES = ("start", "open", "scan", "read", "commit", "write index", "prune", "done")


class PhaseByte:
    """A byte that the parent sees at once, at the cost of one store."""

    def __init__(self, path: Path | None) -> None:
        self._map = bytearray(1) if path is None else shared_byte(path)

    def __call__(self, phase: str) -> None:
        self._map[0] = PHASES.index(phase)

    @contextmanager
    def during(self, phase: str) -> Iterator[None]:
        before = self._map[0]
        self(phase)
        yield
        self._map[0] = before

    def around(self, owner: Any, name: str, phase: str) -> None:
        """Replace a function by one that says that it is at work."""
        original: Callable[..., Any] = getattr(owner, name)

        @wraps(original)
        def told(*positional: Any, **named: Any) -> Any:
            with self.during(phase):
                return original(*positional, **named)

        setattr(owner, name, told)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("library")
    parser.add_argument("folder")
    parser.add_argument("--ledger", type=Path, required=True)
    parser.add_argument("--phase-file", type=Path)
    parser.add_argument("--merge-from", type=int, default=12)
    parser.add_argument("--disk-seconds", type=float, default=0.0)
    parser.add_argument("--plant", choices=sorted(plants.PLANTS))
    given = parser.parse_args()
    phase = PhaseByte(given.phase_file)
    slow_disk(given.disk_seconds)
    ledger = LedgerWriter(given.ledger)
    run = prepare(ledger, phase, given.merge_from, given.plant, HashEncoder())
    phase("open")
    code = run(["index", given.folder, "--library", given.library, "--yes"])
    phase("done")
    return code


def prepare(
    ledger: LedgerWriter,
    phase: PhaseByte,
    merge_from: int,
    plant: str | None,
    encoder: HashEncoder,
) -> Callable[[list[str]], int]:
    """The command line's own main, over a library that is watched."""
    import clipsearch.library
    from clipsearch.cli.app import main as run

    watch_commits(ledger, phase)
    watch_phases(phase, merge_from)
    if plant is not None:
        plants.PLANTS[plant]()
    opened = partial(clipsearch.library.Library, encoder=encoder)
    clipsearch.library.Library = opened  # type: ignore[assignment, misc]
    return run


def watch_commits(ledger: LedgerWriter, phase: PhaseByte) -> None:
    """Tell the ledger of every write transaction of the catalog."""
    from clipsearch.catalog import Catalog

    begin = Catalog.begin

    @contextmanager
    def watched(self: Catalog) -> Iterator[Any]:
        with phase.during("commit"):
            try:
                with begin(self) as batch:
                    ledger.begin(state_of(batch._connection.exec_driver_sql(STATE)))
                    yield batch
                    ledger.intend(state_of(batch._connection.exec_driver_sql(STATE)))
            except BaseException:
                ledger.fail()
                raise
            ledger.acknowledge()

    Catalog.begin = watched  # type: ignore[method-assign]


def watch_phases(phase: PhaseByte, merge_from: int) -> None:
    import clipsearch.index
    from clipsearch.indexer import merge, run

    phase.around(run, "scan_folders", "scan")
    phase.around(run, "apply_scans", "read")
    for name in ("build", "extend"):
        phase.around(clipsearch.index, name, "write index")
    phase.around(clipsearch.index, "prune_generations", "prune")
    # Small libraries would never get an index file.
    merge.is_merge_due = partial(merge.is_merge_due, merge_from=merge_from)
    merge.can_be_due = partial(merge.can_be_due, merge_from=merge_from)


def slow_disk(seconds: float) -> None:
    """Let syncing, renaming and removing take time, as on a disk, so that kills hit them too."""

    def slowed(call: Callable[..., Any]) -> Callable[..., Any]:
        def slow(*positional: Any, **named: Any) -> Any:
            time.sleep(seconds)
            answer = call(*positional, **named)
            time.sleep(seconds)
            return answer

        return slow

    if seconds:
        for name in ("fsync", "replace", "unlink"):
            setattr(os, name, slowed(getattr(os, name)))


def shared_byte(path: Path) -> mmap.mmap:
    with open(path, "r+b") as file:
        return mmap.mmap(file.fileno(), 1)


if __name__ == "__main__":
    os.environ.setdefault("PYTHONFAULTHANDLER", "1")
    sys.exit(main())
