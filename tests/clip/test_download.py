from __future__ import annotations

import hashlib
import shutil
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from threading import Event
from types import SimpleNamespace

import pytest
from filelock import FileLock

from clipsearch.clip import download
from clipsearch.clip.cache import ModelCache
from clipsearch.clip.download import fetch
from clipsearch.clip.published import RemoteFile
from clipsearch.clip.transfer import Download
from clipsearch.errors import ChecksumMismatch, ModelError, ModelUnavailable
from clipsearch.settings import Settings
from tests.clip.servers import CONTENT, Server, serving

WHAT = "the model Tiny"


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as state:
        yield state


def get(server: Server, folder: Path, timeout_seconds: float = 5.0) -> Path:
    return fetch(server.file, "Tiny.pt", WHAT, ModelCache(folder), timeout_seconds)


def left_behind(cache: Path) -> list[str]:
    return sorted(path.name for path in cache.iterdir() if not path.name.endswith(".lock"))


def test_a_file_arrives_whole_and_progress_is_told(server: Server, tmp_path: Path) -> None:
    progress: list[Download] = []
    cache = ModelCache(tmp_path / "new", on_progress=progress.append)
    path = fetch(server.file, "Tiny.pt", WHAT, cache)
    assert path.read_bytes() == CONTENT
    assert left_behind(cache.folder) == ["Tiny.pt"]
    assert [now.bytes_total for now in progress] == [len(CONTENT)] * len(progress)
    assert progress[-1] == Download(len(CONTENT), len(CONTENT))
    assert 2 <= len(progress) <= 3


def test_what_lies_there_whole_is_not_fetched_again(server: Server, tmp_path: Path) -> None:
    (tmp_path / "Tiny.pt").write_bytes(CONTENT)
    fetch(server.file, "Tiny.pt", WHAT, ModelCache(tmp_path, offline=True))
    get(server, tmp_path)
    assert server.requests == []


def test_what_lies_there_damaged_is_replaced(server: Server, tmp_path: Path) -> None:
    (tmp_path / "Tiny.pt").write_bytes(CONTENT[:-1])
    assert get(server, tmp_path).read_bytes() == CONTENT


def test_a_download_goes_on_where_it_stopped(server: Server, tmp_path: Path) -> None:
    (tmp_path / "Tiny.pt.part").write_bytes(CONTENT[:1000])
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert server.ranges == ["bytes=1000-"]
    assert left_behind(tmp_path) == ["Tiny.pt"]


def test_a_part_that_is_whole_already_is_only_verified(server: Server, tmp_path: Path) -> None:
    (tmp_path / "Tiny.pt.part").write_bytes(CONTENT)
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert server.ranges == [f"bytes={len(CONTENT)}-"]


@pytest.mark.parametrize("part", [b"?" * 1000, CONTENT + b"?", b"?" * len(CONTENT)])
def test_a_part_of_another_file_is_thrown_away(server: Server, tmp_path: Path, part: bytes) -> None:
    (tmp_path / "Tiny.pt.part").write_bytes(part)
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert left_behind(tmp_path) == ["Tiny.pt"]


def test_a_server_that_ignores_ranges_is_taken_from_the_start(
    server: Server, tmp_path: Path
) -> None:
    server.knows_ranges = False
    (tmp_path / "Tiny.pt.part").write_bytes(CONTENT[:1000])
    assert get(server, tmp_path).read_bytes() == CONTENT


def test_a_server_that_sends_another_range_is_refused(server: Server, tmp_path: Path) -> None:
    server.shifts_ranges = 7
    (tmp_path / "Tiny.pt.part").write_bytes(CONTENT[:1000])
    with pytest.raises(ModelUnavailable, match="another part of the file"):
        get(server, tmp_path)
    assert (tmp_path / "Tiny.pt.part").read_bytes() == CONTENT[:1000]


def test_a_connection_that_is_cut_now_and_then_is_taken_up_again(
    server: Server, tmp_path: Path
) -> None:
    server.cut = 1_100_000
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=1100000-", "bytes=2200000-"]


def test_wrong_bytes_are_refused_and_leave_nothing(server: Server, tmp_path: Path) -> None:
    server.content = CONTENT[:-1] + b"?"
    with pytest.raises(ChecksumMismatch, match=r"the model Tiny, fetched from 127\.0\.0\.1"):
        get(server, tmp_path)
    assert left_behind(tmp_path) == []


