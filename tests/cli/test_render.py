"""What reaches the streams: harmless text on a terminal, exact bytes in a pipe."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from clipsearch.cli import render
from clipsearch.clip.transfer import Download
from clipsearch.indexer.report import SkippedFile
from clipsearch.query.hits import Hit, Hits


@dataclass(frozen=True)
class Now:
    seconds: float
    n_done: int = 30
    n_total: int = 120
    n_skipped: int = 2
    images_per_second: float = 12.34
    seconds_left: float | None = 65.2
    stage: str = "encode"


ODD = Path(os.fsdecode(b"/p/caf\xe9\n[red]\x1b[31m.jpg"))
Capture = pytest.CaptureFixture[bytes]


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(render, "on_terminal", lambda: True)


def hits(*paths: Path) -> Hits:
    return Hits(Hit(1, path, 0.5) for path in paths)


def test_a_pipe_gets_score_tab_path(capfdbinary: Capture) -> None:
    render.hits(hits(Path("/p/a b.jpg")))
    assert capfdbinary.readouterr().out == b"0.500\t/p/a b.jpg\n"


def test_paths_with_a_nul_are_the_bytes_on_disk(capfdbinary: Capture) -> None:
    render.paths(hits(ODD, Path("/p/b.jpg")), end=b"\0")
    assert capfdbinary.readouterr().out == os.fsencode(ODD) + b"\0/p/b.jpg\0"


@pytest.mark.usefixtures("terminal")
def test_a_terminal_gets_no_control_characters_and_no_markup(capfdbinary: Capture) -> None:
    render.hits(hits(ODD))
    render.paths(hits(ODD), end=b"\n")
    shown = capfdbinary.readouterr().out
    assert b"\x1b[31m" not in shown
    assert shown.count(b"caf\\xe9\\n[red]\\x1b[31m.jpg") == 2


@pytest.mark.usefixtures("terminal")
def test_a_terminal_gets_the_confidence_where_there_is_one(capfdbinary: Capture) -> None:
    render.hits(Hits([Hit(1, Path("/p/a.jpg"), 0.5, 0.93)]))
    render.hits(hits(Path("/p/b.jpg")))
    sure, plain = capfdbinary.readouterr().out.decode().split("score")[1:]
    assert "confidence" in sure and "93%" in sure
    assert "confidence" not in plain and "0.500" in plain


@pytest.mark.usefixtures("terminal")
def test_no_hits_are_no_table(capfdbinary: Capture) -> None:
    render.hits(hits())
    assert capfdbinary.readouterr().out == b""


@pytest.mark.usefixtures("terminal")
def test_a_narrow_terminal_shortens_no_number(
    capfdbinary: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "24")
    render.hits(Hits([Hit(1, Path("/p/" + "long name " * 9), 0.5, 0.93)]))
    shown = capfdbinary.readouterr().out.decode()
    assert "0.500" in shown and "93%" in shown and "\u2026" not in shown


def test_lines_of_json_are_one_a_hit(capfdbinary: Capture) -> None:
    found = hits(ODD, Path("/p/b.jpg"))
    render.hit_lines(found)
    lines = capfdbinary.readouterr().out.splitlines()
    assert [json.loads(line) for line in lines] == found.to_dicts()


def test_json_is_one_line_of_valid_utf8_whatever_was_typed(capfdbinary: Capture) -> None:
    render.json_object({"query": "a\udce9\nb"})
    assert json.loads(capfdbinary.readouterr().out.decode("utf-8")) == {"query": "a?\nb"}


def test_json_refuses_what_has_no_form() -> None:
    with pytest.raises(TypeError, match="object"):
        render.json_object({"thing": object()})


def test_complaints_are_one_line_on_standard_error(capfdbinary: Capture) -> None:
    render.complain("no such folder: a\nb")
    assert capfdbinary.readouterr() == (b"", b"clipsearch: no such folder: a\\nb\n")


def test_columns_are_aligned(capfdbinary: Capture) -> None:
    render.columns([("a", "1"), ("long", "2")])
    assert capfdbinary.readouterr().out == b"a     1\nlong  2\n"


def test_pace_says_rate_and_time_left() -> None:
    assert render.pace(Now(5.0)) == "30/120, 12.3 images/s, 1:05 left, 2 skipped"  # type: ignore[arg-type]


def test_when_all_is_done_no_time_is_left_to_tell() -> None:
    done = Now(5.0, n_done=120, seconds_left=0.0)
    assert render.pace(done) == "120/120, 12.3 images/s, 2 skipped"  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("told", "shown"),
    [
        ("a\\nb.jpg is empty (0 bytes); remove it", "empty (0 bytes); remove it"),
        ("a\\nb.jpg cannot be opened", "cannot be opened"),
        ("the file vanished before it was read", "the file vanished before it was read"),
    ],
)
def test_a_reason_beside_a_path_does_not_repeat_its_name(told: str, shown: str) -> None:
    assert render.reason(SkippedFile(Path("/p/a\nb.jpg"), told)) == shown


def test_without_a_terminal_progress_is_a_line_now_and_then(capfdbinary: Capture) -> None:
    with render.progress() as show:
        for seconds in (1.0, 11.0, 12.0, 25.0):
            show(Now(seconds))  # type: ignore[arg-type]
    assert capfdbinary.readouterr().err.count(b"Indexing: 30/120") == 2


def test_the_bar_on_a_terminal_shows_rate_and_time_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "120")
    with render.progress() as show:
        show(Now(5.0))  # type: ignore[arg-type]
    streams = capsys.readouterr()
    assert "12.3 images/s, 1:05 left" in streams.err
    assert streams.out == ""


@pytest.mark.parametrize(
    ("n_bytes", "said"), [(12, "12 B"), (3_400, "3 kB"), (151_300_000, "151.3 MB")]
)
def test_sizes_are_said_as_people_say_them(n_bytes: int, said: str) -> None:
    assert render.size(n_bytes) == said


def test_long_times_have_hours() -> None:
    assert render.duration(3723) == "1:02:03"


def test_a_download_is_told_at_its_start_now_and_then_and_at_its_end(
    capfdbinary: Capture,
) -> None:
    seconds = iter((0.0, 0.0, 0.0, 1.0, 6.0, 6.0, 7.0))
    tell = render.DownloadLines(interval_seconds=5.0, clock=lambda: next(seconds))
    for n_bytes in (0, 10_000_000, 40_000_000, 50_000_000):
        tell(Download(n_bytes, 50_000_000))
    lines = capfdbinary.readouterr().err.decode().splitlines()
    assert [line.removeprefix("fetching the model: ") for line in lines] == [
        "0 B of 50.0 MB",
        "40.0 MB of 50.0 MB",
        "50.0 MB of 50.0 MB",
    ]
