from __future__ import annotations

from http.client import BadStatusLine, HTTPMessage, RemoteDisconnected
from io import BytesIO
from urllib.error import HTTPError, URLError
from urllib.request import Request

import pytest

from clipsearch.clip.transfer import Interrupted, _failure
from clipsearch.fetching import NoDowngrade, host


@pytest.mark.parametrize(
    ("old", "new"), [("https", "http"), ("https", "ftp"), ("http", "ftp"), ("http", "file")]
)
def test_a_redirect_to_an_unencrypted_address_is_refused(old: str, new: str) -> None:
    request = Request(f"{old}://example.org/a")
    with pytest.raises(URLError, match="not encrypted"):
        NoDowngrade().redirect_request(
            request, BytesIO(), 302, "Found", HTTPMessage(), f"{new}://example.org/b"
        )


def test_a_reason_of_many_lines_is_told_in_one() -> None:
    circles = HTTPError("http://example.org/a", 302, "in circles\nFound", HTTPMessage(), BytesIO())
    assert str(_failure(circles)) == "the server answered 302 in circles"
    circles.close()


def test_bytes_that_are_no_http_are_called_so() -> None:
    assert str(_failure(BadStatusLine("\x00nonsense\r\n"))) == "the server's answer is no HTTP"
    assert isinstance(_failure(RemoteDisconnected("gone")), Interrupted)


def test_a_redirect_to_another_encrypted_address_is_followed() -> None:
    redirected = NoDowngrade().redirect_request(
        Request("https://example.org/a"),
        BytesIO(),
        302,
        "Found",
        HTTPMessage(),
        "https://example.org/b",
    )
    assert redirected is not None
    assert redirected.full_url == "https://example.org/b"


def test_messages_name_the_server_but_no_password() -> None:
    assert host("https://me:secret@mirror.example:8443/models/a.pt") == "mirror.example:8443"
