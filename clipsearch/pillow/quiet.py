"""What Pillow needs around it: silence that is safe among threads, and what it may raise.

Knows nothing of files or formats.
"""

from __future__ import annotations

import logging
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

from PIL import Image, ImageCms

# Everything that Pillow's readers were seen to raise on damaged files. LookupError is Index- and
# KeyError, ArithmeticError Overflow- and ZeroDivisionError, RuntimeError NotImplemented- and
# RecursionError, OSError Pillow's UnidentifiedImageError. Warning: in case a filter turned one into
# an exception all the same.
PILLOW_ERRORS: tuple[type[Exception], ...] = (
    OSError,
    EOFError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    AttributeError,
    AssertionError,
    RuntimeError,
    BufferError,
    MemoryError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
    ImageCms.PyCMSError,
    Warning,
)

# Pillow logs one of its errors besides raising it; without a handler Python would print it.
logging.getLogger("PIL").addHandler(logging.NullHandler())


class _QuietThreads(threading.local):
    """Stands where a warnings filter has its module pattern.

    Matches only in threads that asked for silence.
    """

    depth = 0

    def match(self, _module: str) -> bool:
        return self.depth > 0


_quiet = _QuietThreads()
_FILTER = ("ignore", None, Warning, _quiet, 0)
_insert_lock = threading.Lock()


@contextmanager
def quiet_pillow() -> Iterator[None]:
    """Drop the warnings of this thread, whatever filters are set, and of no other thread.

    `warnings.catch_warnings` swaps a list that all threads share, so it is no use in decoding
    threads. This adds one filter that asks, at the moment of a warning, which thread it came from.
    """
    filters = cast("list[Any]", warnings.filters)
    with _insert_lock:
        # Looked at each time: a catch_warnings elsewhere may have put back an older list, or a
        # stricter filter stand in front. One assignment, so that no thread sees a list without it.
        if not filters or filters[0] is not _FILTER:
            filters[:] = [_FILTER, *(other for other in filters if other is not _FILTER)]
    _quiet.depth += 1
    try:
        yield
    finally:
        _quiet.depth -= 1
