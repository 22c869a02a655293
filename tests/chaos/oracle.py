"""Judges a library from outside: plain sqlite3 and numpy, against the ledger and the garden.

Every function returns findings, one line each; none means that nothing is wrong.
"""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tests.chaos.encoder import DIMENSION
from tests.chaos.garden import BROKEN, Garden
from tests.chaos.ledger import STATE, Commit, State, state_of

CATALOG = "catalog.sqlite3"
DUPLICATES = (
    "SELECT folder_id, relative_path, count(*) FROM images NOT INDEXED GROUP BY 1, 2",
    "SELECT image_id, model_id, count(*) FROM vectors NOT INDEXED GROUP BY 1, 2",
)
SCORE_ERROR = 1e-6


@contextmanager
def copied_catalog(library: Path) -> Iterator[sqlite3.Connection | None]:
    """A connection to a copy, so that looking does not do what the next writer has to do.

    None while there is no catalog with tables in it.
    """
    with tempfile.TemporaryDirectory() as folder:
        for name in (CATALOG, f"{CATALOG}-wal", f"{CATALOG}-journal"):
            if (library / name).exists():
                shutil.copyfile(library / name, Path(folder, name))
        with closing(sqlite3.connect(Path(folder, CATALOG))) as connection:
            tables = "SELECT count(*) FROM sqlite_master WHERE name IN ('images', 'vectors')"
            has_tables = connection.execute(tables).fetchone()[0] == 2
            yield connection if has_tables else None


def read_state(library: Path) -> State:
    """All images and vectors that a library holds, whatever became of its writer."""
    with copied_catalog(library) as connection:
        return {} if connection is None else state_of(connection.execute(STATE))


def unsound_file(library: Path) -> list[str]:
    """What SQLite itself finds wrong with the file, and rows that are there twice."""
    with copied_catalog(library) as connection:
        if connection is None:
            return []
        found = [str(row[0]) for row in connection.execute("PRAGMA integrity_check")]
        findings = [f"torn: integrity_check: {line}" for line in found if line != "ok"]
        findings += [f"torn: {row}" for row in connection.execute("PRAGMA foreign_key_check")]
        for statement in DUPLICATES:
            twice = [row for row in connection.execute(statement) if row[-1] > 1]
            findings += [f"duplicate: {row}" for row in twice]
    return findings


def allowed_states(before: State, commits: Sequence[Commit]) -> list[State]:
    """What a library may hold after its writer has gone: what was last acknowledged, or after it
    the one commit under way, which nobody was told of."""
    done = [commit for commit in commits if commit.acknowledged_ns is not None]
    states = [done[-1].state if done else before]
    if commits and commits[-1].acknowledged_ns is None:
        states.append(commits[-1].state)
    return states


def broken_chain(before: State, commits: Sequence[Commit]) -> list[str]:
    """Transactions that did not find what the ones before them had left."""
    findings = []
    for n, commit in enumerate(commits):
        if commit.found is not None:
            findings += difference(commit.found, allowed_states(before, commits[:n]))
    return findings


def difference(actual: State, allowed: Sequence[State]) -> list[str]:
    """How a state differs from each of the allowed ones; nothing if it is one of them."""
    if actual in allowed:
        return []
    expected = allowed[0]
    findings = [f"lost: image {n} ({expected[n].path})" for n in expected if n not in actual]
    findings += [f"phantom: image {n} ({actual[n].path})" for n in actual if n not in expected]
    findings += [
        f"torn: image {n} is {actual[n]}, not {expected[n]}"
        for n in actual
        if n in expected and actual[n] != expected[n]
    ]
    if len(allowed) > 1:
        findings.append(f"torn: nor is it the commit under way ({len(allowed[1])} images)")
    return findings


def untrue_rows(state: State, garden: Garden) -> list[str]:
    """Rows that say what was never so, and vectors that are not those of their pictures."""
    findings = []
    places = Counter(row.path for row in state.values())
    findings += [f"duplicate: {path} has {n} rows" for path, n in places.items() if n > 1]
    vectors = garden.vectors()
    for image_id, row in state.items():
        name = f"image {image_id} ({row.path})"
        if row.content not in garden.ever.get(row.path, ()):
            findings.append(f"phantom: {name} never had this content")
        if row.reason is not None:
            if row.vector is not None:
                findings.append(f"torn: {name} is unreadable and has a vector")
            continue
        if row.state == "unreadable" or row.vector is None or row.crc32 is None:
            findings.append(f"torn: {name} has no vector, or no reason")
            continue
        vector = bytes.fromhex(row.vector)
        if zlib.crc32(vector) != row.crc32 or len(vector) != 2 * DIMENSION:
            findings.append(f"torn: the vector of {name} does not match its checksum")
        if vector != vectors.get(row.content or ""):
            findings.append(f"torn: {name} has the vector of another picture")
    return findings


def incomplete(state: State, garden: Garden) -> list[str]:
    """How a library that was brought up to date differs from the folder as it is."""
    by_path = {row.path: row for row in state.values()}
    hashes, findings = garden.hashes(), []
    for path, seed in garden.files.items():
        row, wanted = by_path.get(path), "unreadable" if seed == BROKEN else "present"
        if row is None or row.state != wanted or row.content != hashes[path]:
            findings.append(f"lost: {path} should be {wanted}, and the library has {row}")
    for path, row in by_path.items():
        if path not in garden.files and row.state != "missing":
            findings.append(f"phantom: {path} is not there, and the library has {row}")
    return findings


def best(state: State, vector: NDArray[np.float32], k: int) -> list[tuple[int, float]]:
    """The k present images nearest to a unit vector `[16]`, by brute force: ids and cosines."""
    present = [
        (image_id, bytes.fromhex(row.vector))
        for image_id, row in state.items()
        if row.state == "present" and row.vector is not None
    ]
    if not present:
        return []
    ids = np.array([image_id for image_id, _ in present])
    stored = np.frombuffer(b"".join(blob for _, blob in present), dtype="<f2")
    wide = stored.reshape(len(ids), -1).astype(np.float64)
    scores = (wide * vector.astype(np.float64)).sum(axis=1) / np.sqrt((wide * wide).sum(axis=1))
    order = np.lexsort((ids, -scores))[:k]
    return [(int(ids[n]), float(scores[n])) for n in order]


def is_answer(
    state: State, vector: NDArray[np.float32], k: int, hits: Sequence[tuple[int, str, float]]
) -> bool:
    """Whether hits (id, path, score) are the whole truth about one state."""
    expected = best(state, vector, k)
    if [image_id for image_id, _ in expected] != [image_id for image_id, _, _ in hits]:
        return False
    return all(
        abs(score - true) < SCORE_ERROR and path == f"{state[n].folder}/{state[n].path}"
        for (n, true), (_, path, score) in zip(expected, hits, strict=True)
    )
