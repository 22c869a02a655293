"""On what kind of file system a library lies. Some do not keep the promises that SQLite needs."""

from __future__ import annotations

import os
from pathlib import Path

MOUNTS = Path("/proc/self/mountinfo")  # Linux; elsewhere nothing is known and nothing is said
_RISKY = ("nfs", "cifs", "smb", "fuse", "9p", "afs", "ceph", "ncpfs", "vboxsf", "prl_fs")


def warnings_about(library: Path, mounts: Path = MOUNTS) -> list[str]:
    """One sentence if the library's place is on a network or in user space, else none."""
    kind = file_system(library, mounts)
    if kind is None or not kind.startswith(_RISKY):
        return []
    return [
        f"the library {library} lies on a file system of the kind {kind}, where locks and "
        "write-ahead logging may fail without a word: move it to a local disk"
    ]


def file_system(path: Path, mounts: Path = MOUNTS) -> str | None:
    """The kind of file system that a path is on, such as ext4 or nfs4."""
    try:
        lines = mounts.read_bytes().splitlines()
    except OSError:
        return None
    place = os.fsencode(os.path.realpath(path))
    best, kind = b"", None
    for line in lines:
        fields, _, after = line.partition(b" - ")
        parts = fields.split(b" ")
        if len(parts) < 5 or not after:
            continue
        # Blanks and the like are written as \040.
        mounted = parts[4].decode("unicode_escape").encode("latin-1")
        is_above = place == mounted or place.startswith(mounted.rstrip(b"/") + b"/")
        if is_above and len(mounted) >= len(best):  # of two at one place the later one is on top
            best, kind = mounted, after.split(b" ")[0].decode("ascii", "replace")
    return kind
