"""Addresses from the web: what is fetched, and what must never hold anybody up."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Event, Thread
from threading import enumerate as enumerate_threads

import pytest

from clipsearch.fetching import Limits, Unfetched, fetch
from tests.clip.servers import CONTENT, Server, serving


@contextmanager
def endless_redirect(to: str) -> Iterator[str]:
    """The address of a server that redirects, and goes on sending for as long as it is listened
    to."""

    def answer() -> None:
        connection, _ = listening.accept()
        with connection, suppress(ConnectionError):
            connection.sendall(f"HTTP/1.1 302 Found\r\nLocation: {to}\r\n\r\n".encode())
            while True:
                connection.sendall(bytes(1 << 16))

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = Thread(target=answer)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
        thread.join()


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as state:
        yield state


def test_what_is_at_an_address_is_fetched(server: Server) -> None:
    assert fetch(server.url) == CONTENT


def test_an_address_with_letters_of_any_kind_is_asked_for_in_ascii(server: Server) -> None:
    fetch(server.url.replace("/models/", "/größe/") + "?name=ä&b=%20")
    assert server.requests == ["/gr%C3%B6%C3%9Fe/Tiny.pt?name=%C3%A4&b=%20"]


def test_a_redirect_is_followed(server: Server) -> None:
    server.redirects["/models/Tiny.pt"] = "/elsewhere"
    assert fetch(server.url) == CONTENT


@pytest.mark.parametrize("target", ["file:///etc/hostname", "ftp://127.0.0.1/a", "data:,a"])
def test_a_redirect_to_anything_else_is_not_followed(server: Server, target: str) -> None:
    server.redirects["/models/Tiny.pt"] = target
    with pytest.raises(Unfetched):
        fetch(server.url)


def test_what_comes_with_a_redirect_is_not_read(server: Server) -> None:
    """Else a server could fill the memory with it, which no limit of ours would see."""
    with endless_redirect(to=server.url) as url:
        assert fetch(url, Limits(seconds=5)) == CONTENT


def test_a_redirect_in_circles_ends(server: Server) -> None:
    server.redirects["/models/Tiny.pt"] = "/models/Tiny.pt"
    with pytest.raises(Unfetched, match="302"):
        fetch(server.url)


@pytest.mark.parametrize(
    "url", ["file:///etc/hostname", "ftp://host/a", "data:,a", "/etc/hostname"]
)
def test_only_the_web_is_fetched_from(url: str) -> None:
    with pytest.raises(Unfetched, match="only http and https"):
        fetch(url)


@pytest.mark.parametrize(
    "url",
    ["http://[", "http://127.0.0.1:port/a", "http://127.0.0.1:1/a", "http://ü..a/", "http:///a"],
)
def test_an_address_that_leads_nowhere_is_told(url: str) -> None:
    with pytest.raises(Unfetched):
        fetch(url)


def test_what_the_server_refuses_is_told(server: Server) -> None:
    server.status = 404
    with pytest.raises(Unfetched, match="the server answered 404 Not Found"):
        fetch(server.url)


@pytest.mark.parametrize("announces", [True, False])
def test_no_server_may_fill_the_memory(server: Server, announces: bool) -> None:
    server.announces = announces
    with pytest.raises(Unfetched, match="more than 1 MB"):
        fetch(server.url, Limits(n_bytes=1024**2))


def test_a_web_page_is_no_picture(server: Server) -> None:
    server.headers = {"Content-Type": "text/html; charset=utf-8"}
    with pytest.raises(Unfetched, match="a web page"):
        fetch(server.url)


def test_an_answer_that_is_cut_short_is_no_answer(server: Server) -> None:
    server.cut = 1000
    with pytest.raises(Unfetched):
        fetch(server.url)


def test_a_server_that_falls_silent_is_left(server: Server) -> None:
    server.cut, server.stall = 1000, Event()
    with pytest.raises(Unfetched, match="fell silent"):
        fetch(server.url, Limits(silent_seconds=0.1))


def test_no_thread_stays_with_a_server_that_was_left(server: Server) -> None:
    before = set(enumerate_threads())
    server.drip, server.stall = True, Event()
    with pytest.raises(Unfetched, match="longer than"):
        fetch(server.url, Limits(seconds=0.2))
    ours = [each for each in set(enumerate_threads()) - before if "(run)" in each.name]
    for each in ours:
        each.join(5)
    assert not any(each.is_alive() for each in ours)


def test_a_name_and_password_are_not_told() -> None:
    with pytest.raises(Unfetched, match="name or password") as told:
        fetch("http://me:secret@127.0.0.1/a.jpg")
    assert "secret" not in str(told.value)


def test_a_server_that_drips_is_left(server: Server) -> None:
    server.drip, server.stall = True, Event()
    with pytest.raises(Unfetched, match=r"longer than 0\.2 seconds"):
        fetch(server.url, Limits(seconds=0.2))