def test_a_connection_that_ends_early_is_told_with_both_numbers_and_kept(
    server: Server, tmp_path: Path
) -> None:
    server.cut = 1000
    with pytest.raises(ModelUnavailable, match=r"ended after 1000 of 2560000 bytes.* is kept"):
        get(server, tmp_path)
    assert (tmp_path / "Tiny.pt.part").read_bytes() == CONTENT[:1000]
    assert left_behind(tmp_path) == ["Tiny.pt.part"]


def test_a_short_file_of_unknown_length_is_refused_by_its_checksum(
    server: Server, tmp_path: Path
) -> None:
    server.content, server.announces = CONTENT[:1000], False
    with pytest.raises(ChecksumMismatch):
        get(server, tmp_path)


@pytest.mark.parametrize("announces", [True, False])
def test_a_file_that_is_far_too_long_does_not_fill_the_disk(
    server: Server, tmp_path: Path, announces: bool
) -> None:
    server.content, server.announces = CONTENT * 4, announces
    with pytest.raises(ModelUnavailable, match="instead of about 2,560,000"):
        get(server, tmp_path)
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 2 * len(CONTENT)


def test_a_web_page_is_not_taken_for_the_file(server: Server, tmp_path: Path) -> None:
    server.headers = {"Content-Type": "text/html; charset=utf-8"}
    (tmp_path / "Tiny.pt.part").write_bytes(CONTENT[:1000])
    with pytest.raises(ModelUnavailable, match="a web page instead of the file"):
        get(server, tmp_path)
    assert (tmp_path / "Tiny.pt.part").read_bytes() == CONTENT[:1000]


def test_an_error_of_the_server_is_told_with_its_number(server: Server, tmp_path: Path) -> None:
    server.status = 503
    with pytest.raises(ModelUnavailable, match="503 Service Unavailable"):
        get(server, tmp_path)


def test_a_server_that_falls_silent_is_given_up(server: Server, tmp_path: Path) -> None:
    server.cut, server.stall = 1000, Event()
    with pytest.raises(ModelUnavailable, match="fell silent"):
        get(server, tmp_path, timeout_seconds=0.2)
    assert (tmp_path / "Tiny.pt.part").read_bytes() == CONTENT[:1000]


def test_a_server_that_drips_is_given_up(server: Server, tmp_path: Path) -> None:
    server.drip, server.stall = True, Event()
    with pytest.raises(ModelUnavailable, match="next to nothing"):
        get(server, tmp_path, timeout_seconds=0.2)


def test_a_refused_connection_names_the_model_the_host_and_both_remedies(tmp_path: Path) -> None:
    with closing(socket.socket()) as unused:
        unused.bind(("127.0.0.1", 0))  # bound but not listening: nobody else can answer there
        port = unused.getsockname()[1]
        remote = RemoteFile(f"http://127.0.0.1:{port}/Tiny.pt", "0" * 64, 1)
        with pytest.raises(ModelUnavailable) as caught:
            fetch(remote, "Tiny.pt", WHAT, ModelCache(tmp_path))
    message = str(caught.value)
    assert WHAT in message
    assert f"127.0.0.1:{port}" in message
    assert "`--model mini`" in message
    assert "`--model FILE`" in message
    assert "\n" not in message


def test_offline_asks_nobody_and_says_so(server: Server, tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match=r"is not on this machine.*offline mode") as caught:
        fetch(server.file, "Tiny.pt", WHAT, ModelCache(tmp_path, offline=True))
    assert server.url in str(caught.value)
    assert "`--model mini`" in str(caught.value)
    (tmp_path / "Tiny.pt").write_bytes(CONTENT[:-1])
    with pytest.raises(ModelUnavailable, match="lies here damaged"):
        fetch(server.file, "Tiny.pt", WHAT, ModelCache(tmp_path, offline=True))
    assert server.requests == []


def test_a_redirect_is_followed(server: Server, tmp_path: Path) -> None:
    server.redirects = {"/moved": server.url}
    moved = replace(server.file, url=server.url.replace("/models/Tiny.pt", "/moved"))
    path = fetch(moved, "Tiny.pt", WHAT, ModelCache(tmp_path))
    assert path.read_bytes() == CONTENT
    assert server.requests == ["/moved", "/models/Tiny.pt"]


