"""Real processes are told to stop at the worst moments; they do, in silence, and lose nothing."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from clipsearch.library import Library
from tests.conftest import Paint
from tests.fakes import ColourEncoder

# Runs the command line with a model without weights, and with one function replaced by one that
# says where it is, and stays there for a minute.
DAWDLING = """
import hashlib, importlib, signal, sys, time
# Whoever runs the tests in the background has had these ignored, as `nohup` and `&` do.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
from clipsearch import __main__ as program
import clipsearch.indexer.merge, clipsearch.library_model
from tests.fakes import ColourEncoder

module, name, mode, *sys.argv[1:] = sys.argv[1:]
clipsearch.library_model.LibraryModel.load = lambda *_, **__: ColourEncoder()
clipsearch.indexer.merge.can_be_due = lambda *_: True
clipsearch.indexer.merge.is_merge_due = lambda *_: True

def dawdle(*_, **__):
    print("here", flush=True)
    if mode == "stuck":
        hashlib.pbkdf2_hmac("sha256", b"", b"", 2**31 - 1)  # no handler interrupts a call into C
    time.sleep(60)

owner, _, last = name.rpartition(".")
setattr(getattr(importlib.import_module(module), owner), last, dawdle)
sys.exit(program.main())
"""
MOMENTS = {
    "loading the model": ("clipsearch.library_model", "LibraryModel.load"),
    "encoding": ("tests.fakes", "ColourEncoder.encode_pixels"),
    "writing a batch": ("clipsearch.indexer.commit", "Committer.write"),
    "merging": ("clipsearch.index.exact", "ExactWriter.finish"),
}
ROOT = Path(__file__).resolve().parents[2]
INTERRUPTED = "interrupted; nothing that was finished is lost\n"
CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}


def start(moment: str, mode: str, *arguments: object) -> subprocess.Popen[str]:
    """Start `clipsearch` and wait until it is there; then it stays for a minute."""
    module, name = MOMENTS[moment]
    words = [module, name, mode, *map(str, arguments)]
    child = subprocess.Popen(
        [sys.executable, "-c", DAWDLING, *words],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "here\n", child.communicate(timeout=60)[1]
    return child


def ended(child: subprocess.Popen[str]) -> tuple[int, str]:
    _, errors = child.communicate(timeout=30)
    return child.returncode, errors


@pytest.fixture
def command(tmp_path: Path, photos: Path, paint: Paint) -> list[object]:
    paint("red.png"), paint("blue.png", "blue")
    return ["index", photos, "-L", tmp_path / "l", "--model", "any"]


@pytest.mark.parametrize(
    ("moment", "number"),
    [
        ("loading the model", signal.SIGINT),
        ("encoding", signal.SIGTERM),
        ("writing a batch", signal.SIGHUP),
        ("writing a batch", signal.SIGTERM),
        ("merging", signal.SIGINT),
    ],
)
def test_a_signal_ends_it_with_its_code_and_without_a_traceback(
    command: list[object], tmp_path: Path, moment: str, number: signal.Signals
) -> None:
    child = start(moment, "free", *command)
    child.send_signal(number)
    code, errors = ended(child)
    assert (code, errors) == (CODES[number], "clipsearch: " + INTERRUPTED)
    if (tmp_path / "l" / "catalog.sqlite3").exists():
        found = Library(tmp_path / "l").check()
        assert found.is_clean
        assert found.n_images == (2 if moment == "merging" else 0)


def test_a_second_ctrl_c_ends_it_at_once(command: list[object]) -> None:
    child = start("writing a batch", "stuck", *command)
    child.send_signal(signal.SIGINT)
    child.send_signal(signal.SIGINT)
    code, errors = ended(child)
    assert code == 130 and "Traceback" not in errors


def test_a_signal_in_the_middle_of_c_is_not_waited_for(command: list[object]) -> None:
    child = start("encoding", "stuck", *command)
    child.send_signal(signal.SIGTERM)
    code, errors = ended(child)
    assert code == 143 and "Traceback" not in errors


def test_after_a_signal_the_next_run_does_the_rest(
    command: list[object], tmp_path: Path, photos: Path
) -> None:
    child = start("writing a batch", "free", *command)
    child.send_signal(signal.SIGTERM)
    assert ended(child)[0] == 143
    with Library(tmp_path / "l", encoder=ColourEncoder()) as library:
        assert library.index(photos).added == 2


def test_what_our_parent_wants_ignored_is_ignored() -> None:
    program = (
        "import signal, sys; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        "from clipsearch.cli.signals import Signals\n"
        "s = Signals(); s.install(); signal.raise_signal(signal.SIGHUP); print(s.exit_code)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("None\n", "")
