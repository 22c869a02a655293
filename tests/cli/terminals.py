"""Run a program on a real terminal (a pty), type into it, and read what it shows."""

from __future__ import annotations

import fcntl
import os
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# The pty becomes the terminal of the process, with job control and all, before the program begins.
_START = (
    "import os, sys; os.login_tty(int(sys.argv[1])); os.execv(sys.executable, "
    "[sys.executable, '-m', 'clipsearch', *sys.argv[2:]])"
)
PATIENCE_SECONDS = 30.0


class Terminal:
    """A terminal in which `clipsearch ARGUMENTS` runs. A context manager."""

    def __init__(
        self,
        *arguments: object,
        says: Mapping[str, str] | None = None,
        size: tuple[int, int, int, int] = (24, 200, 0, 0),
    ) -> None:
        """`says` are variables of the environment; `size` is rows, columns, width and height."""
        self.outside, inside = os.openpty()
        fcntl.ioctl(inside, termios.TIOCSWINSZ, struct.pack("HHHH", *size))
        self.at_first = termios.tcgetattr(inside)
        kept = {k: v for k, v in os.environ.items() if k not in ("COLORTERM", "TMUX", "NO_COLOR")}
        # Nobody here answers where the cursor is.
        kept |= {"PYTHONPATH": str(ROOT), "TERM": "xterm-256color", "PROMPT_TOOLKIT_NO_CPR": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-c", _START, str(inside), *map(str, arguments)],
            pass_fds=[inside],
            env=kept | dict(says or {}),
            stdin=subprocess.DEVNULL,
        )
        self.inside = inside  # kept open, so that what was shown last can still be read
        self.shown = b""

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.inside)
        os.close(self.outside)

    def type(self, keys: str | bytes) -> None:
        os.write(self.outside, keys.encode() if isinstance(keys, str) else keys)

    def wait_for(self, what: bytes) -> bytes:
        """Read until `what` has been shown; return all that came up to then, and forget it."""
        end = time.monotonic() + PATIENCE_SECONDS
        while what not in self.shown:
            assert time.monotonic() < end, f"{what!r} did not come: {self.shown!r}"
            self._read(0.1)
        upto = self.shown.index(what) + len(what)
        seen, self.shown = self.shown[:upto], self.shown[upto:]
        return seen

    def rest(self) -> bytes:
        """Wait for the end of the program; return what else it has shown."""
        end = time.monotonic() + PATIENCE_SECONDS
        while self.process.poll() is None:
            assert time.monotonic() < end, f"it does not end: {self.shown!r}"
            self._read(0.05)
        while self._read(0.0):
            pass
        return self.shown

    @property
    def code(self) -> int:
        return self.process.wait(PATIENCE_SECONDS)

    def _read(self, seconds: float) -> bool:
        if not select.select([self.outside], [], [], seconds)[0]:
            return False
        self.shown += os.read(self.outside, 65536)
        return True
