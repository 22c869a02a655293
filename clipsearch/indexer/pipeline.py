"""Read pictures ahead in threads and encode them in batches.

In: Candidates and an encoder. Out: a generator of EncodedBatch, in the candidates' order.
Writes nothing: whoever iterates commits, so that the encoding can happen elsewhere one day.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from clipsearch.errors import ImageError, ImageTooLarge
from clipsearch.images import MAX_PIXELS, Signature, content_hash, decode, signature
from clipsearch.indexer.scan import Candidate
from clipsearch.settings import Settings
from clipsearch.vectors import FloatArray

# A batch closes when it has used this much time or holds this many files, even if hardly any of
# them needs the model: that bounds what an interruption costs and how long a commit takes.
BATCH_SECONDS = 1.0
FILES_PER_BATCH = 512

VANISHED = "the file vanished before it was read"

Pixels = NDArray[np.uint8]
KnownVectors = Callable[[Iterable[bytes]], Mapping[bytes, FloatArray]]


class PixelEncoder(Protocol):
    """What indexing needs of a model."""

    @property
    def input_px(self) -> int: ...
    def preprocess(self, image: Any) -> Pixels:
        """Upright RGB picture → uint8 `[size, size, 3]`. Called from several threads."""
        ...

    def encode_pixels(self, pixels: Pixels) -> FloatArray:
        """uint8 `[n, size, size, 3]` → unit vectors `[n, dim]`."""
        ...


@dataclass(frozen=True)
class Pace:
    """How much is done at a time, and how large a picture may be."""

    batch_size: int
    decode_threads: int
    max_pixels: int

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """As the settings say, and where they say nothing."""
        max_pixels = settings.max_pixels or MAX_PIXELS
        return cls(settings.batch_size, settings.decode_threads, max_pixels)


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
    taken_at: str | None = None
    reason: str | None = None
    vanished: bool = False


@dataclass
class EncodedBatch:
    """Readings, and the vector of every usable one by content hash."""

    readings: list[Reading]
    vectors: dict[bytes, FloatArray] = field(default_factory=dict)
    n_encoded: int = 0


class Reader:
    """Reads one file at a time, from any thread: hash, pixels and facts, or why not."""

    def __init__(self, encoder: PixelEncoder, max_pixels: int, known: frozenset[bytes]) -> None:
        self.encoder = encoder
        self.max_pixels = max_pixels
        self.known = known  # contents that need no decoding

    def __call__(self, candidate: Candidate) -> Reading:
        """Read a file, and once more if it changes meanwhile."""
        for _ in range(2):
            reading, is_settled = self._read(candidate, self.known)
            if is_settled:
                return reading
        reason = "the file changed while it was read"
        return Reading(candidate, reading.signature, reading.read_ns, reason=reason)

    def decoded(self, reading: Reading) -> Reading:
        """The reading with its pixels, or with the reason why there are none."""
        if reading.pixels is not None or reading.reason is not None:
            return reading
        return self._read(reading.candidate, frozenset())[0]

    def _read(self, candidate: Candidate, known: frozenset[bytes]) -> tuple[Reading, bool]:
        path = candidate.file.path
        unread = Reading(candidate, candidate.file.signature, time.time_ns())
        try:
            unread = replace(unread, signature=_signature(path))
            reading = replace(unread, content_hash=content_hash(path))
            if reading.content_hash not in known:
                reading = self._decode(reading)
            return reading, _signature(path) == unread.signature
        except (FileNotFoundError, NotADirectoryError):
            return replace(unread, reason=VANISHED, vanished=True), True
        except OSError as error:
            reason = f"the file cannot be read: {error.strerror or error}"
            return replace(unread, reason=reason), True
        except ImageError as error:  # from the hash: not even the bytes can be had
            if not os.path.lexists(path):
                return replace(unread, reason=VANISHED, vanished=True), True
            return replace(unread, reason=str(error)), True

    def _decode(self, reading: Reading) -> Reading:
        path = reading.candidate.file.path
        try:
            decoded = decode(path, self.encoder.input_px, self.max_pixels)
        except ImageError as error:
            # How large it is says when it is worth another try.
            size = error.size if isinstance(error, ImageTooLarge) else None
            width, height = size or (None, None)
            return replace(reading, width=width, height=height, reason=str(error))
        return replace(
            reading,
            pixels=self.encoder.preprocess(decoded.image),
            width=decoded.width,
            height=decoded.height,
            taken_at=decoded.taken_at,
        )


def encoded_batches(
    candidates: Iterable[Candidate],
    encoder: PixelEncoder,
    known_vectors: KnownVectors,
    known: frozenset[bytes],
    pace: Pace,
) -> Generator[EncodedBatch]:
    """Read and encode all candidates; contents whose vector `known_vectors` has are not encoded.

    `known` are contents not worth decoding. Closing the generator stops its threads.
    """
    reader = Reader(encoder, pace.max_pixels, known)
    # Enough for one batch under way and one ready, whatever the threads do.
    readings = read_ahead(candidates, reader, pace.decode_threads, 2 * pace.batch_size)
    try:
        for batch in _batches(readings, pace.batch_size):
            yield _encoded(batch, reader, known_vectors)
    finally:
        readings.close()


def read_ahead(
    candidates: Iterable[Candidate],
    read: Callable[[Candidate], Reading],
    n_threads: int,
    window: int,
) -> _Readings:
    """Read in threads, at most `window` files ahead, and give the readings in order."""
    return _Readings(iter(candidates), read, n_threads, max(window, n_threads))


class _Readings(Iterator[Reading]):
    """An iterator with a `close`, which cancels what has not begun and waits for what has."""

    def __init__(
        self,
        candidates: Iterator[Candidate],
        read: Callable[[Candidate], Reading],
        n_threads: int,
        window: int,
    ) -> None:
        self.candidates, self.read, self.window = candidates, read, window
        self.pool = ThreadPoolExecutor(n_threads, thread_name_prefix="decode")
        self.pending: deque[Future[Reading]] = deque()

    def __next__(self) -> Reading:
        while len(self.pending) < self.window:
            candidate = next(self.candidates, None)
            if candidate is None:
                break
            self.pending.append(self.pool.submit(self.read, candidate))
        if not self.pending:
            raise StopIteration
        return self.pending.popleft().result()

    def close(self) -> None:
        self.pool.shutdown(wait=True, cancel_futures=True)


def _signature(path: os.PathLike[str]) -> Signature:
    return signature(os.stat(path))


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


def _encoded(readings: list[Reading], reader: Reader, known_vectors: KnownVectors) -> EncodedBatch:
    usable = {reading.content_hash for reading in readings if reading.reason is None}
    vectors = dict(known_vectors(usable))
    # The catalog may have lost what the scan counted on, so these few are decoded here and now.
    readings = [r if r.content_hash in vectors else reader.decoded(r) for r in readings]
    fresh = {
        reading.content_hash: reading.pixels
        for reading in readings
        if reading.pixels is not None and reading.content_hash not in vectors
    }
    if fresh:
        encoded = reader.encoder.encode_pixels(np.stack(list(fresh.values())))
        vectors |= dict(zip(fresh, encoded, strict=True))
    return EncodedBatch(readings, vectors, len(fresh))
