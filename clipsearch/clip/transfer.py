"""HTTP: the bytes of one address appended to one file, from where that file ends.

In: an address and a file. Out: the file at its full length, or Interrupted with what has arrived.
Knows nothing of checksums. Proxies are taken from the environment by urllib.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from http.client import BadStatusLine, HTTPException, HTTPResponse, RemoteDisconnected
from pathlib import Path
from time import monotonic
from typing import IO
from urllib.error import HTTPError
from urllib.request import Request, build_opener

from clipsearch.fetching import NoDowngrade, reason


@dataclass(frozen=True)
class Download:
    """How far a download is; `bytes_total` as the server says, else as the registry expects.

    `is_waiting`: another process is at it, nobody knows how far, and this one waits for it.
    """

    bytes_done: int
    bytes_total: int
    is_waiting: bool = False


ProgressCallback = Callable[[Download], None]

TIMEOUT_SECONDS = 30.0  # of silence, not of the whole download
LEAST_BYTES = 1024  # in that time; a server that drips slower than this is as good as silent
BLOCK_BYTES = 1024 * 1024


class Interrupted(Exception):
    """The network or the server gave up. What has arrived is in the file."""


class Unfit(Exception):
    """The server answers with something that is not the file."""


@dataclass(frozen=True)
class Transfer:
    """How to fetch: from where, about how many bytes, whom to tell, when to lose patience."""

    url: str
    size_bytes: int
    on_progress: ProgressCallback | None = None
    timeout_seconds: float = TIMEOUT_SECONDS

    def run(self, part: Path) -> None:
        """Append what `part` lacks, and sync it. Raises Interrupted, Unfit, OSError of the disk."""
        # Unbuffered: what has been received is in the file, whenever this process dies.
        with part.open("ab", buffering=0) as file:
            self._append(file, file.tell())
            os.fsync(file.fileno())

    def _append(self, file: IO[bytes], start: int) -> None:
        try:
            response = self._open(start)
        except HTTPError as error:
            if error.code == 416 and start:
                # The file has no bytes from there on: it is whole, or of another file.
                if error.headers.get("Content-Range") == f"bytes */{start}":
                    return
                file.truncate(0)
                return self._append(file, 0)
            raise _failure(error) from error
        except (OSError, HTTPException) as error:
            raise _failure(error) from error
        with response:
            _refuse_web_page(response)
            begins = _first_byte(response)
            if begins not in (0, start):
                raise Unfit("the server answered with another part of the file than was asked for")
            if begins != start:  # it ignores ranges
                file.truncate(0)
            self._copy(response, file, begins)

    def _open(self, start: int) -> HTTPResponse:
        headers = {"User-Agent": "clipsearch", "Accept-Encoding": "identity"}
        if start:
            headers["Range"] = f"bytes={start}-"
        opener = build_opener(NoDowngrade)
        response: HTTPResponse = opener.open(
            Request(self.url, headers=headers), timeout=self.timeout_seconds
        )
        return response

    def _copy(self, response: HTTPResponse, file: IO[bytes], done: int) -> None:
        announced = _announced_bytes(response)
        total = None if announced is None else done + announced
        self._check_length(done if total is None else total)
        told, patience = done, Patience(self.timeout_seconds)
        while total is None or done < total:
            limit = BLOCK_BYTES if total is None else min(BLOCK_BYTES, total - done)
            block = _read(response, limit)
            if not block:
                break
            file.write(block)
            done += len(block)
            self._check_length(done)
            patience.note(len(block))
            if done - told >= BLOCK_BYTES or done == total:
                told = done
                self._tell(done, total)
        if total is not None and done != total:
            raise Interrupted(f"the connection ended after {done} of {total} bytes")

    def _check_length(self, n_bytes: int) -> None:
        """No server may fill the disk with something else."""
        if n_bytes > self.size_bytes * 1.1 + BLOCK_BYTES:
            raise Unfit(f"the server sends {n_bytes:,} bytes instead of about {self.size_bytes:,}")

    def _tell(self, done: int, total: int | None) -> None:
        if self.on_progress is not None:
            self.on_progress(Download(done, total or self.size_bytes))


class Patience:
    """Ends with Interrupted where a server sends a little now and then, but as good as nothing."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._since, self._n_bytes = monotonic(), 0

    def note(self, n_bytes: int) -> None:
        self._n_bytes += n_bytes
        if monotonic() - self._since > self.seconds:
            if self._n_bytes < LEAST_BYTES:
                raise Interrupted("the server sends next to nothing")
            self._since, self._n_bytes = monotonic(), 0


def _read(response: HTTPResponse, n_bytes: int) -> bytes:
    """What has arrived, at least a byte: waiting for a full block would lose it on a kill."""
    try:
        return response.read1(n_bytes)
    except (OSError, HTTPException) as error:
        raise _failure(error) from error


def _first_byte(response: HTTPResponse) -> int:
    """At which byte of the file the answer begins, -1 if it does not say."""
    if response.status != 206:
        return 0
    match = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    return int(match.group(1)) if match else -1


def _refuse_web_page(response: HTTPResponse) -> None:
    """A web page instead of the file is a login page or an error."""
    if response.headers.get_content_type() == "text/html":
        raise Unfit("the server answered with a web page instead of the file")


def _announced_bytes(response: HTTPResponse) -> int | None:
    length = response.headers.get("Content-Length")
    return int(length) if length is not None and length.isdigit() else None


def _failure(error: OSError | HTTPException) -> Interrupted | Unfit:
    is_nonsense = isinstance(error, BadStatusLine) and not isinstance(error, RemoteDisconnected)
    if isinstance(error, HTTPError) or is_nonsense:
        return Unfit(reason(error))
    return Interrupted(reason(error))
