"""What the terminal can show, by what it says of itself.

In: variables of the environment, and where they leave it open one question to the terminal. Out:
the way to show pictures there. Never leaves the terminal in another state.
"""

from __future__ import annotations

import os
import select
from collections.abc import Callable, Mapping
from typing import Literal

Way = Literal["kitty", "iterm2", "sixel", "truecolour", "256 colours"]

# Over a slow line an answer takes a while; a terminal that never answers costs this once.
ANSWER_SECONDS = 1.0

_KITTY_TERMS = ("xterm-kitty", "xterm-ghostty")
_ITERM2_PROGRAMS = ("iTerm.app", "WezTerm", "mintty")


def way_of_showing(says: Mapping[str, str], has_sixel: Callable[[], bool]) -> Way | None:
    """How to show a picture; None where nothing but words can be shown.

    `says` are the variables of `settings.surroundings`. `has_sixel` asks the terminal, and is
    called only where they do not tell.
    """
    term = says.get("TERM", "")
    if term in ("", "dumb"):
        return None
    # Inside a multiplexer the variables are those of the terminal outside, which does not get to
    # see what it is not told to pass on.
    is_multiplexed = "TMUX" in says or "STY" in says or term.startswith(("tmux", "screen"))
    if not is_multiplexed:
        if "KITTY_WINDOW_ID" in says or term in _KITTY_TERMS:
            return "kitty"
        if says.get("TERM_PROGRAM") in _ITERM2_PROGRAMS or says.get("LC_TERMINAL") == "iTerm2":
            return "iterm2"
        if has_sixel():
            return "sixel"
    is_true = says.get("COLORTERM") in ("truecolor", "24bit") or term.endswith("-direct")
    return "truecolour" if is_true else "256 colours"


def announces_sixel() -> bool:
    """Ask the terminal what it is and has (primary device attributes)."""
    return has_sixel(ask_terminal(b"\x1b[c", end=b"c"))


def has_sixel(answer: bytes) -> bool:
    """Whether an answer such as `ESC [ ? 62 ; 4 c` has 4, sixels, behind the kind of terminal."""
    attributes = answer.rpartition(b"?")[2].removesuffix(b"c").split(b";")
    return b"4" in attributes[1:]


def ask_terminal(question: bytes, end: bytes) -> bytes:
    """Send a control sequence and read its answer; empty where there is none in time."""
    try:
        import termios
        import tty
    except ImportError:  # Windows
        return b""
    try:
        terminal = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY)
    except OSError:
        return b""
    try:
        # In the background the question alone would stop the process.
        if os.tcgetpgrp(terminal) != os.getpgrp():
            return b""
        before = termios.tcgetattr(terminal)
        try:
            tty.setcbreak(terminal, termios.TCSANOW)
            os.write(terminal, question)
            return _answer(terminal, end)
        finally:
            termios.tcsetattr(terminal, termios.TCSANOW, before)
    except (OSError, termios.error):
        return b""
    finally:
        os.close(terminal)


def _answer(terminal: int, end: bytes) -> bytes:
    answer = b""
    while not answer.endswith(end) and len(answer) < 200:
        if not select.select([terminal], [], [], ANSWER_SECONDS)[0]:
            return b""
        answer += os.read(terminal, 1)
    return answer
