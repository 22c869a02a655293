"""Pictures in the terminal, over a real one: what comes out is taken apart again."""

from __future__ import annotations

import base64
import io
import re
import termios
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.cli.conftest import Run
from tests.cli.terminals import Terminal
from tests.images.sixels import decoded

COLOURS = {"red": (255, 0, 0), "green": (0, 128, 0), "blue": (0, 0, 255)}


def preview(indexed: Path, **terminal: object) -> Terminal:
    asked = ("query", "dog", "--all", "--preview", "-L", indexed)
    return Terminal(*asked, **terminal)  # type: ignore[arg-type]


def colours_named(shown: bytes) -> list[tuple[int, int, int]]:
    """The colours of the hits' names, in the order in which they were written."""
    return [COLOURS[name.decode()] for name in re.findall(rb"/(\w+)\.png\r\n", shown)]


def test_kitty_and_iterm2_get_each_picture_after_its_name(indexed: Path) -> None:
    for says, pattern in (
        ({"TERM": "xterm-kitty"}, rb"\x1b_G[^;]*;([^\x1b]*)\x1b\\"),
        ({"TERM_PROGRAM": "iTerm.app"}, rb"\x1b\]1337;[^:]*:([^\x07]*)\x07"),
    ):
        with preview(indexed, says=says) as terminal:
            shown = terminal.rest()
        pictures = [base64.b64decode(png) for png in re.findall(pattern, shown)]
        pixels = [Image.open(io.BytesIO(png)).convert("RGB").getpixel((3, 3)) for png in pictures]
        assert len(pixels) == 3 and pixels == colours_named(shown)


def test_a_terminal_that_announces_sixel_gets_sixels(indexed: Path) -> None:
    with preview(indexed, size=(24, 200, 2000, 480)) as terminal:
        terminal.wait_for(b"\x1b[c")
        terminal.type(b"\x1b[?62;4;22c")
        shown = terminal.rest()
        assert termios.tcgetattr(terminal.inside) == terminal.at_first
    pictures = [decoded(each) for each in re.findall(rb"\x1bP.*?\x1b\\", shown, re.DOTALL)]
    found = np.array([picture[3, 3] for picture in pictures], dtype=int)
    assert np.abs(found - np.array(colours_named(shown))).max() < 4


@pytest.mark.parametrize("answer", [b"\x1b[?6c", b""])
def test_any_other_terminal_gets_half_blocks(indexed: Path, answer: bytes) -> None:
    with preview(indexed, says={"COLORTERM": "truecolor"}) as terminal:
        terminal.wait_for(b"\x1b[c")
        terminal.type(answer)
        shown = terminal.rest()
        assert termios.tcgetattr(terminal.inside) == terminal.at_first
    first = re.findall(rb"\.png\r\n\x1b\[38;2;(\d+);(\d+);(\d+);", shown)
    assert [tuple(map(int, rgb)) for rgb in first] == colours_named(shown)


def test_inside_tmux_nothing_is_asked_and_nothing_but_colours_is_sent(indexed: Path) -> None:
    says = {"TERM": "tmux-256color", "TMUX": "/tmp/t,1,0", "KITTY_WINDOW_ID": "7"}
    with preview(indexed, says=says) as terminal:
        shown = terminal.rest()
    left = re.sub(rb"\x1b\[(?:38;5;\d+;48;5;\d+|0)m", b"", shown)
    assert b"\x1b" not in left and shown.count(b"\xe2\x96\x80") == 3 * 16 * 6


def test_a_picture_fits_into_a_small_terminal(indexed: Path, photos: Path) -> None:
    Image.new("RGB", (900, 900), "red").save(photos / "red.png")
    with preview(indexed, says={"TERM": "tmux"}, size=(9, 30, 0, 0)) as terminal:
        lines = terminal.rest().split(b"\r\n")
    n_blocks = [line.count(b"\xe2\x96\x80") for line in lines]
    # Seven lines of the nine, and as many columns; the two others are as large as they are.
    assert n_blocks.count(14) == 7 and n_blocks.count(16) == 12


def test_a_vanished_picture_is_named(indexed: Path, photos: Path) -> None:
    (photos / "red.png").unlink()
    with preview(indexed, says={"TERM": "tmux"}) as terminal:
        assert b"red.png\r\n(not readable now)\r\n" in terminal.rest()
        assert terminal.code == 0


def test_a_dumb_terminal_gets_one_sentence_and_the_names(indexed: Path) -> None:
    with preview(indexed, says={"TERM": "dumb"}) as terminal:
        shown = terminal.rest()
    assert b"--preview cannot show pictures on this terminal" in shown
    assert b"red.png" in re.sub(rb"\s+", b"", shown) and b"\x1b" not in shown


def test_a_pipe_gets_plain_lines_and_one_sentence(run: Run, indexed: Path) -> None:
    found = run("query", "dog", "--all", "--preview", "-L", indexed)
    assert found.code == 0 and b"\x1b" not in found.out
    assert [line.count(b"\t") for line in found.out.splitlines()] == [1, 1, 1]
    assert found.err.count("\n") == 1 and "--preview" in found.err
