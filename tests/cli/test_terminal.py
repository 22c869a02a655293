"""Which way of showing pictures a terminal understands, and what it is asked."""

from __future__ import annotations

import pytest

from clipsearch.cli.terminal import has_sixel, way_of_showing

XTERM = {"TERM": "xterm-256color"}


def never() -> bool:
    raise AssertionError("the terminal was asked")


@pytest.mark.parametrize(
    ("says", "way"),
    [
        ({"TERM": "xterm-kitty"}, "kitty"),
        (XTERM | {"KITTY_WINDOW_ID": "1"}, "kitty"),
        ({"TERM": "xterm-ghostty"}, "kitty"),
        (XTERM | {"TERM_PROGRAM": "iTerm.app"}, "iterm2"),
        (XTERM | {"TERM_PROGRAM": "WezTerm"}, "iterm2"),
        (XTERM | {"LC_TERMINAL": "iTerm2"}, "iterm2"),
        ({"TERM": "tmux-256color", "KITTY_WINDOW_ID": "1", "TMUX": "/t,1,0"}, "256 colours"),
        (XTERM | {"TMUX": "/t,1,0", "LC_TERMINAL": "iTerm2", "COLORTERM": "24bit"}, "truecolour"),
        ({"TERM": "screen"}, "256 colours"),
        ({"TERM": "tmux-direct"}, "truecolour"),
        ({"TERM": "dumb", "COLORTERM": "truecolor", "KITTY_WINDOW_ID": "1"}, None),
        ({}, None),
    ],
)
def test_variables_tell_without_a_question(says: dict[str, str], way: str | None) -> None:
    assert way_of_showing(says, never) == way


def test_where_they_do_not_tell_the_terminal_is_asked() -> None:
    assert way_of_showing(XTERM, lambda: True) == "sixel"
    assert way_of_showing(XTERM, lambda: False) == "256 colours"
    assert way_of_showing(XTERM | {"COLORTERM": "truecolor"}, lambda: False) == "truecolour"


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"\x1b[?62;4;22c", True),
        (b"\x1b[?65;1;4c", True),
        (b"\x1b[?4c", False),  # a VT132, and not what it has
        (b"\x1b[?64;14;40c", False),
        (b"\x1b[?6c", False),
        (b"", False),
        (b"q\x1b[?62;4c", True),  # something was being typed
    ],
)
def test_sixel_is_a_4_after_the_kind_of_terminal(answer: bytes, expected: bool) -> None:
    assert has_sixel(answer) is expected
