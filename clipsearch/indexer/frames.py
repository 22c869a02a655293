"""What the indexing process and its decoding workers say to each other over pipes.

To a worker go frames of bytes; the first is a pickled Setup, the others name a file each. From a
worker, which may have been taken over by a hostile picture, come only numbers, JSON and pixels,
checked in form and never unpickled.
"""

from __future__ import annotations

import json
import math
import pickle
import struct
from collections.abc import Callable
from dataclasses import dataclass, fields
from enum import IntEnum
from typing import IO, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from clipsearch.images import HASH_BYTES, Details

Pixels = NDArray[np.uint8]
Preprocess = Callable[[Any], Pixels]
Kind = Literal["ready", "failed", "content", "found"]

_REQUEST = struct.Struct("<IB")  # bytes that follow, what is wanted of the file
_ANSWER = struct.Struct("<II")  # bytes of JSON and of pixels that follow
_MAX_JSON = 1 << 16
_DETAILS = {field.name for field in fields(Details)}
_MAX_TEXT = 1000  # characters of a reason


class Want(IntEnum):
    """What is to be read of a file."""

    PIXELS = 0  # unless its content is known
    PIXELS_EVEN_IF_KNOWN = 1
    DETAILS = 2  # from its header alone, which is not hashed


class WorkerDied(Exception):
    """A worker has ended. Never leaves the indexer."""


class Nonsense(WorkerDied):
    """It lives, but cannot be understood."""


@dataclass(frozen=True)
class Setup:
    """What a worker has to know before the first file. `preprocess` must survive pickling; without
    one no pixels can be asked for."""

    preprocess: Preprocess | None
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
    details: Details | None = None
    reason: str | None = None
    vanished: bool = False


@dataclass(frozen=True)
class Answer:
    """What a worker says. "content" goes before the decoding: should it be the last word, the
    content that was the end of the worker is known."""

    kind: Kind
    found: Found = Found()


def write_request(pipe: IO[bytes], payload: bytes, want: Want = Want.PIXELS) -> None:
    """One frame to a worker. Raises OSError if there is nobody to read it."""
    _write_all(pipe, _REQUEST.pack(len(payload), want) + payload)


def read_request(pipe: IO[bytes]) -> tuple[bytes, Want] | None:
    """The next frame, None when there will be none."""
    head = pipe.read(_REQUEST.size)
    if len(head) < _REQUEST.size:
        return None
    length, want = _REQUEST.unpack(head)
    payload = pipe.read(length)
    return (payload, Want(want)) if len(payload) == length else None


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
    found, pixels = answer.found, answer.found.pixels
    values = {
        **vars(found),
        "kind": answer.kind,
        "content_hash": found.content_hash.hex(),
        "reason": found.reason and found.reason[:_MAX_TEXT],
        "details": found.details and vars(found.details),
    }
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
    reason, details = values["reason"], values["details"]
    if not (all(map(_is_whole, numbers.values())) and _is_text(reason)):
        raise ValueError
    if len(content_hash) not in (0, HASH_BYTES) or values["kind"] not in get_args(Kind):
        raise ValueError
    is_whole = pixels is None or (content_hash and details and None not in numbers.values())
    if not is_whole or (pixels is not None and reason is not None):
        raise ValueError
    return Found(
        content_hash=content_hash,
        pixels=pixels,
        vanished=values["vanished"] is True,
        reason=reason,
        details=None if details is None else _checked_details(details),
        **numbers,
    )


def _checked_details(values: object) -> Details:
    if not isinstance(values, dict) or values.keys() != _DETAILS:
        raise ValueError
    for name, value in values.items():
        if name == "orientation":
            is_sane = _is_whole(value)
        elif name in ("latitude", "longitude"):
            is_sane = value is None or (type(value) is float and math.isfinite(value))
        else:
            is_sane = _is_text(value)
        if not is_sane:
            raise ValueError
    return Details(**values)


def _is_whole(value: object) -> bool:
    return value is None or (type(value) is int and abs(value) < 2**63)


def _is_text(value: object) -> bool:
    return value is None or (isinstance(value, str) and value.isprintable())


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
