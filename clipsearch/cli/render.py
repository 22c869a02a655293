"""Write results to standard output and everything else to standard error.

The only file that prints. In: the library's own dataclasses; knows nothing of their making.
A terminal gets tables with harmless text; a pipe gets the paths' own bytes.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, TextIO

from clipsearch.errors import ClipsearchError
from clipsearch.paths import path_text, printable
from clipsearch.query.hits import score_cells

if TYPE_CHECKING:
    from rich.table import Table

    from clipsearch.care.report import CheckProgress
    from clipsearch.clip.transfer import Download
    from clipsearch.library import Hit, Progress, SkippedFile

STAGES = {
    "scan": "Looking for pictures",
    "encode": "Indexing",
    "details": "Reading dates, cameras and places",
    "import": "Taking in vectors",
    "merge": "Putting the index together",
}


class OutputClosed(Exception):
    """Whoever reads our output has gone, as `head` does."""


class OutputFailed(ClipsearchError):
    """Standard output takes nothing: its disk is full, or it was closed before we began."""


# --- text and bytes ---------------------------------------------------------------------------


def text(line: str) -> None:
    """Write one line to standard output."""
    write(f"{line}\n".encode("utf-8", "surrogateescape"))


def write(data: bytes) -> None:
    """Write bytes to standard output now. Raises OutputClosed if nobody reads them, OutputFailed.

    A stream that the shell closed (`>&-`) is None.
    """
    if sys.stdout is None:
        raise OutputFailed("standard output is closed: send it to a file or a pipe")
    try:
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except BrokenPipeError as error:
        raise OutputClosed from error
    except OSError as error:
        let_go_of_output()
        reason = (error.strerror or str(error)).lower()
        raise OutputFailed(
            f"standard output cannot be written ({reason}): free some space, or send it elsewhere"
        ) from error


def note(message: str) -> None:
    """Write one line to standard error, if it takes any: a message is no reason to fail."""
    if sys.stderr is None:  # print would take standard output instead
        return
    try:
        print(printable(message), file=sys.stderr, flush=True)
    except OSError:
        let_go_of(sys.stderr)


def waiting(holder: str) -> None:
    """Say who is waited for."""
    note(f"waiting for {holder}, which is writing to the library")


def complain(message: str) -> None:
    """Write one error line to standard error."""
    note(f"clipsearch: {message}")


def let_go_of_output() -> None:
    """Point standard output at nothing, so that Python's last flush does not fail once more."""
    if sys.stdout is not None:
        let_go_of(sys.stdout)


def let_go_of(stream: TextIO) -> None:
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, stream.fileno())
    os.close(nothing)


def on_terminal() -> bool:
    return sys.stdout is not None and sys.stdout.isatty()


def is_conversation() -> bool:
    """Whether somebody sits at both ends, and can be asked."""
    return on_terminal() and sys.stdin is not None and sys.stdin.isatty()


def window() -> tuple[int, int, int, int]:
    """Rows, columns, width and height in pixels of the terminal; 0 for what it does not tell."""
    with suppress(ImportError, OSError, ValueError):
        import fcntl
        import struct
        import termios

        packed = fcntl.ioctl(sys.stdout.fileno(), termios.TIOCGWINSZ, bytes(8))
        rows, columns, width_px, height_px = struct.unpack("HHHH", packed)
        return rows, columns, width_px, height_px
    return 0, 0, 0, 0


# --- JSON -------------------------------------------------------------------------------------


def json_object(value: Mapping[str, Any]) -> None:
    """Write one JSON object on one line, always UTF-8. Paths among the values become text."""
    line = json.dumps(value, ensure_ascii=False, default=path_text)
    write(line.encode("utf-8", "replace") + b"\n")


def reason(file: SkippedFile) -> str:
    """Give the reason why a file was skipped, to stand beside its path: without its name."""
    name = printable(file.path.name)
    return file.reason.removeprefix(f"{name} ").removeprefix("is ")


# --- tables -----------------------------------------------------------------------------------


def hits(found: Sequence[Hit]) -> None:
    """Write hits, best first: a table on a terminal, `score<TAB>path` lines in a pipe."""
    if not on_terminal():
        lines = [f"{hit.score:.3f}\t".encode() + os.fsencode(hit.path) for hit in found]
        write(b"".join(line + b"\n" for line in lines))
    elif found:
        cells = [(*score_cells(hit.score, hit.confidence), str(hit.path)) for hit in found]
        is_sure = all(len(row) == 3 for row in cells)
        titles = ("score", "confidence", "path") if is_sure else ("score", "path")
        table(titles, [row if is_sure else (row[0], row[-1]) for row in cells])


def hit_lines(found: Iterable[Hit]) -> None:
    """Write one JSON object a hit, each on a line of its own and at once."""
    for hit in found:
        json_object(hit.to_dict())


def paths(found: Iterable[Hit], *, end: bytes) -> None:
    """Write the hits' paths, each followed by `end`. With a NUL they are exact everywhere."""
    harmless = on_terminal() and end == b"\n"
    names = (
        printable(str(hit.path)).encode() if harmless else os.fsencode(hit.path) for hit in found
    )
    write(b"".join(name + end for name in names))


