"""The program of a decoding worker: reads files, one after the other, and says what is in them.

In: requests on standard input. Out: answers on standard output. It imports no model, index or
database, and lives under limits: a picture that is too much for it costs nobody else anything.
"""

from __future__ import annotations

import os
import pickle
import signal
from pathlib import Path
from typing import IO

from clipsearch.indexer.frames import (
    Answer,
    Found,
    Setup,
    read_request,
    unpack_setup,
    write_answer,
)
from clipsearch.indexer.limits import die_with_parent, grant_seconds, keep_memory, limit_memory
from clipsearch.indexer.reader import FileReader
from clipsearch.paths import printable

# What can come of a pickle that names something which is not to be found here.
_PICKLE_ERRORS = (pickle.UnpicklingError, AttributeError, ImportError, LookupError, TypeError)


def main() -> None:
    """Serve until standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is meant for the parent
    die_with_parent()
    requests, answers = _own_pipes()
    first = read_request(requests)
    if first is None:
        return
    try:
        setup = unpack_setup(first[0])
    except _PICKLE_ERRORS as error:
        write_answer(answers, Answer("failed", Found(reason=printable(str(error)))))
        return
    _silence(2)  # from here on what went wrong is told in answers
    keep_memory()
    limit_memory(setup.memory_mb)
    write_answer(answers, Answer("ready"))
    serve(requests, answers, setup)


def serve(requests: IO[bytes], answers: IO[bytes], setup: Setup) -> None:
    """Answer each request in turn."""
    read = FileReader(setup, lambda found: write_answer(answers, Answer("content", found)))
    while (request := read_request(requests)) is not None:
        path, want = request
        grant_seconds(setup.cpu_seconds)
        write_answer(answers, Answer("found", read(Path(os.fsdecode(path)), want)))


def _own_pipes() -> tuple[IO[bytes], IO[bytes]]:
    """Standard input and output for us alone: decoders print, and would be taken for answers."""
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb", buffering=0)
    _silence(0, 1)
    return requests, answers


def _silence(*descriptors: int) -> None:
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in descriptors:
        os.dup2(null, descriptor)
    os.close(null)
