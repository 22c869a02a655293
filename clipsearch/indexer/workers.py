"""The decoding workers of one run: processes, and a thread for each of them.

In: paths. Out: futures of Founds. Knows nothing of candidates, batches or models.
"""

from __future__ import annotations

import pickle
import threading
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Self

from clipsearch.errors import WorkerError
from clipsearch.indexer.feeder import Feeder, Job
from clipsearch.indexer.frames import Found, Setup, Want, pack_setup
from clipsearch.indexer.limits import Limits
from clipsearch.indexer.process import WorkerProcess

_WATCH_SECONDS = 0.1


class Workers:
    """A context manager around `n` processes, which start at once and wait for `begin`.

    Leaving it ends them at once, whatever they are doing.
    """

    def __init__(self, n: int, limits: Limits) -> None:
        self.limits = limits
        self.payload, self.input_px = b"", 0
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._begun, self._closed = threading.Event(), threading.Event()
        self._failure: WorkerError | None = None
        self._processes: set[WorkerProcess] = set()
        # Daemons: a program that forgets to close them must not wait for them for ever.
        self._threads = [
            threading.Thread(target=work, name="decode", daemon=True)
            for work in (self._watch, *(Feeder(self).run for _ in range(n)))
        ]
        for thread in self._threads:
            thread.start()

    def begin(self, setup: Setup) -> None:
        """Tell the workers what they need to know. Once, before the first `read`.

        Raises WorkerError if the preprocessing cannot be sent to another process.
        """
        try:
            self.payload, self.input_px = pack_setup(setup), setup.input_px
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise WorkerError(
                f"the encoder's preprocess cannot be sent to other processes ({error}): "
                "make it a function of a module"
            ) from error
        self._begun.set()

    def read(self, path: Path, want: Want = Want.PIXELS) -> Future[Found]:
        """Read what is wanted of a file.

        Raises WorkerError, here or from the future, if no worker can be started.
        """
        job = Job(path, want)
        with self._lock:
            if self._failure is not None:
                raise self._failure
            self._jobs.put(job)
        return job.future

    def close(self) -> None:
        """End processes and threads. A second time does nothing."""
        with self._lock:
            self._closed.set()
            self._begun.set()
            for process in self._processes:
                process.kill()
            for _ in self._threads:
                self._jobs.put(None)
        for thread in self._threads:
            thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    # ---- what the feeders ask for, in their threads

    @property
    def is_closed(self) -> bool:
        return self._closed.is_set()

    def launch(self) -> WorkerProcess | None:
        with self._lock:
            if self.is_closed:
                return None
            process = WorkerProcess(self.limits)
            self._processes.add(process)
            return process

    def bury(self, process: WorkerProcess) -> None:
        with self._lock:
            self._processes.discard(process)
        process.close()

    def wait_until_begun(self) -> None:
        self._begun.wait()

    def next_job(self, wait: bool) -> Job | None:
        with suppress(Empty):
            return self._jobs.get(block=wait)
        return None

    def fail(self, error: WorkerError, jobs: list[Job]) -> None:
        with self._lock:
            self._failure = error
            while (job := self.next_job(wait=False)) is not None:
                jobs.append(job)
        for job in jobs:
            job.future.set_exception(error)

    def _watch(self) -> None:
        while not self._closed.wait(_WATCH_SECONDS):
            with self._lock:
                for process in self._processes:
                    process.kill_if_late()
