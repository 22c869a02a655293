"""A file is read whole once, and again when anything about it has changed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clipsearch.index import ExactIndex, GenerationHeader, Verified, build, open_index, store
from clipsearch.index.build import Source
from clipsearch.vectors import normalise

OLD_NS = 10**18  # long before any test runs


@pytest.fixture
def path(tmp_path: Path) -> Path:
    vectors = normalise(np.random.default_rng(0).standard_normal((50, 8)))
    source = Source(50, lambda n: vectors[:n], lambda: iter([(np.arange(50), vectors)]))
    return build(tmp_path / "index", source, GenerationHeader(1, 50, 8, "l", "m", "exact", 1))


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The content's length, each time that a content is read whole. Every file counts as old."""
    done: list[int] = []
    real = store._check_payload

    def counted(file: Any, n_bytes: int, sha256: str) -> None:
        done.append(n_bytes)
        real(file, n_bytes, sha256)

    monkeypatch.setattr(store, "_check_payload", counted)
    monkeypatch.setattr("clipsearch.index.verified._SETTLED_SECONDS", -1)
    return done


def is_read(path: Path, notes: Path) -> bool:
    found = open_index(path.parent, library_uuid="l", model_sha256="m", verified=Verified(notes))
    return found is not None and isinstance(found[1], ExactIndex)


def test_the_second_reader_trusts_the_first(path: Path, tmp_path: Path, checks: list[int]) -> None:
    assert is_read(path, tmp_path / "notes") and is_read(path, tmp_path / "notes")
    assert len(checks) == 1
    assert is_read(path, tmp_path / "other notes")
    assert len(checks) == 2


def test_a_changed_file_is_read_again_though_its_date_is_the_same(
    path: Path, tmp_path: Path, checks: list[int]
) -> None:
    os.utime(path, ns=(OLD_NS, OLD_NS))
    assert is_read(path, tmp_path / "notes")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    with open(path, "r+b") as file:
        file.write(content)
    os.utime(path, ns=(OLD_NS, OLD_NS))
    assert not is_read(path, tmp_path / "notes")
    assert len(checks) == 2


def test_what_was_found_damaged_is_not_remembered_as_right(
    path: Path, tmp_path: Path, checks: list[int]
) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert not is_read(path, tmp_path / "notes") and not is_read(path, tmp_path / "notes")
    assert len(checks) == 2


def test_a_file_that_has_only_just_been_written_is_not_remembered(
    path: Path, tmp_path: Path, checks: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clipsearch.index.verified._SETTLED_SECONDS", 1000)
    assert is_read(path, tmp_path / "notes") and is_read(path, tmp_path / "notes")
    assert len(checks) == 2


@pytest.mark.parametrize("note", [b"", b"[1, 2", b"null", b"[]", b"\xff"])
def test_a_spoiled_note_is_as_good_as_none(
    path: Path, tmp_path: Path, checks: list[int], note: bytes
) -> None:
    assert is_read(path, tmp_path / "notes")
    (only,) = (tmp_path / "notes").iterdir()
    only.write_bytes(note)
    assert is_read(path, tmp_path / "notes") and is_read(path, tmp_path / "notes")
    assert len(checks) == 2


def test_where_no_note_can_be_written_each_reader_reads_all(
    path: Path, tmp_path: Path, checks: list[int]
) -> None:
    (tmp_path / "notes").touch()  # a file where the folder should be
    assert is_read(path, tmp_path / "notes") and is_read(path, tmp_path / "notes")
    assert len(checks) == 2


def test_reading_leaves_the_library_as_it_was(path: Path, tmp_path: Path) -> None:
    before = sorted(path.parent.iterdir())
    assert is_read(path, tmp_path / "notes")
    assert sorted(path.parent.iterdir()) == before
