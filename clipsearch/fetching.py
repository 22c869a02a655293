"""A file from the web into memory, within limits: for a picture that somebody looks for.

In: an http or https address. Out: bytes, or Unfetched, which says why not. Proxies are taken from
the environment by urllib. Imported only where there is an address.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from http.client import (
    BadStatusLine,
    HTTPConnection,
    HTTPException,
    HTTPMessage,
    HTTPResponse,
    HTTPSConnection,
    RemoteDisconnected,
)
from time import monotonic
from typing import IO
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlsplit, urlunsplit
from urllib.request import (
    HTTPHandler,
    HTTPRedirectHandler,
    HTTPSHandler,
    Request,
    build_opener,
)

from clipsearch.paths import printable

BLOCK_BYTES = 64 * 1024


class Unfetched(Exception):
    """The address cannot be had. The message is a reason, for a sentence of the caller's."""


@dataclass(frozen=True)
class Limits:
    """What one address may cost."""

    # Twice the largest JPEG of a camera of 100 megapixels; a phone's has 3 to 12 million bytes.
    n_bytes: int = 64 * 1024 * 1024
    # Somebody waits for the answer: whoever has a slower line saves the picture first.
    seconds: float = 30.0
    silent_seconds: float = 10.0


class NoDowngrade(HTTPRedirectHandler):
    """Follow redirects, but never from https to plain http, nor to what is neither."""

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> Request | None:
        fp.close()  # urllib would first read all that comes with a redirect, however much that is
        encrypted = urlsplit(newurl).scheme == "https"
        # urllib would also go to ftp.
        if not encrypted and (req.type == "https" or urlsplit(newurl).scheme != "http"):
            raise URLError(f"the server redirects to {newurl}, which is not encrypted")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


class _Lines(HTTPHandler, HTTPSHandler):
    """The connections of one fetch, which another thread may cut."""

    def __init__(self) -> None:
        HTTPSHandler.__init__(self)
        self._sockets: list[socket.socket] = []
        self._is_cut = False

    def cut(self) -> None:
        """End whatever waits for a server, or is kept busy by one."""
        self._is_cut = True
        for each in self._sockets:
            with suppress(OSError):  # it has ended by itself
                each.shutdown(socket.SHUT_RDWR)

    def http_open(self, req: Request) -> HTTPResponse:
        return self.do_open(self._noted(HTTPConnection), req)

    def https_open(self, req: Request) -> HTTPResponse:
        return self.do_open(self._noted(HTTPSConnection), req)

    def _noted(self, kind: type[HTTPConnection]) -> type[HTTPConnection]:
        lines = self

        class Noted(kind):  # type: ignore[valid-type, misc]
            def connect(self) -> None:
                super().connect()
                lines._sockets.append(self.sock)
                if lines._is_cut:
                    lines.cut()

        return Noted


def fetch(url: str, limits: Limits | None = None) -> bytes:
    """What is at an address. Raises Unfetched."""
    chosen = limits or Limits()
    if not url.lower().startswith(("http://", "https://")):
        raise Unfetched("only http and https are fetched")
    lines = _Lines()
    return _in_time(lambda: _fetched(url, chosen, lines), chosen.seconds, lines.cut)


def host(url: str) -> str:
    """The server of an address, for messages."""
    return urlsplit(url).netloc.rpartition("@")[2]


def reason(error: OSError | HTTPException | ValueError) -> str:
    """What went wrong with a request, as a part of a sentence."""
    if isinstance(error, HTTPError):
        lines = str(error.reason).splitlines()  # of a redirect in circles, four
        return f"the server answered {error.code} {lines[0] if lines else ''}".rstrip()
    if isinstance(error, BadStatusLine) and not isinstance(error, RemoteDisconnected):
        return "the server's answer is no HTTP"
    cause = error.reason if isinstance(error, URLError) else error
    if isinstance(cause, TimeoutError):
        return "the server fell silent"
    return str(getattr(cause, "strerror", None) or cause)


def _in_time(work: Callable[[], bytes], seconds: float, cut: Callable[[], None]) -> bytes:
    """Do that, but wait no longer: a name server, or a header sent byte by byte, could hold us up
    for ever. A thread of its own, which no timeout of a socket replaces."""
    done: list[bytes | BaseException] = []

    def run() -> None:
        try:
            done.append(work())
        except BaseException as error:  # raised again below, in the thread that waits
            done.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if not done:
        cut()  # else the thread would go on for as long as the server likes
        raise Unfetched(f"it took longer than {seconds:g} seconds")
    if isinstance(done[0], BaseException):
        raise done[0]
    return done[0]


def _fetched(url: str, limits: Limits, lines: _Lines) -> bytes:
    headers = {"User-Agent": "clipsearch", "Accept": "image/*", "Accept-Encoding": "identity"}
    try:
        request = Request(_in_ascii(url), headers=headers)
        with build_opener(NoDowngrade, lines).open(
            request, timeout=limits.silent_seconds
        ) as response:
            if response.headers.get_content_type() == "text/html":
                raise Unfetched("the server answered with a web page instead of a picture")
            return _read(response, limits)
    except (OSError, HTTPException, ValueError) as error:
        if isinstance(error, HTTPError):
            error.close()
        raise Unfetched(printable(reason(error))) from error


def _read(response: HTTPResponse, limits: Limits) -> bytes:
    content, ends = bytearray(), monotonic() + limits.seconds
    while block := response.read(BLOCK_BYTES):
        content += block
        if len(content) > limits.n_bytes:
            raise Unfetched(f"it has more than {limits.n_bytes // 1024**2} MB")
        if monotonic() > ends:  # nobody waits any more
            raise Unfetched(f"it took longer than {limits.seconds:g} seconds")
    if response.length:  # of what was announced, the rest
        raise Unfetched("the connection ended before the end of the file")
    return bytes(content)


def _in_ascii(url: str) -> str:
    """An address as it is sent. Raises ValueError for one that cannot be."""
    parts = urlsplit(url)
    if "@" in parts.netloc:  # urllib would take it for a part of the server, and say it aloud
        raise ValueError("an address with a name or password in it is not sent")
    server = parts.netloc.encode("idna").decode() if not parts.netloc.isascii() else parts.netloc
    path, query = (quote(part, safe="/%:=&?~+!$,;'@()*[]") for part in (parts.path, parts.query))
    return urlunsplit((parts.scheme.lower(), server, path or "/", query, ""))
