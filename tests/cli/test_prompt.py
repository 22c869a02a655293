"""The prompt, over a real terminal, and the history that it keeps."""

from __future__ import annotations

import os
import signal
import stat
import termios
from pathlib import Path

import pytest

from clipsearch.cli import prompt
from clipsearch.cli.prompt import LineHistory
from tests.cli.conftest import Run
from tests.cli.terminals import Terminal

ASKS = b"find:"


def kept() -> Path:
    return Path(os.environ["HOME"], ".local", "share", "clipsearch", "history")


def opened(indexed: Path, *options: object) -> Terminal:
    return Terminal("query", "--all", "-L", indexed, *options, says={"XDG_DATA_HOME": ""})


def test_each_line_is_a_query_and_ctrl_d_ends(indexed: Path) -> None:
    with opened(indexed, "-k", 1) as terminal:
        for line in ("dog", "2:dog - cat"):
            terminal.wait_for(ASKS)
            terminal.type(f"{line}\r")
            assert terminal.wait_for(b".png").count(b"score") == 1
        terminal.wait_for(ASKS)
        terminal.type("\x04")
        assert b".png" not in terminal.rest()
        assert terminal.code == 0
        assert termios.tcgetattr(terminal.inside) == terminal.at_first
    assert kept().read_text() == "dog\n2:dog - cat\n"


def test_errors_are_a_sentence_and_it_goes_on(indexed: Path) -> None:
    with opened(indexed) as terminal:
        for line, said in (("dog -", b"nothing follows"), ("./gone.jpg", b"gone.jpg")):
            terminal.wait_for(ASKS)
            terminal.type(f"{line}\r")
            shown = terminal.wait_for(b"clipsearch: ") + terminal.wait_for(b"\r\n")
            assert said in shown and b"Traceback" not in shown
        terminal.wait_for(ASKS)
        terminal.type("dog\r")
        terminal.wait_for(b"red.png")
        terminal.wait_for(ASKS)
        terminal.type("\x04")
        terminal.rest()
        assert terminal.code == 0


def test_coloured_text_that_was_pasted_is_no_traceback(indexed: Path) -> None:
    with opened(indexed) as terminal:
        terminal.wait_for(ASKS)
        terminal.type("\x1b[31mdog\r")
        assert b"Exception" not in terminal.wait_for(b"red.png")
        terminal.wait_for(ASKS)
        terminal.type("\x04")
        terminal.rest()
        assert terminal.code == 0


def test_ctrl_c_clears_the_line(indexed: Path) -> None:
    with opened(indexed) as terminal:
        terminal.wait_for(ASKS)
        terminal.type("./no such picture.jpg\x03")
        terminal.wait_for(b"\r\n")
        terminal.type("dog\r")
        assert b"no such picture" not in terminal.wait_for(b"red.png").rpartition(b"\r\n")[2]
        terminal.wait_for(ASKS)
        terminal.type("\x04")
        assert b"clipsearch:" not in terminal.rest()
    assert kept().read_text() == "dog\n"


def test_what_was_asked_last_time_comes_back_with_the_arrow(indexed: Path) -> None:
    kept().parent.mkdir(parents=True)
    kept().write_text("a cat\ndog\n")
    with opened(indexed) as terminal:
        terminal.wait_for(ASKS)
        terminal.type("\x1b[A\x1b[A")
        terminal.wait_for(b"a cat")
        terminal.type("\x03")
        terminal.wait_for(ASKS)
        terminal.type("\x04")
        terminal.rest()


def test_a_polite_kill_ends_it_and_leaves_the_terminal_as_it_was(indexed: Path) -> None:
    with opened(indexed) as terminal:
        terminal.wait_for(ASKS)
        terminal.type("do")
        terminal.process.send_signal(signal.SIGTERM)
        assert b"Traceback" not in terminal.rest()
        assert terminal.code == 143
        assert termios.tcgetattr(terminal.inside) == terminal.at_first


def test_options_hold_for_every_line(indexed: Path) -> None:
    with opened(indexed, "--paths", "-k", 2) as terminal:
        terminal.wait_for(ASKS)
        terminal.type("dog\r")
        terminal.wait_for(b".png\r\n")
        terminal.wait_for(b".png\r\n")
        terminal.wait_for(ASKS)
        terminal.type("\x04")
        assert b".png" not in terminal.rest()


def test_without_a_terminal_a_missing_probe_is_an_error(run: Run, indexed: Path) -> None:
    refused = run("query", "-L", indexed)
    assert (refused.code, refused.out, refused.err.count("\n")) == (2, b"", 1)


def test_without_a_library_there_is_no_prompt(tmp_path: Path) -> None:
    with Terminal("query", "-L", tmp_path / "none") as terminal:
        assert ASKS not in terminal.rest()
        assert terminal.code == 10


def test_the_history_is_its_users_alone_and_the_newest_comes_first(tmp_path: Path) -> None:
    path = tmp_path / "data" / "history"
    history = LineHistory(path)
    for line in ("a", "b\nc", "caf\udce9"):
        history.store_string(line)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [*LineHistory(path).load_history_strings()] == ["caf\udce9", "b c", "a"]


def test_a_history_that_others_could_read_becomes_private(tmp_path: Path) -> None:
    path = tmp_path / "history"
    path.write_text("old\n")
    path.chmod(0o644)
    LineHistory(path).store_string("new")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text() == "old\nnew\n"


def test_a_long_history_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prompt, "MAX_LINES", 3)
    path = tmp_path / "history"
    path.write_text("1\n2\n3\n4\n5\n")
    assert [*LineHistory(path).load_history_strings()] == ["5", "4", "3"]
    assert [each.name for each in tmp_path.iterdir()] == ["history"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_history_that_cannot_be_kept_costs_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    history = LineHistory(tmp_path / "file" / "history")
    history.store_string("a")
    assert [*history.load_history_strings()] == []
