"""Read pictures ahead, in other processes, and encode them in batches.

In: Candidates and an encoder. Out: a generator of EncodedBatch, in the candidates' order.
Writes nothing: whoever iterates commits, so that the encoding can happen elsewhere one day.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Protocol, Self

from clipsearch.images import DECODER, MAX_PIXELS, Details, Signature, shown
from clipsearch.indexer.encoding import encode_each
from clipsearch.indexer.frames import Found, Pixels, Preprocess, Setup, Want
from clipsearch.indexer.limits import Limits
from clipsearch.indexer.scan import Candidate, Rules
from clipsearch.indexer.workers import Workers
from clipsearch.settings import Settings
from clipsearch.vectors import FloatArray

# A batch closes when it has used this much time or holds this many files, even if hardly any of
# them needs the model: that bounds what an interruption costs and how long a commit takes.
BATCH_SECONDS = 1.0
FILES_PER_BATCH = 512

KnownVectors = Callable[[Iterable[bytes]], Mapping[bytes, FloatArray]]


class PixelEncoder(Protocol):
    """What indexing needs of a model."""

    @property
    def input_px(self) -> int: ...
    @property
    def preprocess(self) -> Preprocess:
        """Upright RGB picture → uint8 `[size, size, 3]`. Pickled, and called in other processes."""

    def encode_pixels(self, pixels: Pixels) -> FloatArray:
        """uint8 `[n, size, size, 3]` → unit vectors `[n, dim]`."""
        ...


@dataclass(frozen=True)
class Pace:
    """How much is done at a time, and how much a picture may ask for."""

    batch_size: int
    decode_workers: int
    max_pixels: int
    limits: Limits

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """As the settings say, and where they say nothing."""
        max_pixels = settings.max_pixels or MAX_PIXELS
        return cls(settings.batch_size, settings.decode_workers, max_pixels, Limits.of(settings))

    @property
    def decoder(self) -> str:
        """What decides, beside the file itself, whether it can be read: worth another try if it
        changes."""
        return f"{DECODER}, {self.limits.memory_mb} MB, {self.limits.cpu_seconds} s"

    def rules(self, allow_missing: bool, verify: bool = False) -> Rules:
        """What decides over files, as the user confirmed or asked."""
        return Rules(self.max_pixels, allow_missing, verify, self.decoder)

    def setup(self, encoder: PixelEncoder | None, known: frozenset[bytes] = frozenset()) -> Setup:
        """What decoding workers have to know; contents that are `known` they need not decode.
        Without an encoder they read details only."""
        limits = self.limits
        return Setup(
            encoder.preprocess if encoder else None,
            encoder.input_px if encoder else 0,
            self.max_pixels,
            limits.memory_mb,
            limits.cpu_seconds,
            limits.file_bytes,
            known,
        )


@dataclass(frozen=True)
class Reading:
    """What became of one file. With a `reason` it could not be used; `vanished` needs no record.

    Without `pixels` and `reason` the content is one whose vector is known.
    """

    candidate: Candidate
    signature: Signature
    read_ns: int  # by the system's clock, before it was read
    content_hash: bytes = b""
    pixels: Pixels | None = None
    width: int | None = None
    height: int | None = None
    details: Details | None = None
    reason: str | None = None
    vanished: bool = False


@dataclass
class EncodedBatch:
    """Readings, and the vector of every usable one by content hash."""

    readings: list[Reading]
    vectors: dict[bytes, FloatArray] = field(default_factory=dict)
    n_encoded: int = 0


def encoded_batches(
    candidates: Iterable[Candidate],
    encoder: PixelEncoder,
    known_vectors: KnownVectors,
    workers: Workers,
    batch_size: int,
) -> Iterator[EncodedBatch]:
    """Read and encode all candidates; contents whose vector `known_vectors` has are not encoded.

    The workers have been told to begin.
    """
    # Enough for one batch under way and one ready, whatever the workers do.
    for batch in _batches(read_ahead(candidates, workers, 2 * batch_size), batch_size):
        yield _encoded(batch, encoder, known_vectors, workers)


def read_ahead(candidates: Iterable[Candidate], workers: Workers, window: int) -> Iterator[Reading]:
    """Read at most `window` files ahead, and give the readings in order."""
    waiting = iter(candidates)
    pending: deque[tuple[Candidate, Future[Found]]] = deque()
    while True:
        for candidate in islice(waiting, window - len(pending)):
            pending.append((candidate, workers.read(candidate.file.path)))
        if not pending:
            return
        candidate, future = pending.popleft()
        yield _reading(candidate, future.result())


def _reading(candidate: Candidate, found: Found) -> Reading:
    signature = candidate.file.signature
    if found.size is not None and found.mtime_ns is not None and found.ctime_ns is not None:
        signature = Signature(found.size, found.mtime_ns, found.ctime_ns)
    return Reading(
        candidate,
        signature,
        time.time_ns() if found.read_ns is None else found.read_ns,
        found.content_hash,
        found.pixels,
        found.width,
        found.height,
        found.details,
        found.reason,
        found.vanished,
    )


def _batches(readings: Iterable[Reading], batch_size: int) -> Iterator[list[Reading]]:
    batch: list[Reading] = []
    n_pixels, started = 0, time.monotonic()
    for reading in readings:
        batch.append(reading)
        n_pixels += reading.pixels is not None
        is_late = time.monotonic() - started > BATCH_SECONDS
        if n_pixels == batch_size or len(batch) == FILES_PER_BATCH or is_late:
            yield batch
            batch, n_pixels, started = [], 0, time.monotonic()
    if batch:
        yield batch


def _encoded(
    readings: list[Reading], encoder: PixelEncoder, known_vectors: KnownVectors, workers: Workers
) -> EncodedBatch:
    usable = {reading.content_hash for reading in readings if reading.reason is None}
    vectors = dict(known_vectors(usable))
    # The catalog may have lost what the scan counted on.
    again = {
        n: workers.read(reading.candidate.file.path, Want.PIXELS_EVEN_IF_KNOWN)
        for n, reading in enumerate(readings)
        if reading.pixels is None and reading.reason is None
        if reading.content_hash not in vectors
    }
    for n, future in again.items():
        readings[n] = _reading(readings[n].candidate, future.result())
    fresh = {
        reading.content_hash: reading.pixels
        for reading in readings
        if reading.pixels is not None and reading.content_hash not in vectors
    }
    encoded, failures = encode_each(fresh, encoder.encode_pixels)
    readings = [_without_failure(reading, failures) for reading in readings]
    return EncodedBatch(readings, vectors | encoded, len(encoded))


def _without_failure(reading: Reading, failures: Mapping[bytes, str]) -> Reading:
    """The reading, or if its picture cannot be encoded, one that says so."""
    if reading.content_hash not in failures or reading.reason is not None:
        return reading
    why = failures[reading.content_hash]
    reason = f"{shown(reading.candidate.file.path.name)} {why}"
    return replace(reading, pixels=None, width=None, height=None, details=None, reason=reason)
