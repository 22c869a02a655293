"""One file from the web to the disk: whole, verified, or not at all.

In: a RemoteFile. Out: a path whose SHA-256 has been checked. Knows nothing of what the file holds.
What has arrived lies beside it as `.part` until all is there, and the next attempt goes on from it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from clipsearch.clip.cache import ModelCache, sha256_of
from clipsearch.clip.published import RemoteFile
from clipsearch.clip.transfer import (
    TIMEOUT_SECONDS,
    Download,
    Interrupted,
    Transfer,
    Unfit,
)
from clipsearch.errors import ChecksumMismatch, ModelError, ModelUnavailable
from clipsearch.fetching import host

# A server that cuts the connection is asked again as long as each attempt brings at least this.
WORTH_ANOTHER_BYTES = 1024 * 1024

# What may bring a file that has no published SHA-256.
VOUCHED = ("https://",)

REMEDY = (
    "choose `--model mini`, the bundled model that knows drawings,"
    " or `--model FILE` with weights that are already on disk"
)


def fetch(
    remote: RemoteFile,
    file_name: str,
    what: str,
    cache: ModelCache,
    timeout_seconds: float = TIMEOUT_SECONDS,
) -> Path:
    """Have `file_name` in the cache, downloaded unless it lies there whole.

    `what` names it in messages ("the model ViT-B/32"). While one process downloads, others wait.
    A file without a published SHA-256 is believed the first time, if it comes over https and
    whole; its SHA-256 is kept in `file_name.sha256`, and from then on enforced.

    Raises ModelUnavailable if it cannot be had, ChecksumMismatch if its bytes are not the published
    ones, ModelError if it cannot be stored.
    """
    target = cache.folder / file_name
    if _is_whole(target, remote):
        return target
    address = cache.address(remote, file_name)
    if cache.offline:
        state = "lies here damaged" if target.is_file() else "is not on this machine"
        raise ModelUnavailable(
            f"{what} {state}, and offline mode forbids fetching it from {address}: {REMEDY}"
        )
    if _expected(target, remote) is None and not address.startswith(VOUCHED):
        raise ModelUnavailable(
            f"{what} has no published SHA-256, and {address} is not encrypted, so nothing would"
            " vouch for it: fetch it over https"
        )
    with _storing(what, cache.folder):
        cache.folder.mkdir(parents=True, exist_ok=True)
        lock = in_turn(target.with_name(f".{file_name}.lock"), cache)
        try:
            if not _is_whole(target, remote):  # else whoever was waited for has fetched it
                transfer = Transfer(address, remote.size_bytes, cache.on_progress, timeout_seconds)
                _download(target, remote, what, transfer)
        finally:
            lock.release()
    return target


def in_turn(lock_file: Path, cache: ModelCache) -> FileLock:
    """A lock that is held; where another process has it, say so before waiting. Raises OSError."""
    lock = FileLock(lock_file)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        if cache.on_progress is not None:
            cache.on_progress(Download(0, 0, is_waiting=True))
        lock.acquire()
    return lock


def part_of(target: Path) -> Path:
    """Where the bytes of an unfinished download lie."""
    return target.with_name(target.name + ".part")


def _pin_of(target: Path) -> Path:
    """Where the SHA-256 of a file is kept for which nobody has published one."""
    return target.with_name(target.name + ".sha256")


def _expected(target: Path, remote: RemoteFile) -> str | None:
    if remote.sha256 is not None:
        return remote.sha256
    try:
        return _pin_of(target).read_text(encoding="ascii").strip() or None
    except (OSError, UnicodeDecodeError):
        return None


def _is_whole(target: Path, remote: RemoteFile) -> bool:
    expected = _expected(target, remote)
    return expected is not None and target.is_file() and sha256_of(target) == expected


@contextmanager
def _storing(what: str, folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:  # the network's own have become Interrupted by now
        raise ModelError(
            f"{what} cannot be stored in {folder} ({error.strerror or error}):"
            " free the space or choose another cache folder with CLIPSEARCH_CACHE"
        ) from error


def _download(target: Path, remote: RemoteFile, what: str, transfer: Transfer) -> None:
    """Fetch into the `.part`, verify it on the disk, and only then give it its name."""
    part, expected = part_of(target), _expected(target, remote)
    if expected is None:
        # Bytes of two attempts could be of two files, and nothing would tell.
        part.unlink(missing_ok=True)
    resumed = part.is_file() and part.stat().st_size > 0
    _check_space(part, remote, what)
    try:
        _transfer(part, transfer, what, may_resume=expected is not None)
        found = sha256_of(part)
        if resumed and found != expected:  # the beginning may have been of another file
            part.unlink()
            _transfer(part, transfer, what, may_resume=True)
            found = sha256_of(part)
    except ModelUnavailable:
        if expected is None:
            part.unlink(missing_ok=True)
        raise
    if expected is not None and found != expected:
        part.unlink()
        raise ChecksumMismatch(
            f"{what}, fetched from {host(transfer.url)}, has the SHA-256 {found[:12]}… where"
            f" {expected[:12]}… was expected, so it is not used: try again later or from another"
            " network"
        )
    if remote.sha256 is None:
        _pin_of(target).write_text(found + "\n", encoding="ascii")
    part.replace(target)
    sync_folder(target.parent)


def _transfer(part: Path, transfer: Transfer, what: str, may_resume: bool) -> None:
    """Bring the part to its full length, over as many connections as that takes."""
    while True:
        before = _size(part)
        try:
            transfer.run(part)
            return
        except Unfit as error:
            raise ModelUnavailable(_unavailable(what, transfer.url, error)) from error
        except Interrupted as error:
            size = _size(part)
            if may_resume and size - before >= WORTH_ANOTHER_BYTES:
                continue
            message = _unavailable(what, transfer.url, error)
            if may_resume and size:
                message += "; what has arrived is kept, and the next attempt goes on from there"
            raise ModelUnavailable(message) from error


def _unavailable(what: str, url: str, reason: Exception) -> str:
    return f"{what} could not be fetched from {host(url)} ({reason}): {REMEDY}"


def _check_space(part: Path, remote: RemoteFile, what: str) -> None:
    missing = remote.size_bytes - _size(part)
    free = shutil.disk_usage(part.parent).free
    if free < missing:
        raise ModelError(
            f"{what} needs {missing:,} more bytes in {part.parent}, where {free:,} are free:"
            " free the space or choose another cache folder with CLIPSEARCH_CACHE"
        )


def _size(part: Path) -> int:
    return part.stat().st_size if part.is_file() else 0


def sync_folder(folder: Path) -> None:
    """Make a rename last. Windows cannot open folders and needs no help."""
    if os.name != "nt":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
