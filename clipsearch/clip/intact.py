"""Whether a bundle's weights are still the bytes that were written.

In: a bundle's folder. Out: nothing, or BrokenCheckpoint. Reading hundreds of megabytes for every
question would take longer than answering it, so a file is read whole once, and again only when its
size, time or inode has changed.
"""

from __future__ import annotations

import os
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from clipsearch.clip.cache import sha256_of
from clipsearch.clip.manifest import WEIGHTS_FILE, read_manifest
from clipsearch.errors import BrokenCheckpoint

SEEN_FOLDER = "verified"  # in the cache: a small file for each bundle


def require_intact(folder: Path, cache_folder: Path) -> None:
    """Raise BrokenCheckpoint if the weights are not those that `model.json` was written for.

    A bundle that was made without a checksum passes.
    """
    path, expected = folder / WEIGHTS_FILE, read_manifest(folder).weights_sha256
    if not expected:
        return
    seen = cache_folder / SEEN_FOLDER / sha256(os.fsencode(path.resolve())).hexdigest()[:32]
    state = _state(path, expected)
    if _read(seen) == state:
        return
    found = sha256_of(path)
    if found != expected:
        from clipsearch.clip.registry import MINI_FOLDER

        remedy = f"delete the folder {folder} and fetch or convert the model again"
        if folder == MINI_FOLDER:
            remedy = "install clipsearch again"
        raise BrokenCheckpoint(
            f"{path} has been damaged or changed since it was written (its SHA-256 is {found[:12]}…"
            f" where {expected[:12]}… was expected): {remedy}"
        )
    _remember(seen, state)


def _state(path: Path, expected: str) -> str:
    stat = path.stat()
    return f"{stat.st_size} {stat.st_mtime_ns} {stat.st_ino} {expected}\n"


def _read(seen: Path) -> str | None:
    try:
        return seen.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        return None


def _remember(seen: Path, state: str) -> None:
    """Where nothing can be written, the file is read again the next time, which is all."""
    with suppress(OSError):
        seen.parent.mkdir(parents=True, exist_ok=True)
        temporary = seen.with_name(f"{seen.name}.{os.getpid()}")
        temporary.write_text(state, encoding="ascii")
        temporary.replace(seen)
