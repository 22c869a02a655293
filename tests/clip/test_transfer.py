from __future__ import annotations

from http.client import HTTPMessage
from io import BytesIO
from urllib.error import URLError
from urllib.request import Request

import pytest

from clipsearch.clip.transfer import NoDowngrade, host


def test_a_redirect_to_an_unencrypted_address_is_refused() -> None:
    request = Request("https://example.org/a")
    with pytest.raises(URLError, match="not encrypted"):
        NoDowngrade().redirect_request(
            request, BytesIO(), 302, "Found", HTTPMessage(), "http://example.org/b"
        )


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
