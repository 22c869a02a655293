"""What people type, made fit to be compared, shown and encoded.

Knows nothing of queries.
"""

from __future__ import annotations

import re

# Nothing that can be seen or said, but what can move a terminal's cursor.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def plain(text: str) -> str:
    """Words with single spaces between them; a control character is a space."""
    return " ".join(_CONTROL.sub(" ", text).split())


def is_unicode(text: str) -> bool:
    """Whether it can be encoded: what was no UTF-8 on a command line comes as lone surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def quoted(text: str, n_characters: int = 60) -> str:
    """For a message: in quotation marks, printable, and no more than so many characters."""
    shown = plain(text).encode("utf-8", "backslashreplace").decode()
    cut = shown if len(shown) <= n_characters else f"{shown[: n_characters - 1]}…"
    return f'"{cut}"'
