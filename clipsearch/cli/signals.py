"""Ctrl-C, a terminal that is closed, a polite kill: the program ends soon, with their exit code.

In: signals. Out: KeyboardInterrupt in the main thread, so that what is open is rolled back; a
second signal, or GRACE_SECONDS in which that did not work, end the process on the spot, which the
library survives as it survives a power cut.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

GRACE_SECONDS = 1.0
_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")  # Windows has no SIGHUP


class Signals:
    """What has come so far. `install` is for the main thread of a program, once."""

    def __init__(self) -> None:
        self.first: int | None = None
        self._ours: list[int] = []

    @property
    def exit_code(self) -> int | None:
        """128 and the number of the signal, as a shell reports it; None before there was one."""
        return None if self.first is None else 128 + self.first

    def install(self) -> None:
        """Take the signals over, except those that our parent wanted ignored (nohup, &)."""
        reading, writing = os.pipe()
        os.set_blocking(writing, False)
        # Python runs handlers only between two of its own steps; a long call into C, such as a
        # product of matrices, would keep the second Ctrl-C waiting. The pipe hears of it at once.
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        numbers = [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]
        self._ours = [int(n) for n in numbers if signal.getsignal(n) is not signal.SIG_IGN]
        for number in self._ours:
            signal.signal(number, self._interrupt)
        threading.Thread(target=self._watch, args=(reading,), daemon=True, name="signals").start()
        sys.unraisablehook = quiet(sys.unraisablehook)

    def let_go(self) -> None:
        """Now that the work is done, let a signal end the process without a word."""
        for number in self._ours:
            signal.signal(number, signal.SIG_DFL)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        if self.first is not None:
            os._exit(128 + self.first)
        self.first = number
        raise KeyboardInterrupt

    def _watch(self, reading: int) -> None:
        """Count the signals as they come in; the second one, and the end of patience, end us."""
        first: int | None = None
        while True:
            for number in os.read(reading, 64):
                if number not in self._ours:
                    continue
                if first is not None:
                    os._exit(128 + first)
                first = number
                timer = threading.Timer(GRACE_SECONDS, os._exit, (128 + number,))
                timer.daemon = True
                timer.start()


def quiet(hook: Callable[[Any], object]) -> Callable[[Any], object]:
    """An interruption inside a destructor cannot be raised, and needs no traceback either."""

    def quieter(unraisable: Any) -> object:
        if issubclass(unraisable.exc_type, KeyboardInterrupt):
            return None
        return hook(unraisable)

    return quieter
