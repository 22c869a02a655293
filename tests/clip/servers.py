"""A web server on this machine that serves one file, well or in every wrong way."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread

from clipsearch.clip.published import RemoteFile

CONTENT = bytes(range(256)) * 10_000  # 2.5 MB: more than one block


@dataclass
class Server:
    """Set the fields to make it misbehave.

    `cut` ends each answer after so many bytes. `on_sent(n)` is called after each few bytes of the
    file have been sent, with how many that were in all.
    """

    url: str = ""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    content: bytes = CONTENT
    announces: bool = True
    knows_ranges: bool = True
    shifts_ranges: int = 0
    cut: int | None = None
    redirects: dict[str, str] = field(default_factory=dict)
    stall: Event | None = None
    drip: bool = False
    on_sent: Callable[[int], None] | None = None
    requests: list[str] = field(default_factory=list)
    ranges: list[str | None] = field(default_factory=list)

    @property
    def file(self) -> RemoteFile:
        """What the file should be, whatever the server makes of it."""
        return RemoteFile(self.url, hashlib.sha256(CONTENT).hexdigest(), len(CONTENT))


class FaultyServer(ThreadingHTTPServer):
    def __init__(self, state: Server) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.state = state


class Handler(BaseHTTPRequestHandler):
    """Answers as its server's state says."""

    @property
    def state(self) -> Server:
        assert isinstance(self.server, FaultyServer)
        return self.server.state

    def do_GET(self) -> None:
        self.state.requests.append(self.path)
        self.state.ranges.append(self.headers.get("Range"))
        if self.path in self.state.redirects:
            self.answer(302, {"Location": self.state.redirects[self.path], "Content-Length": "0"})
        elif self.state.status != 200:
            self.answer(self.state.status, {"Content-Length": "0"})
        else:
            with suppress(ConnectionError):  # the client may have hung up
                self.serve()
        if self.state.stall is not None:
            self.state.stall.wait(10)

    def serve(self) -> None:
        size = len(self.state.content)
        start = self.wanted_start()
        if start is None:
            start, status, headers = 0, 200, {}
        elif start >= size:
            self.answer(416, {"Content-Range": f"bytes */{size}", "Content-Length": "0"})
            if self.state.on_sent is not None:
                self.state.on_sent(size)
            return
        else:
            start += self.state.shifts_ranges
            status, headers = 206, {"Content-Range": f"bytes {start}-{size - 1}/{size}"}
        if self.state.announces:
            headers["Content-Length"] = str(size - start)
        self.answer(status, headers | self.state.headers)
        end = size if self.state.cut is None else min(size, start + self.state.cut)
        self.send(start, end)

    def send(self, start: int, end: int) -> None:
        if self.state.on_sent is None and not self.state.drip:
            self.wfile.write(self.state.content[start:end])
            return
        step = 1 if self.state.drip else 16 * 1024
        for position in range(start, end, step):
            if self.state.drip and self.state.stall is not None:
                self.state.stall.wait(0.02)
            self.wfile.write(self.state.content[position : min(end, position + step)])
            if self.state.on_sent is not None:
                self.state.on_sent(min(end, position + step))

    def wanted_start(self) -> int | None:
        match = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")
        return int(match.group(1)) if match and self.state.knows_ranges else None

    def answer(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def serving() -> Iterator[Server]:
    """Serve until the end of the block."""
    state = Server()
    with FaultyServer(state) as http:
        state.url = f"http://127.0.0.1:{http.server_port}/models/Tiny.pt"
        thread = Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield state
        finally:
            if state.stall is not None:
                state.stall.set()
            http.shutdown()
            thread.join()
