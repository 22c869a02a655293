"""A line to type queries into, one after the other, while the model stays loaded.

In: what is typed. Out: each line, to whoever answers it. Knows nothing of libraries. What was asked
is kept in a file that only its user may read.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from prompt_toolkit import PromptSession
from prompt_toolkit.history import History
from prompt_toolkit.key_binding import KeyBindings
from prompt_toolkit.keys import Keys

from clipsearch.cli import render
from clipsearch.errors import ClipsearchError

MAX_LINES = 1000  # that the history keeps
_MARK = "find: "


class LineDropped(Exception):
    """Ctrl-C: the line is not meant any more."""


def converse(answer: Callable[[str], object], history: Path) -> None:
    """Hand each line to `answer` until Ctrl-D. What it cannot do is told, and it goes on."""
    session: PromptSession[str] = PromptSession(
        history=LineHistory(history),
        interrupt_exception=LineDropped,  # a KeyboardInterrupt is a signal, and ends the program
        enable_history_search=True,
        key_bindings=_without_mouse(),
    )
    while True:
        try:
            line = _read(session)
        except LineDropped:
            continue
        except EOFError:
            return
        if line.strip():
            try:
                answer(line)
            except ClipsearchError as error:
                render.complain(str(error))


def _without_mouse() -> KeyBindings:
    """The keys of the prompt: what looks like a mouse's message means nothing.

    We ask for none, so that it was pasted; coloured text has sequences that begin as they do, and
    prompt_toolkit's own reader of them would end in a traceback.
    """
    keys = KeyBindings()
    keys.add(Keys.Vt100MouseEvent)(lambda _: None)
    return keys


def _read(session: PromptSession[str]) -> str:
    with _own_signals():
        line = session.prompt(_MARK, handle_sigint=False)
    return " ".join(line.splitlines())  # what was pasted may have several


@contextmanager
def _own_signals() -> Iterator[None]:
    """Give back the pipe that hears of signals: an event loop puts its own in its place."""
    pipe = signal.set_wakeup_fd(-1)
    try:
        yield
    finally:
        signal.set_wakeup_fd(pipe, warn_on_full_buffer=False)


class LineHistory(History):
    """One line a query, the oldest first; the file is cut to MAX_LINES when it is opened.

    A disk that takes no more, or a home that may not be written, costs the history and nothing
    else.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._shorten()

    def load_history_strings(self) -> Iterator[str]:
        """Every line, the newest first."""
        return reversed(self._lines())

    def store_string(self, string: str) -> None:
        """Add a line at the end."""
        line = " ".join(string.splitlines())
        with suppress(OSError), open(_private(self.path, os.O_APPEND), "ab") as file:
            file.write(line.encode("utf-8", "surrogateescape") + b"\n")

    def _lines(self) -> list[str]:
        try:
            text = self.path.read_bytes().decode("utf-8", "surrogateescape")
        except OSError:
            return []
        return [line for line in text.split("\n") if line]

    def _shorten(self) -> None:
        lines = self._lines()
        if len(lines) <= MAX_LINES:
            return
        text = "".join(f"{line}\n" for line in lines[-MAX_LINES:])
        shorter = self.path.with_name(f"{self.path.name}.{os.getpid()}")
        with open(_private(shorter, os.O_TRUNC), "wb") as file:
            file.write(text.encode("utf-8", "surrogateescape"))
        os.replace(shorter, self.path)


def _private(path: Path, flag: int) -> int:
    """Open for writing; what is new may be read by its owner alone."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | flag, 0o600)
    with suppress(OSError):
        os.chmod(path, 0o600)  # also what an older hand or another program has made
    return descriptor
