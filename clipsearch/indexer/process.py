"""One decoding worker, seen from the process that started it.

In: requests. Out: answers, or WorkerDied and then the cause of death in words. Knows nothing of
queues or of what a file that killed a worker deserves.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from typing import IO

from clipsearch.errors import WorkerError
from clipsearch.indexer.frames import (
    Answer,
    Nonsense,
    Want,
    WorkerDied,
    read_answer,
    write_request,
)
from clipsearch.indexer.limits import Limits

# Not multiprocessing: that runs the caller's own script a second time. First of all SIGINT, because
# Ctrl-C reaches every process of the terminal. One thread in OpenBLAS, which nobody calls: each of
# its threads would claim memory.
_PROGRAM = (
    "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_IGN);"
    "os.putenv('OPENBLAS_NUM_THREADS', '1'); sys.path[:] = sys.argv[1:];"
    "from clipsearch.indexer.worker import main; main()"
)
_PIPE_BYTES = 1 << 20  # room for some pictures, so that a worker need not wait for the reader
_START_SECONDS = 120.0
_LAST_BREATH_SECONDS = 5.0


class WorkerProcess:
    """A process that decodes. Of one thread, but for `kill_if_late` and `kill`."""

    def __init__(self, limits: Limits) -> None:
        """Start it; it is busy importing when this returns. Raises WorkerError."""
        self.limits = limits
        self.input_px = 0
        self.is_late = self.is_confused = False
        self.deadline: float | None = None
        self._complaints = tempfile.TemporaryFile()  # noqa: SIM115  closed with the process
        path = [folder for folder in sys.path if isinstance(folder, str)]
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-c", _PROGRAM, *path],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._complaints,
                bufsize=0,
            )
        except (OSError, ValueError) as error:
            self._complaints.close()
            raise cannot_start(str(error)) from error
        assert self._process.stdin is not None and self._process.stdout is not None
        self._requests: IO[bytes] = self._process.stdin
        self._answers: IO[bytes] = self._process.stdout
        _widen(self._answers)

    def set_up(self, payload: bytes, input_px: int) -> None:
        """Tell it what it has to know, and wait until it is ready.

        Raises WorkerDied, and WorkerError if it says that it cannot do the work.
        """
        self.input_px = input_px
        self.deadline = time.monotonic() + _START_SECONDS
        self.send(payload)
        answer = self.receive()
        self.deadline = None
        if answer.kind != "ready":
            raise WorkerError(
                f"the encoder's preprocess cannot be sent to other processes "
                f"({answer.found.reason}): make it a function of a module that can be imported"
            )

    def send(self, payload: bytes, want: Want = Want.PIXELS) -> None:
        """Give it one more thing to do. Should it be dead, `receive` will say so."""
        with suppress(OSError):
            write_request(self._requests, payload, want)

    def receive(self) -> Answer:
        """What it says next. Raises WorkerDied."""
        try:
            return read_answer(self._answers, self.input_px)
        except Nonsense:
            self.is_confused = True
            self.kill()
            raise
        except OSError as error:
            raise WorkerDied("the pipe is broken") from error

    def grant_seconds(self) -> None:
        """The clock for the next file begins to run."""
        self.deadline = time.monotonic() + self.limits.wall_seconds

    def kill_if_late(self) -> None:
        deadline = self.deadline
        if deadline is not None and time.monotonic() > deadline:
            self.is_late = True
            self.kill()

    def kill(self) -> None:
        self._process.kill()

    def cause_of_death(self) -> str:
        """What befell it, in words that follow the name of a file."""
        try:
            status = self._process.wait(_LAST_BREATH_SECONDS)
        except subprocess.TimeoutExpired:  # it has only closed its pipe
            self.is_confused = True
        if self.is_confused:
            return "made the decoder talk nonsense; replace or convert it"
        seconds = "convert it, or raise CLIPSEARCH_DECODE_SECONDS"
        if self.is_late:
            return f"took longer than {self.limits.wall_seconds:g} seconds to decode; {seconds}"
        if self.was_out_of_time:
            used = f"more than {self.limits.cpu_seconds:,} seconds of processor time"
            return f"took {used} to decode; {seconds}"
        if status == -signal.SIGKILL:
            return "had its decoder killed, perhaps for want of memory; make it smaller"
        if status < 0:
            return f"made the decoder crash ({_signal_name(-status)}); replace or convert it"
        return f"made the decoder end with status {status}; replace or convert it"

    @property
    def was_out_of_time(self) -> bool:
        """Whether a dead one had used up the processor time of a file."""
        return self._process.returncode == -getattr(signal, "SIGXCPU", 0)

    @property
    def complaint(self) -> str:
        """The last line that it wrote to its standard error."""
        self._complaints.seek(0)
        lines = self._complaints.read().decode("utf-8", "replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "it gave no reason")

    def close(self) -> None:
        """End it, whatever it is doing, and leave nothing of it."""
        self.kill()
        self._process.wait()
        for file in (self._requests, self._answers, self._complaints):
            file.close()


def cannot_start(reason: str) -> WorkerError:
    """The error for a worker that will not live, whose reason is given."""
    return WorkerError(
        f"the processes that decode pictures cannot be started ({reason}): free some memory, or "
        "mend what is named here"
    )


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _widen(pipe: IO[bytes]) -> None:
    try:
        import fcntl

        fcntl.fcntl(pipe.fileno(), fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    except (ImportError, AttributeError, OSError):
        return  # not Linux, or not allowed: it is a matter of speed only
