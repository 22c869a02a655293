"""The boundary: every way to end becomes one line and an exit code, never a traceback."""

from __future__ import annotations

import errno
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


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        (["nonsense"], "clipsearch"),
        (["--nonsense"], "clipsearch"),
        (["index"], "clipsearch index"),
        (["query", "--nonsense"], "clipsearch query"),
        (["query", "-k"], "clipsearch query"),
    ],
)
def test_a_wrong_call_is_one_line_that_points_at_help(
    run: Run, arguments: list[str], command: str
) -> None:
    refused = run(*arguments)
    assert (refused.code, refused.out, refused.err.count("\n")) == (2, b"", 1)
    assert refused.err.endswith(f"; see {command} --help\n")
    assert refused.err.removeprefix("clipsearch: ")[0].islower()


@pytest.mark.parametrize(
    "arguments",
    [
        ["index", ""],
        ["index", "photos", "-L", ""],
        ["index", "photos", "--model", ""],
        ["query", "dog", "--sheet", " "],
    ],
)
def test_an_empty_argument_is_not_taken_for_the_working_folder(
    run: Run, arguments: list[str], photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(photos.parent)
    refused = run(*arguments)
    assert (refused.code, refused.out, refused.err.count("\n")) == (2, b"", 1)
    assert "it is empty" in refused.err


@pytest.mark.parametrize("arguments", [["models"], ["models", "--json"], ["--version"], ["-h"]])
def test_output_that_cannot_be_written_is_one_sentence(arguments: list[str]) -> None:
    command = [sys.executable, "-m", "clipsearch", *arguments]
    with open("/dev/full", "wb") as full:
        child = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, check=False)
    assert (child.returncode, child.stderr.count(b"\n")) == (2, 1)
    assert b"no space left" in child.stderr


@pytest.mark.parametrize(("closed", "code"), [(1, 2), (2, 0)])
def test_a_stream_that_the_shell_closed_gives_no_traceback(closed: int, code: int) -> None:
    program = f"exec {closed}>&-; exec '{sys.executable}' -m clipsearch models"
    child = subprocess.run(["sh", "-c", program], capture_output=True, check=False)
    assert child.returncode == code
    assert b"Traceback" not in child.stderr
    assert bool(child.stdout) == (code == 0)


def test_messages_never_land_among_the_results() -> None:
    program = f"exec '{sys.executable}' -m clipsearch query '' 2>&-"
    child = subprocess.run(["sh", "-c", program], capture_output=True, check=False)
    assert (child.returncode, child.stdout) == (2, b"")


def test_a_refusal_by_the_system_is_one_sentence(
    run: Run, indexed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", "/closed/file")

    monkeypatch.setattr(Library, "status", refused)
    stopped = run("status", "-L", indexed)
    assert (stopped.code, stopped.out, stopped.err.count("\n")) == (2, b"", 1)
    assert "/closed/file: permission denied" in stopped.err


def test_ctrl_c_while_loading_is_quiet() -> None:
    program = (
        "import sys, clipsearch.__main__\n"
        "class Interrupt:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'typer': raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Interrupt())\n"
        "sys.exit(clipsearch.__main__.main())"
    )
    child = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert (child.returncode, child.stderr) == (130, b"")


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