def rows_of_paths(titles: tuple[str, str], rows: Sequence[tuple[str, Path]]) -> None:
    """Write two columns, the second one a path: as a table, or as its own bytes in a pipe."""
    if on_terminal():
        table(titles, [(first, str(path)) for first, path in rows])
        return
    lines = [printable(first).encode() + b"\t" + os.fsencode(path) for first, path in rows]
    write(b"".join(line + b"\n" for line in lines))


def table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Write a table: aligned and coloured on a terminal, tab-separated without titles in a pipe."""
    if not on_terminal():
        text("\n".join("\t".join(map(printable, row)) for row in rows))
        return
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=None, pad_edge=False, header_style="bold")
    for position, title in enumerate(titles):
        is_last = position == len(titles) - 1
        style = None if is_last else ("cyan", "green")[position % 2]
        drawn.add_column(title, style=style, overflow="fold", no_wrap=not is_last)
    for row in rows:
        # Text, not str: a name with brackets in it is no markup.
        drawn.add_row(*(Text(printable(cell)) for cell in row))
    write_drawn(drawn)


def write_drawn(drawn: Table) -> None:
    from rich.console import Console

    console = Console()
    with console.capture() as captured:
        console.print(drawn)
    write(captured.get().encode("utf-8", "replace"))


def columns(rows: Sequence[Sequence[str]]) -> None:
    """Write aligned columns, the same on a terminal and in a pipe."""
    cells = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        padded = (f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))
        text("  ".join(padded).rstrip())


# --- progress ---------------------------------------------------------------------------------


@contextmanager
def progress() -> Iterator[Callable[[Progress], None]]:
    """Show how far indexing is: a bar on a terminal, else a line on standard error now and then."""
    if sys.stderr is None or not sys.stderr.isatty():
        yield SparseLines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as Bars

    description = TextColumn("{task.description}", markup=False)
    rate = TextColumn("{task.fields[pace]}", markup=False)
    with Bars(description, BarColumn(), rate, console=Console(stderr=True)) as bars:
        task = bars.add_task("Looking for pictures", total=None, pace="")

        def show(now: Progress) -> None:
            bars.update(
                task,
                description=STAGES[now.stage],
                completed=now.n_done,
                total=now.n_total or None,
                pace=pace(now),
            )

        yield show


class SparseLines:
    """Says how far it is at most once in `interval_seconds` of the run's own clock."""

    def __init__(self, interval_seconds: float = 10.0) -> None:
        self.interval_seconds = interval_seconds
        self.last_seconds = 0.0

    def __call__(self, now: Progress) -> None:
        if now.seconds - self.last_seconds >= self.interval_seconds:
            self.last_seconds = now.seconds
            note(f"{STAGES[now.stage]}: {pace(now)}")


class StageLines:
    """Says how far a check is, at most once in `interval_seconds`."""

    def __init__(self, interval_seconds: float = 5.0, clock: Callable[[], float] = monotonic):
        self.interval_seconds = interval_seconds
        self.clock = clock
        self.next_seconds = clock() + interval_seconds

    def __call__(self, now: CheckProgress) -> None:
        if self.clock() >= self.next_seconds:
            self.next_seconds = self.clock() + self.interval_seconds
            share = f" {now.n_done:,}/{now.n_total:,}" if now.n_total else ""
            note(f"checking: {now.stage}{share}")


class DownloadLines:
    """Says how much of a model has been fetched, at the start, now and then, and at the end."""

    def __init__(self, interval_seconds: float = 5.0, clock: Callable[[], float] = monotonic):
        self.interval_seconds = interval_seconds
        self.clock = clock
        self.next_seconds = clock()

    def __call__(self, now: Download) -> None:
        if now.is_waiting:
            note("another process is fetching or converting the model: waiting until it is done")
            return
        is_done = now.bytes_done == now.bytes_total
        if is_done or self.clock() >= self.next_seconds:
            self.next_seconds = self.clock() + self.interval_seconds
            note(f"fetching the model: {size(now.bytes_done)} of {size(now.bytes_total)}")


def pace(now: Progress) -> str:
    """Say how many are done, at what rate, and how long the rest takes."""
    parts = [f"{now.n_done:,}/{now.n_total:,}" if now.n_total else f"{now.n_done:,}"]
    if now.images_per_second:
        parts.append(f"{now.images_per_second:.1f} images/s")
    if now.seconds_left is not None and now.n_done < now.n_total:
        parts.append(f"{duration(now.seconds_left)} left")
    if now.n_skipped:
        parts.append(f"{now.n_skipped:,} skipped")
    return ", ".join(parts)


def duration(seconds: float) -> str:
    """Give a time as `m:ss` or `h:mm:ss`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def size(n_bytes: int) -> str:
    """Give a number of bytes as people say it."""
    amount, unit = float(n_bytes), "B"
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000 or unit == "GB":
            break
        amount /= 1000
    return f"{amount:.0f} {unit}" if unit in ("B", "kB") else f"{amount:.1f} {unit}"
