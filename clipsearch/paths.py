"""Words from outside, such as the names of files, in forms that do no harm.

In: text and paths, which on disk are bytes. Out: text for a terminal, a page or JSON.
"""

from __future__ import annotations

import base64
import os
from pathlib import Path


def printable(text: str) -> str:
    """Escape what could move the cursor, colour the terminal, reorder or hide text."""
    return "".join(c if c.isprintable() else _escaped(c) for c in text)


def path_text(path: object) -> str:
    """Give a path as valid text: bytes that are not UTF-8 become U+FFFD."""
    if not isinstance(path, Path):
        raise TypeError(f"{type(path).__name__} has no JSON form")
    return os.fsencode(path).decode("utf-8", "replace")


def path_fields(path: Path) -> dict[str, str]:
    """Give the JSON fields of a path: its text, and its bytes where the text cannot carry them."""
    raw = os.fsencode(path)
    fields = {"path": path_text(path)}
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError:
        fields["path_bytes_base64"] = base64.b64encode(raw).decode("ascii")
    return fields


def _escaped(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # how os.fsdecode carries a byte that is not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")
