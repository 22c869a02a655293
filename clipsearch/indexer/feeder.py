"""One thread's work: keep a decoding worker busy, and see to it that a death costs one file.

In: jobs from a pool. Out: their futures, each with a Found. The file in hand when a worker died is
tried once more, alone in a fresh one; what waited behind it was not to blame and is sent again.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from clipsearch.errors import WorkerError
from clipsearch.images import shown
from clipsearch.indexer.frames import Found, Want, WorkerDied
from clipsearch.indexer.process import WorkerProcess, cannot_start

_IN_FLIGHT = 2  # files a worker has been told of: one in work, one at hand
_STARTS = 3  # attempts at starting a worker before the run is given up
_TRIES = 2  # of a file


@dataclass
class Job:
    """A file to be read, and where the result is awaited."""

    path: Path
    want: Want
    future: Future[Found] = field(default_factory=Future)
    n_deaths: int = 0
    content: Found = field(default_factory=Found)  # what was known of it before the decoding began


class Pool(Protocol):
    """What a feeder needs of those it works for."""

    payload: bytes  # the packed setup, once `begun`
    input_px: int

    def launch(self) -> WorkerProcess | None:
        """A new process, None if there is to be no more work. Raises WorkerError."""

    def bury(self, process: WorkerProcess) -> None: ...
    def wait_until_begun(self) -> None: ...
    def next_job(self, wait: bool) -> Job | None: ...
    def fail(self, error: WorkerError, jobs: list[Job]) -> None: ...
    @property
    def is_closed(self) -> bool: ...


class _Closed(Exception):
    """There is to be no more work."""


class Feeder:
    """`run` is the thread."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.process: WorkerProcess | None = None
        self.sent: deque[Job] = deque()  # in the order in which they will be answered
        self.again: deque[Job] = deque()  # sent to a worker that died
        self.is_suspicious = False  # the next job has killed before, and goes alone

    def run(self) -> None:
        """Serve until the pool is closed. Whatever else ends this makes the pool fail."""
        failure: WorkerError | None = WorkerError(
            "the thread that feeds a decoding process ended unexpectedly: please report it"
        )
        try:
            self._serve()
            failure = None
        except _Closed:
            failure = None
        except WorkerError as error:
            failure = error
        finally:
            self._bury_process()
            if failure is not None:
                self.pool.fail(failure, [*self.sent, *self.again])

    def _serve(self) -> None:
        process = self._launch()  # imports while the model is loaded
        self.pool.wait_until_begun()
        self._set_up(process)
        while self._fill():
            assert self.process is not None
            try:
                self._take_answer(self.process)
            except WorkerDied:
                self._mourn(self.process)

    def _fill(self) -> bool:
        """Keep the worker busy. False when there is nothing more to do."""
        while len(self.sent) < (1 if self.is_suspicious else _IN_FLIGHT):
            job = self.again.popleft() if self.again else self.pool.next_job(not self.sent)
            if job is None:
                break
            self.sent.append(job)
            if self.process is None:
                self._set_up(self._launch())
            assert self.process is not None
            self.process.send(bytes(job.path), job.want)
            if len(self.sent) == 1:
                self.process.grant_seconds()
        return bool(self.sent)

    def _take_answer(self, process: WorkerProcess) -> None:
        answer = process.receive()
        if answer.kind == "content":
            self.sent[0].content = answer.found
            return
        if answer.kind != "found":
            raise WorkerDied("an answer out of turn")
        job = self.sent.popleft()
        self.is_suspicious = False
        process.deadline = None
        if self.sent:
            process.grant_seconds()
        job.future.set_result(answer.found)

    def _mourn(self, process: WorkerProcess) -> None:
        if self.pool.is_closed:
            raise _Closed
        cause = process.cause_of_death()
        guilty = self.sent.popleft()
        guilty.n_deaths += 1
        self.again.extendleft(reversed(self.sent))
        self.sent.clear()
        # Processor time is used by nobody but the file itself; all else may have been bad luck.
        self.is_suspicious = guilty.n_deaths < _TRIES and not process.was_out_of_time
        if self.is_suspicious:
            self.again.appendleft(guilty)
        else:
            reason = f"{shown(guilty.path.name)} {cause}"
            guilty.future.set_result(replace(guilty.content, reason=reason))
        self._bury_process()

    def _launch(self) -> WorkerProcess:
        self.process = self.pool.launch()
        if self.process is None:
            raise _Closed
        return self.process

    def _set_up(self, process: WorkerProcess) -> None:
        for _ in range(_STARTS):
            try:
                process.set_up(self.pool.payload, self.pool.input_px)
                return
            except WorkerDied:
                if self.pool.is_closed:
                    raise _Closed from None
                complaint = process.complaint
                self._bury_process()
                process = self._launch()
        raise cannot_start(complaint)

    def _bury_process(self) -> None:
        if self.process is not None:
            self.pool.bury(self.process)
        self.process = None
