"""What a decoding worker may use, and how the system is told to hold it to that.

In: Limits, from the settings. The functions change the process that calls them, which is the
worker. Where the system knows no such limit (Windows), only the clock of the parent is left.
"""

from __future__ import annotations

import ctypes
import signal
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

from clipsearch.settings import Settings

if sys.platform != "win32":
    import resource

_PR_SET_PDEATHSIG = 1  # from Linux's sys/prctl.h
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # from glibc's malloc.h
_KEPT_BYTES = 64 << 20


@dataclass(frozen=True)
class Limits:
    """Memory of one worker; processor seconds and seconds by the clock for one file."""

    memory_mb: int
    cpu_seconds: int
    wall_seconds: float

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """As the settings say. By the clock twice as long: disks and processors are shared."""
        return cls(settings.decode_memory, settings.decode_seconds, 2 * settings.decode_seconds)

    @property
    def file_bytes(self) -> int:
        """The largest file that is read: beside it, its picture needs room."""
        return (self.memory_mb << 20) // 2


def limit_memory(memory_mb: int) -> None:
    """Make larger allocations fail in this process, and forbid it to write files."""
    if sys.platform == "win32":
        return
    # Linux counts in DATA what was really asked for; elsewhere that is only the heap proper, and AS
    # takes in the libraries too.
    kind = resource.RLIMIT_DATA if sys.platform == "linux" else resource.RLIMIT_AS
    _lower(kind, memory_mb << 20)
    _lower(resource.RLIMIT_FSIZE, 0)
    _lower(resource.RLIMIT_CORE, 0)


def grant_seconds(seconds: int) -> None:
    """Let this process compute for so long from now on, and not much longer."""
    if sys.platform == "win32":
        return
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    wanted = int(time.process_time()) + seconds + 1
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_CPU, (wanted, hard))


def die_with_parent() -> None:
    """Have this process killed when the thread that started it ends, if only by kill -9.

    Elsewhere than on Linux it ends when it next looks for a request.
    """
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def keep_memory() -> None:
    """Have what one picture has freed at hand for the next, up to `_KEPT_BYTES`.

    glibc would give it back to the system after every picture and fetch it again, page by page.
    """
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):  # another C library
            libc = ctypes.CDLL(None)
            libc.mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
            libc.mallopt(_M_MMAP_THRESHOLD, _KEPT_BYTES // 2)


def _lower(kind: int, value: int) -> None:
    _, hard = resource.getrlimit(kind)
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    # Some systems know a limit and refuse to set it; the others hold all the same.
    with suppress(OSError, ValueError):
        resource.setrlimit(kind, (value, value))