def test_a_mirror_is_asked_instead_of_the_published_address(server: Server, tmp_path: Path) -> None:
    published = replace(server.file, url="https://nowhere.invalid/weights/abc.pt")
    settings = Settings(cache_dir=tmp_path, model_url=server.url.rpartition("/")[0] + "/")
    assert fetch(published, "Tiny.pt", WHAT, ModelCache.of(settings)).read_bytes() == CONTENT
    assert server.requests == ["/models/Tiny.pt"]


def test_a_proxy_of_the_environment_is_used(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", server.url.removesuffix("/models/Tiny.pt"))
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    far = replace(server.file, url="http://nowhere.invalid/Tiny.pt")
    assert fetch(far, "Tiny.pt", WHAT, ModelCache(tmp_path)).read_bytes() == CONTENT
    assert server.requests == ["http://nowhere.invalid/Tiny.pt"]


def test_eight_at_once_download_once(server: Server, tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        paths = list(pool.map(lambda _: get(server, tmp_path), range(8)))
    assert {path.read_bytes() for path in paths} == {CONTENT}
    assert len(server.requests) == 1


def test_who_has_to_wait_for_another_download_is_told(server: Server, tmp_path: Path) -> None:
    told: list[Download] = []
    waits, other = Event(), FileLock(tmp_path / ".Tiny.pt.lock")

    def tell(now: Download) -> None:
        told.append(now)
        waits.set()

    other.acquire()
    with ThreadPoolExecutor(1) as pool:
        fetching = pool.submit(
            fetch, server.file, "Tiny.pt", WHAT, ModelCache(tmp_path, on_progress=tell)
        )
        try:
            assert waits.wait(30)
        finally:
            other.release()
        assert fetching.result(30).read_bytes() == CONTENT
    assert told[0].is_waiting and not any(now.is_waiting for now in told[1:])


def test_a_full_disk_is_foreseen(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(ModelError, match=r"2,560,000 more bytes .* where 1,000 are free"):
        get(server, tmp_path)
    assert server.requests == []


def test_a_cache_that_cannot_be_made_is_named(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ModelError, match=r"cannot be stored in .*file"):
        get(server, tmp_path / "file" / "cache")


def test_a_file_that_nothing_vouches_for_must_come_encrypted(
    server: Server, tmp_path: Path
) -> None:
    unpublished = replace(server.file, sha256=None)
    with pytest.raises(ModelUnavailable, match="nothing would vouch for it: fetch it over https"):
        fetch(unpublished, "Tiny.pt", WHAT, ModelCache(tmp_path))
    assert server.requests == []


@pytest.fixture
def unpublished(server: Server, monkeypatch: pytest.MonkeyPatch) -> RemoteFile:
    """A file without a published SHA-256, as if it came over https."""
    monkeypatch.setattr(download, "VOUCHED", ("http://",))
    return replace(server.file, sha256=None)


def test_what_nobody_published_is_believed_once_and_pinned(
    server: Server, unpublished: RemoteFile, tmp_path: Path
) -> None:
    path = fetch(unpublished, "Tiny.pt", WHAT, ModelCache(tmp_path))
    pin = hashlib.sha256(CONTENT).hexdigest()
    assert (tmp_path / "Tiny.pt.sha256").read_text() == pin + "\n"
    path.unlink()
    server.content = CONTENT[:-1] + b"?"
    with pytest.raises(ChecksumMismatch, match=pin[:12]):
        fetch(unpublished, "Tiny.pt", WHAT, ModelCache(tmp_path))
    assert left_behind(tmp_path) == ["Tiny.pt.sha256"]


def test_what_nobody_published_is_never_put_together_from_two_attempts(
    server: Server, unpublished: RemoteFile, tmp_path: Path
) -> None:
    (tmp_path / "Tiny.pt.part").write_bytes(b"?" * 1000)
    server.cut = 1_100_000
    with pytest.raises(ModelUnavailable, match="ended after 1100000"):
        fetch(unpublished, "Tiny.pt", WHAT, ModelCache(tmp_path))
    assert server.ranges == [None]
    assert left_behind(tmp_path) == []
