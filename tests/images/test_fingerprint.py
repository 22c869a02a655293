"""The digest covers the whole file and nothing but the file."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from clipsearch.errors import UnreadableImage
from clipsearch.images import HASH_BYTES, content_hash


@pytest.mark.parametrize("size", [0, 1, 1 << 20, (1 << 20) + 1, 3_000_000])
def test_the_digest_is_blake2b_of_the_whole_content(tmp_path: Path, size: int) -> None:
    content = os.urandom(size)
    (tmp_path / "a.jpg").write_bytes(content)
    expected = hashlib.blake2b(content, digest_size=HASH_BYTES).digest()
    assert content_hash(tmp_path / "a.jpg") == expected


@pytest.mark.parametrize("place", [0, 1_500_000, 2_999_999])
def test_one_changed_bit_anywhere_changes_the_digest(tmp_path: Path, place: int) -> None:
    content = bytearray(3_000_000)
    (tmp_path / "a.jpg").write_bytes(content)
    content[place] ^= 1
    (tmp_path / "b.jpg").write_bytes(content)
    assert content_hash(tmp_path / "a.jpg") != content_hash(tmp_path / "b.jpg")


def test_what_is_no_regular_file_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    for path in (tmp_path / "pipe.jpg", tmp_path, Path("/dev/zero")):
        with pytest.raises(UnreadableImage, match="not a regular file"):
            content_hash(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnreadableImage, match=r"gone\.jpg cannot be opened \(no such file"):
        content_hash(tmp_path / "gone.jpg")
