"""The boundary: every way to end becomes one line and an exit code, never a traceback."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from clipsearch.library import Library
from tests.cli.conftest import Run


def test_without_arguments_it_shows_help(run: Run) -> None:
    shown = run()
    assert (shown.code, shown.err) == (0, "")
    assert b"Usage: clipsearch" in shown.out
    assert shown.out == run("--help").out


def test_version_is_the_packages(run: Run) -> None:
    assert run("--version").out.decode() == f"clipsearch {version('clipsearch')}\n"


@pytest.mark.parametrize("arguments", [["nonsense"], ["--nonsense"], ["index"], ["query", "-k"]])
def test_a_wrong_call_is_one_line_that_points_at_help(run: Run, arguments: list[str]) -> None:
    refused = run(*arguments)
    assert (refused.code, refused.out, refused.err.count("\n")) == (2, b"", 1)
    assert refused.err.endswith("see clipsearch --help\n")


def test_ctrl_c_ends_with_130_and_no_traceback(
    run: Run, indexed: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Library, "index", interrupted)
    stopped = run("index", photos, "-L", indexed)
    assert (stopped.code, stopped.out, stopped.err.count("\n")) == (130, b"", 1)


def test_a_reader_who_leaves_early_is_no_error() -> None:
    program = (
        "import sys; sys.stdin.read(); from clipsearch.cli.app import main; "
        "sys.exit(main(['models']))"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert child.stdout is not None
    child.stdout.close()  # gone before the first line is written
    _, errors = child.communicate()
    assert (child.returncode, errors) == (141, b"")


def test_python_dash_m_is_the_same_program() -> None:
    command = [sys.executable, "-m", "clipsearch", "--version"]
    assert subprocess.run(command, capture_output=True, check=True).stdout.startswith(
        b"clipsearch "
    )
