"""What goes over the pipes comes out as it went in; what no worker says is not believed."""

from __future__ import annotations

import io
import json
import math
import pickle
import struct
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest

from clipsearch.images import Details
from clipsearch.indexer.frames import (
    Answer,
    Found,
    Nonsense,
    Want,
    WorkerDied,
    read_answer,
    read_request,
    write_answer,
    write_request,
)

PX = 4
DIGEST = bytes(range(16))
DETAILS = Details("jpeg", "2023-06-01T12:30:00", "+02:00", "X100", None, 48.5, -2.0, 6)
EMPTY: dict[str, Any] = asdict(Details())
VALUES: dict[str, Any] = {
    "kind": "found",
    "size": 1,
    "mtime_ns": 2,
    "ctime_ns": 3,
    "read_ns": 4,
    "content_hash": DIGEST.hex(),
    "width": 3,
    "height": 4,
    "details": EMPTY,
    "reason": None,
    "vanished": False,
}


def written(answer: Answer) -> bytes:
    pipe = io.BytesIO()
    write_answer(pipe, answer)
    return pipe.getvalue()


def heard(content: bytes) -> Answer:
    return read_answer(io.BytesIO(content), PX)


def frame(values: Any, pixels: bytes = b"") -> bytes:
    text = json.dumps(values).encode()
    return struct.pack("<II", len(text), len(pixels)) + text + pixels


def test_pixels_and_facts_arrive_whole() -> None:
    pixels = np.arange(PX * PX * 3, dtype=np.uint8).reshape(PX, PX, 3)
    found = Found(5, -6, 9, 10, DIGEST, pixels, 7, 8, DETAILS)
    answer = heard(written(Answer("found", found)))
    assert answer.found.pixels is not None and np.array_equal(answer.found.pixels, pixels)
    assert (answer.kind, answer.found.details) == ("found", DETAILS)
    assert (answer.found.size, answer.found.mtime_ns) == (5, -6)
    assert (answer.found.ctime_ns, answer.found.read_ns) == (9, 10)
    assert answer.found.content_hash == DIGEST


def test_a_reason_arrives_and_an_endless_one_is_cut() -> None:
    assert heard(written(Answer("found", Found(reason="x" * 10**6)))).found.reason == "x" * 1000
    assert heard(written(Answer("found", Found(reason="gone", vanished=True)))).found.vanished


def test_requests_arrive_in_order_until_the_pipe_ends() -> None:
    pipe = io.BytesIO()
    write_request(pipe, b"/a\xff\n.jpg")
    write_request(pipe, b"", want=Want.PIXELS_EVEN_IF_KNOWN)
    pipe.seek(0)
    assert read_request(pipe) == (b"/a\xff\n.jpg", Want.PIXELS)
    assert read_request(pipe) == (b"", Want.PIXELS_EVEN_IF_KNOWN)
    assert read_request(pipe) is None


def test_an_answer_that_is_cut_off_is_a_death() -> None:
    whole = frame(VALUES, bytes(3 * PX * PX))
    heard(whole)
    for length in range(len(whole)):
        with pytest.raises(WorkerDied):
            heard(whole[:length])


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "sing"},
        {"kind": ["found"]},
        {"content_hash": "00"},
        {"content_hash": "zz" * 16},
        {"content_hash": 5},
        {"size": True},
        {"size": 2**63},
        {"width": "3"},
        {"height": 1.5},
        {"reason": 5},
        {"reason": "\x1b[31m"},
        {"details": {"taken_at": "2023"}},
        {"details": list(EMPTY)},
        {"details": {**EMPTY, "taken_at": ["2023"]}},
        {"details": {**EMPTY, "camera": "\x1b[31m"}},
        {"details": {**EMPTY, "latitude": 1}},
        {"details": {**EMPTY, "longitude": math.inf}},
        {"details": {**EMPTY, "orientation": True}},
        {"details": {**EMPTY, "more": None}},
    ],
    ids=str,
)
def test_what_no_worker_says_is_nonsense(change: dict[str, Any]) -> None:
    with pytest.raises(Nonsense):
        heard(frame(VALUES | change))


@pytest.mark.parametrize(
    "change", [{"content_hash": ""}, {"width": None}, {"details": None}, {"reason": "bad"}]
)
def test_pixels_without_their_facts_are_nonsense(change: dict[str, Any]) -> None:
    with pytest.raises(Nonsense):
        heard(frame(VALUES | change, bytes(3 * PX * PX)))


@pytest.mark.parametrize(
    "content",
    [
        struct.pack("<II", 2**32 - 1, 0),
        struct.pack("<II", 5, 3 * PX * PX + 1),
        struct.pack("<II", 2, 0) + b"[]",
        struct.pack("<II", 2, 0) + b"\xff\xff",
        struct.pack("<II", 60_000, 0) + b"[" * 60_000,
        struct.pack("<II", 100, 0) + pickle.dumps(print).ljust(100),
    ],
)
def test_lengths_and_json_are_checked_before_they_are_believed(content: bytes) -> None:
    with pytest.raises(Nonsense):
        heard(content)
