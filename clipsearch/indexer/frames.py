"""What the indexing process and its decoding workers say to each other over pipes.

To a worker go frames of bytes; the first is a pickled Setup, the others name a file each. From a
worker, which may have been taken over by a hostile picture, come only numbers, JSON and pixels,
checked in form and never unpickled.
"""

from __future__ import annotations

import json
import pickle
import struct
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import IO, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from clipsearch.images import HASH_BYTES

Pixels = NDArray[np.uint8]
Preprocess = Callable[[Any], Pixels]
Kind = Literal["ready", "failed", "content", "found"]

_REQUEST = struct.Struct("<IB")  # bytes that follow, whether known contents are decoded too
_ANSWER = struct.Struct("<II")  # bytes of JSON and of pixels that follow
_MAX_JSON = 1 << 16
_MAX_TEXT = 1000  # characters of a reason


class WorkerDied(Exception):
    """A worker has ended. Never leaves the indexer."""


class Nonsense(WorkerDied):
    """It lives, but cannot be understood."""


@dataclass(frozen=True)
class Setup:
    """What a worker has to know before the first file. `preprocess` must survive pickling."""

    preprocess: Preprocess
    input_px: int
    max_pixels: int
    memory_mb: int
    cpu_seconds: int
    file_bytes: int
    known: frozenset[bytes] = frozenset()  # contents that need no decoding


@dataclass(frozen=True)
class Found:
    """What a worker found in one file, read at `read_ns` by the system's clock or later.

    Size and times are None if it could not even look.
    """

    size: int | None = None
    mtime_ns: int | None = None
    ctime_ns: int | None = None
    read_ns: int | None = None
    content_hash: bytes = b""
    pixels: Pixels | None = None
    width: int | None = None
    height: int | None = None
    taken_at: str | None = None
    reason: str | None = None
    vanished: bool = False


@dataclass(frozen=True)
class Answer:
    """What a worker says. "content" goes before the decoding: should it be the last word, the
    content that was the end of the worker is known."""

    kind: Kind
    found: Found = Found()


def write_request(pipe: IO[bytes], payload: bytes, even_if_known: bool = False) -> None:
    """One frame to a worker. Raises OSError if there is nobody to read it."""
    _write_all(pipe, _REQUEST.pack(len(payload), even_if_known) + payload)


def read_request(pipe: IO[bytes]) -> tuple[bytes, bool] | None:
    """The next frame, None when there will be none."""
    head = pipe.read(_REQUEST.size)
    if len(head) < _REQUEST.size:
        return None
    length, even_if_known = _REQUEST.unpack(head)
    payload = pipe.read(length)
    return (payload, bool(even_if_known)) if len(payload) == length else None


def pack_setup(setup: Setup) -> bytes:
    """Raises what pickling raises for an encoder whose preprocessing cannot be pickled."""
    return pickle.dumps(setup, protocol=pickle.HIGHEST_PROTOCOL)


def unpack_setup(payload: bytes) -> Setup:
    """The inverse, for the worker only: it believes its parent."""
    setup = pickle.loads(payload)
    assert isinstance(setup, Setup)
    return setup


def write_answer(pipe: IO[bytes], answer: Answer) -> None:
    """One frame to the parent."""
    pixels = answer.found.pixels
    values = asdict(replace(answer.found, pixels=None)) | {"kind": answer.kind}
    values["content_hash"] = answer.found.content_hash.hex()
    values["reason"] = answer.found.reason and answer.found.reason[:_MAX_TEXT]
    del values["pixels"]
    text = json.dumps(values).encode()
    raw = b"" if pixels is None else np.ascontiguousarray(pixels).data.cast("B")
    _write_all(pipe, _ANSWER.pack(len(text), len(raw)) + text)
    _write_all(pipe, raw)


def read_answer(pipe: IO[bytes], input_px: int) -> Answer:
    """The next frame, with pixels `[input_px, input_px, 3]` or none. Raises WorkerDied."""
    n_text, n_raw = _ANSWER.unpack(_read_exactly(pipe, _ANSWER.size))
    if n_text > _MAX_JSON or n_raw not in (0, 3 * input_px**2):
        raise Nonsense("an answer of impossible length")
    text = _read_exactly(pipe, n_text)
    pixels = None
    if n_raw:
        pixels = np.empty((input_px, input_px, 3), dtype=np.uint8)
        _read_into(pipe, pixels.data.cast("B"))
    try:
        values = json.loads(text)
        content_hash = bytes.fromhex(values["content_hash"])
        return Answer(values["kind"], _checked(values, content_hash, pixels))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise Nonsense("an answer that is no answer") from error


def _checked(values: dict[str, Any], content_hash: bytes, pixels: Pixels | None) -> Found:
    names = ("size", "mtime_ns", "ctime_ns", "read_ns", "width", "height")
    numbers = {name: values[name] for name in names}
    texts = {name: values[name] for name in ("taken_at", "reason")}
    for number in numbers.values():
        if number is not None and (type(number) is not int or abs(number) >= 2**63):
            raise ValueError
    for text in texts.values():
        if text is not None and (not isinstance(text, str) or not text.isprintable()):
            raise ValueError
    if len(content_hash) not in (0, HASH_BYTES) or values["kind"] not in get_args(Kind):
        raise ValueError
    is_whole = pixels is None or (content_hash and None not in numbers.values())
    if not is_whole or (pixels is not None and texts["reason"] is not None):
        raise ValueError
    return Found(
        content_hash=content_hash,
        pixels=pixels,
        vanished=values["vanished"] is True,
        **numbers,
        **texts,
    )


def _write_all(pipe: IO[bytes], content: bytes | memoryview) -> None:
    rest = memoryview(content)
    while rest:  # an unbuffered pipe may take only a part
        rest = rest[pipe.write(rest) :]


def _read_exactly(pipe: IO[bytes], n: int) -> bytes:
    content = bytearray(n)
    _read_into(pipe, memoryview(content))
    return bytes(content)


def _read_into(pipe: IO[bytes], rest: memoryview) -> None:
    while rest:
        n = pipe.readinto(rest)  # type: ignore[attr-defined]  # all pipes have it
        if not n:
            raise WorkerDied("the pipe has ended")
        rest = rest[n:]
