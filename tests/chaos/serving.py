"""The parent's end of a process that stays and obeys: orders out, answers in, never for ever."""

from __future__ import annotations

import json
import select
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.chaos.workplace import ROOT

PATIENCE_SECONDS = 60.0


class Gone(Exception):
    """The process has died, or has not answered for very long."""


class Server:
    """A context manager around one process; its answers come one for each order."""

    def __init__(
        self, program: Sequence[str], environment: Mapping[str, str], errors: Path | None = None
    ) -> None:
        with open(errors or "/dev/null", "ab") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *program],
                cwd=ROOT,
                env=dict(environment),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                start_new_session=True,
            )
        self.rest = b""

    def order(self, **what: Any) -> None:
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(what).encode() + b"\n")
            self.process.stdin.flush()
        except BrokenPipeError as error:
            raise Gone(f"exit {self.process.wait()}") from error

    def answer(self, seconds: float = PATIENCE_SECONDS) -> dict[str, Any]:
        """The next answer. Raises Gone if there is none."""
        assert self.process.stdout is not None
        deadline = time.monotonic() + seconds
        while b"\n" not in self.rest:
            left = max(0.0, deadline - time.monotonic())
            if not select.select([self.process.stdout], [], [], left)[0]:
                raise Gone(f"no answer in {seconds:.0f} s")
            some = self.process.stdout.read1(1 << 20)  # type: ignore[attr-defined]
            if not some:
                raise Gone(f"exit {self.process.wait()}")
            self.rest += some
        line, _, self.rest = self.rest.partition(b"\n")
        told: dict[str, Any] = json.loads(line)
        return told

    def is_answering(self) -> bool:
        """Whether an answer is there already."""
        assert self.process.stdout is not None
        return b"\n" in self.rest or bool(select.select([self.process.stdout], [], [], 0)[0])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.process.kill()
        self.process.communicate()
