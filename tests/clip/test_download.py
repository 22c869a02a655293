from __future__ import annotations

import hashlib
import socket
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from http.client import HTTPMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from threading import Event, Thread
from urllib.error import URLError
from urllib.request import Request

import pytest

from clipsearch.clip.download import ModelCache, NoDowngrade, fetch
from clipsearch.clip.registry import RemoteFile
from clipsearch.errors import ChecksumMismatch, ModelError, ModelUnavailable

CONTENT = bytes(range(256)) * 10_000  # 2.5 MB: more than one block


@dataclass
class Server:
    """A server on this machine. Set its fields to make it misbehave."""

    url: str = ""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    content: bytes = CONTENT
    announced: int | None = len(CONTENT)
    requests: int = 0
    redirects: dict[str, str] = field(default_factory=dict)
    stall: Event | None = None

    @property
    def file(self) -> RemoteFile:
        return RemoteFile(self.url, hashlib.sha256(CONTENT).hexdigest(), len(CONTENT))


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.requests += 1
            if self.path in state.redirects:
                self.send_response(302)
                self.send_header("Location", state.redirects[self.path])
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(state.status)
            if state.announced is not None:
                self.send_header("Content-Length", str(state.announced))
            for name, value in state.headers.items():
                self.send_header(name, value)
            self.end_headers()
            with suppress(ConnectionError):  # the client may have hung up
                self.wfile.write(state.content)
            if state.stall is not None:
                state.stall.wait(10)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        state.url = f"http://127.0.0.1:{http.server_port}/models/Tiny.pt"
        thread = Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield state
        if state.stall is not None:
            state.stall.set()
        http.shutdown()
        thread.join()


def left_behind(cache: Path) -> list[str]:
    return sorted(path.name for path in cache.iterdir())


def test_a_file_arrives_whole_and_progress_is_told(server: Server, tmp_path: Path) -> None:
    progress: list[tuple[int, int]] = []
    cache = ModelCache(
        tmp_path / "new", on_progress=lambda done, total: progress.append((done, total))
    )
    path = fetch(server.file, "Tiny.pt", "the model Tiny", cache)
    assert path.read_bytes() == CONTENT
    assert left_behind(cache.folder) == ["Tiny.pt"]
    assert [total for _, total in progress] == [len(CONTENT)] * len(progress)
    assert progress[-1][0] == len(CONTENT)
    assert len(progress) == 3


def test_what_lies_there_whole_is_not_fetched_again(server: Server, tmp_path: Path) -> None:
    (tmp_path / "Tiny.pt").write_bytes(CONTENT)
    fetch(server.file, "Tiny.pt", "the model Tiny", ModelCache(tmp_path, offline=True))
    fetch(server.file, "Tiny.pt", "the model Tiny", ModelCache(tmp_path))
    assert server.requests == 0


def test_what_lies_there_damaged_is_replaced(server: Server, tmp_path: Path) -> None:
    (tmp_path / "Tiny.pt").write_bytes(CONTENT[:-1])
    path = fetch(server.file, "Tiny.pt", "the model Tiny", ModelCache(tmp_path))
    assert path.read_bytes() == CONTENT


def test_wrong_bytes_are_refused_and_leave_nothing(server: Server, tmp_path: Path) -> None:
    server.content = CONTENT[:-1] + b"?"
    with pytest.raises(ChecksumMismatch, match=r"the model Tiny, fetched from 127\.0\.0\.1"):
        fetch(server.file, "Tiny.pt", "the model Tiny", ModelCache(tmp_path))
    assert left_behind(tmp_path) == []


def test_a_connection_that_ends_early_is_told_with_both_numbers(
    server: Server, tmp_path: Path
) -> None:
    server.content = CONTENT[:1000]
    with pytest.raises(ModelUnavailable, match="ended after 1000 of 2560000 bytes"):
        fetch(server.file, "Tiny.pt", "the model Tiny", ModelCache(tmp_path))
    assert left_behind(tmp_path) == []


def test_a_short_file_of_unknown_length_is_refused_by_its_checksum(
    server: Server, tmp_path: Path
) -> None:
    server.content, server.announced = CONTENT[:1000], None
    with pytest.raises(ChecksumMismatch):
        fetch(server.file, "Tiny.pt", "the model Tiny", ModelCache(tmp_path))


def test_a_web_page_is_not_taken_for_the_file(server: Server, tmp_path: Path) -> None:
    server.headers = {"Content-Type": "text/html; charset=utf-8"}
    with pytest.raises(ModelUnavailable, match="a web page instead of the file"):
        fetch(server.file, "Tiny.pt", "the model Tiny", ModelCache(tmp_path))


def test_an_error_of_the_server_is_told_with_its_number(server: Server, tmp_path: Path) -> None:
    server.status = 503
    with pytest.raises(ModelUnavailable, match="503 Service Unavailable"):
        fetch(server.file, "Tiny.pt", "the model Tiny", ModelCache(tmp_path))


def test_a_server_that_falls_silent_is_given_up(server: Server, tmp_path: Path) -> None:
    server.content, server.stall = CONTENT[:1000], Event()
    with pytest.raises(ModelUnavailable, match="fell silent"):
        fetch(server.file, "Tiny.pt", "the model Tiny", ModelCache(tmp_path), timeout_seconds=0.2)


def test_a_refused_connection_names_the_model_the_host_and_both_remedies(tmp_path: Path) -> None:
    with closing(socket.socket()) as unused:
        unused.bind(("127.0.0.1", 0))  # bound but not listening: nobody else can answer there
        port = unused.getsockname()[1]
        remote = RemoteFile(f"http://127.0.0.1:{port}/Tiny.pt", "0" * 64, 1)
        with pytest.raises(ModelUnavailable) as caught:
            fetch(remote, "Tiny.pt", "the model Tiny", ModelCache(tmp_path))
    message = str(caught.value)
    assert "the model Tiny" in message
    assert f"127.0.0.1:{port}" in message
    assert "`--model mini`" in message
    assert "`--model FILE`" in message
    assert "\n" not in message
    assert left_behind(tmp_path) == []


def test_offline_asks_nobody_and_says_so(server: Server, tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match="offline mode") as caught:
        fetch(server.file, "Tiny.pt", "the model Tiny", ModelCache(tmp_path, offline=True))
    assert server.url in str(caught.value)
    assert "`--model mini`" in str(caught.value)
    assert server.requests == 0


def test_a_redirect_is_followed(server: Server, tmp_path: Path) -> None:
    server.redirects = {"/moved": server.url}
    moved = replace(server.file, url=server.url.replace("/models/Tiny.pt", "/moved"))
    path = fetch(moved, "Tiny.pt", "the model Tiny", ModelCache(tmp_path))
    assert path.read_bytes() == CONTENT
    assert server.requests == 2


def test_a_redirect_to_an_unencrypted_address_is_refused() -> None:
    request = Request("https://example.org/a")
    with pytest.raises(URLError, match="not encrypted"):
        NoDowngrade().redirect_request(
            request, BytesIO(), 302, "Found", HTTPMessage(), "http://example.org/b"
        )


def test_a_cache_that_cannot_be_written_is_named(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ModelError, match=r"cannot be stored in .*file"):
        fetch(server.file, "Tiny.pt", "the model Tiny", ModelCache(tmp_path / "file"))
