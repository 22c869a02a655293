"""One file from the web to the disk: whole, verified, or not at all.

In: a RemoteFile. Out: a path whose SHA-256 has been checked. Knows nothing of what the file holds.
Proxies are taken from the environment by urllib.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.client import HTTPException, HTTPMessage, HTTPResponse
from pathlib import Path
from typing import IO
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from clipsearch.clip.registry import RemoteFile
from clipsearch.errors import ChecksumMismatch, ModelError, ModelUnavailable
from clipsearch.settings import Settings

# Bytes done, bytes in all (as the server says, else as the registry expects).
ProgressCallback = Callable[[int, int], None]

TIMEOUT_SECONDS = 30.0  # of silence, not of the whole download
BLOCK_BYTES = 1024 * 1024

REMEDY = (
    "choose `--model mini`, the bundled model that knows drawings,"
    " or `--model FILE` with weights that are already on disk"
)


@dataclass(frozen=True)
class ModelCache:
    """The folder where fetched and converted models are kept, and how to get what is not there.

    `vocab` are the merges to convert with, for models that have none beside them.
    """

    folder: Path
    offline: bool = False
    on_progress: ProgressCallback | None = None
    vocab: Path | None = None

    @classmethod
    def of(cls, settings: Settings, on_progress: ProgressCallback | None = None) -> ModelCache:
        """The cache that the settings describe."""
        return cls(settings.cache_dir, settings.offline, on_progress, vocab=settings.vocab)


def fetch(
    remote: RemoteFile,
    file_name: str,
    what: str,
    cache: ModelCache,
    timeout_seconds: float = TIMEOUT_SECONDS,
) -> Path:
    """Have `file_name` in the cache, downloaded unless it lies there whole.

    `what` names it in messages ("the model ViT-B/32").

    Raises ModelUnavailable if it cannot be had, ChecksumMismatch if its bytes are not the published
    ones.
    """
    target = cache.folder / file_name
    if target.is_file() and sha256_of(target) == remote.sha256:
        return target
    if cache.offline:
        raise ModelUnavailable(
            f"{what} is not on this machine, and offline mode forbids fetching it from"
            f" {remote.url}: {REMEDY}"
        )
    part = target.with_name(file_name + ".part")
    try:
        cache.folder.mkdir(parents=True, exist_ok=True)
        try:
            with part.open("wb") as file:
                for block in _blocks(remote, what, cache.on_progress, timeout_seconds):
                    file.write(block)
                file.flush()
                os.fsync(file.fileno())
            _verify(part, remote, what)
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:  # the network's own have become ModelUnavailable by now
        raise ModelError(
            f"{what} cannot be stored in {cache.folder} ({error.strerror or error}):"
            " free the space or choose another cache folder"
        ) from error
    return target


def sha256_of(path: Path) -> str:
    """The SHA-256 of a whole file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _verify(path: Path, remote: RemoteFile, what: str) -> None:
    """Read the file back from the disk and compare."""
    found = sha256_of(path)
    if found != remote.sha256:
        raise ChecksumMismatch(
            f"{what}, fetched from {_host(remote.url)}, has the SHA-256 {found[:12]}… where"
            f" {remote.sha256[:12]}… was"
            " published, so it is not used: try again later or from another network"
        )


class NoDowngrade(HTTPRedirectHandler):
    """Follow redirects, but never from https to plain http."""

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> Request | None:
        if req.type == "https" and urlsplit(newurl).scheme != "https":
            raise URLError(f"the server redirects to {newurl}, which is not encrypted")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _blocks(
    remote: RemoteFile, what: str, on_progress: ProgressCallback | None, timeout_seconds: float
) -> Iterator[bytes]:
    """The file's bytes, counted. Whatever the network does wrong becomes ModelUnavailable."""
    request = Request(remote.url, headers={"User-Agent": "clipsearch"})
    done = 0
    try:
        with build_opener(NoDowngrade).open(request, timeout=timeout_seconds) as response:
            total = _announced_bytes(response, remote)
            while block := response.read(BLOCK_BYTES):
                yield block
                done += len(block)
                if on_progress is not None:
                    on_progress(done, total or remote.size_bytes)
            if total is not None and done != total:
                raise URLError(f"the connection ended after {done} of {total} bytes")
    except (OSError, HTTPException) as error:
        raise ModelUnavailable(
            f"{what} could not be fetched from {_host(remote.url)} ({_reason(error)}): {REMEDY}"
        ) from error


def _announced_bytes(response: HTTPResponse, remote: RemoteFile) -> int | None:
    """Content-Length, if any. A web page instead of the file is a login page or an error."""
    if response.headers.get_content_type() == "text/html":
        raise URLError("the server answered with a web page instead of the file")
    length = response.headers.get("Content-Length")
    return int(length) if length is not None and length.isdigit() else None


def _reason(error: OSError | HTTPException) -> str:
    if isinstance(error, HTTPError):
        return f"the server answered {error.code} {error.reason}"
    if isinstance(error, TimeoutError):
        return "the server fell silent"
    reason = error.reason if isinstance(error, URLError) else error
    return str(getattr(reason, "strerror", None) or reason)


def _host(url: str) -> str:
    return urlsplit(url).netloc
