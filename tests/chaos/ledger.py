"""What was committed, written down outside the library: by the child that indexes, for its parent.

In: open transactions, or the lines that were written about them. Out: states of the catalog in the
order of their commits. A state is read with plain SQL, because the ledger must not believe the
code that it is there to judge.

A line says what a commit is about to do; a second one, that it has returned. So after a kill the
catalog is either as of the last commit that returned, or as of the one after it. Each transaction
also looks at what it finds: that has to be what the one before it left.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

STATE = """
SELECT images.image_id, folders.path, images.relative_path, images.size, images.mtime_ns,
       images.content_hash, images.state, images.reason,
       vectors.vector_id, vectors.crc32, vectors.vector
FROM images JOIN folders USING (folder_id) LEFT JOIN vectors USING (image_id)
ORDER BY images.image_id, vectors.vector_id
"""


class Row(NamedTuple):
    """An image with its vector; bytes as hexadecimal digits, a path as the system gives it."""

    folder: str
    path: str
    size: int
    mtime_ns: int
    content: str | None
    state: str
    reason: str | None
    vector_id: int | None
    crc32: int | None
    vector: str | None


State = dict[int, Row]  # by image id


class Answers(Protocol):
    """What a cursor of sqlite3 and a connection of SQLAlchemy have in common."""

    def fetchall(self) -> Any: ...


def state_of(answers: Answers) -> State:
    """The rows of STATE as a State."""
    return {row[0]: _row(*row[1:]) for row in answers.fetchall()}


def _row(*columns: Any) -> Row:
    folder, path, size, mtime_ns, content, state, reason, vector_id, crc32, vector = columns
    return Row(
        os.fsdecode(folder),
        os.fsdecode(path),
        size,
        mtime_ns,
        None if content is None else content.hex(),
        state,
        reason,
        vector_id,
        crc32,
        None if vector is None else vector.hex(),
    )


class LedgerWriter:
    """Appends to the ledger. A line that a kill has cut short counts as not written."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        self._known: State | None = None

    def forget(self) -> None:
        """Somebody else may have written since, or the ledger begins anew."""
        self._known = None

    def begin(self, state: State) -> None:
        """The state that a transaction finds. Only news is written down."""
        if state != self._known:
            self._line(kind="found", state=state)
        self._known = state

    def intend(self, state: State) -> None:
        """The state that an open transaction is about to commit."""
        assert self._known is not None
        changed = {n: row for n, row in state.items() if self._known.get(n) != row}
        gone = [n for n in self._known if n not in state]
        self._line(kind="intend", set=changed, gone=gone)
        self._known = state

    def acknowledge(self) -> None:
        """The commit has returned."""
        self._line(kind="acknowledge")

    def fail(self) -> None:
        """The transaction has ended in an error."""
        self._line(kind="failed")

    def _line(self, **what: Any) -> None:
        what |= {"pid": os.getpid(), "time_ns": time.monotonic_ns()}
        line = json.dumps(what).encode() + b"\n"
        while line:
            line = line[os.write(self._file, line) :]


@dataclass
class Commit:
    """A state, when it was about to come, and when it was there (None: nobody was told).

    `found` is what the transaction began with, if that is not what the writer knew of.
    """

    pid: int
    state: State
    intended_ns: int
    acknowledged_ns: int | None = None
    failed: bool = False
    found: State | None = None


def read_ledger(path: Path) -> list[Commit]:
    """The commits in order, of one writer after the other: two at once must never be."""
    commits: list[Commit] = []
    found: State | None = None
    known: State = {}
    for line in path.read_bytes().split(b"\n")[:-1]:  # what follows the last newline was cut short
        told = json.loads(line)
        if told["kind"] == "found":
            found = known = _state(told["state"])
        elif told["kind"] == "intend":
            kept = {n: row for n, row in known.items() if n not in set(told["gone"])}
            known = dict(sorted((kept | _state(told["set"])).items()))
            commits.append(Commit(told["pid"], known, told["time_ns"], found=found))
            found = None
        elif told["kind"] == "acknowledge":
            commits[-1].acknowledged_ns = told["time_ns"]
        elif commits and commits[-1].acknowledged_ns is None:
            commits[-1].failed = True
    return commits


def _state(rows: dict[str, list[Any]]) -> State:
    return {int(image_id): Row(*row) for image_id, row in rows.items()}
