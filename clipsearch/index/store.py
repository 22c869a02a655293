"""Index files: one immutable file a generation, whole and right or not looked into at all.

In: a folder, and whoever writes the content. Out: the file; later its header and content, or None
and a reason to build it anew. Knows nothing of the catalog, where the vectors are at home.

Layout: 4,096 bytes of prefix (magic, format, length of the header), header as JSON and SHA-256 of
both; then the content, which so begins on a page. The header holds the content's length and
SHA-256, so every byte of the file is covered.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import re
import shutil
import stat
import struct
from collections.abc import Callable, Collection, Iterable
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np
from numpy.typing import NDArray

from clipsearch.errors import VectorIndexError
from clipsearch.index.refusal import Refusal, RefusalReason, RefusedError
from clipsearch.index.verified import Verified

# Not text, and with both kinds of line end, so that no text-mode copy survives unnoticed.
MAGIC = b"\x93CSIDX\r\n"
FORMAT = 2
OPENING_BYTES = 4096
_PREFIX = struct.Struct("<8sII")  # magic, format, bytes of the header
_DIGEST_BYTES = hashlib.sha256().digest_size
_HEADER_BYTES = OPENING_BYTES - _PREFIX.size - _DIGEST_BYTES
_CHUNK_BYTES = 1 << 22
_NAME = re.compile(r"base-(\d{1,18})\.idx")
_TEMPORARY = re.compile(r"\.base-\d+\.idx\.\d+\.tmp")

Publishing = Callable[[], AbstractContextManager[None]]
Identity = tuple[int, str, str]  # what a file must be: generation, library's uuid, model's SHA-256
Payload = NDArray[np.uint8]
Loaded = TypeVar("Loaded")
Load = Callable[["GenerationHeader", Payload], Loaded]


@dataclass(frozen=True)
class GenerationHeader:
    """What an index file says of itself."""

    generation: int
    count: int
    dimension: int
    library_uuid: str
    model_sha256: str
    recipe: str
    through_vector_id: int  # every vector of the catalog up to this revision is inside
    # Of an approximate index only: how hard to search, how many vectors it was trained for, and the
    # recall@10 that was measured then, for pictures of the library and for questions unlike any.
    n_probes: int = 0
    n_candidates: int = 0
    margin: float | None = None  # of the estimates; without it every candidate is compared
    n_trained: int = 0
    recall: float | None = None
    recall_unlike: float | None = None


class Sink:
    """A file that is being written: counts and digests what goes into it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.n_bytes = 0
        self._digest = hashlib.sha256()

    def write(self, content: bytes) -> int:
        self._file.write(content)
        self._digest.update(content)
        self.n_bytes += len(content)
        return len(content)

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()


def generation_path(folder: Path, generation: int) -> Path:
    return folder / f"base-{generation}.idx"


def generations(folder: Path) -> list[int]:
    """The generations that have a file, oldest first; none if there is no folder."""
    try:
        names = os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise VectorIndexError(
            f"the index folder {_shown(folder)} cannot be read ({_why(error)}); make it readable"
        ) from error
    return sorted(int(match[1]) for match in map(_NAME.fullmatch, names) if match)


def write_generation(
    folder: Path,
    generation: int,
    write: Callable[[Sink], GenerationHeader],
    publishing: Publishing = nullcontext,
) -> Path:
    """Write an index file that is there whole, on disk, or not at all; returns its path.

    `write` puts the content into the sink, piece by piece, and says what it has put there. The file
    gets its name inside `publishing()`. Raises VectorIndexError if the disk does not take it, and
    whatever these two raise. One writer at a time.
    """
    path = generation_path(folder, generation)
    temporary = folder / f".{path.name}.{os.getpid()}.tmp"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            file.seek(OPENING_BYTES)
            sink = Sink(file)
            header = write(sink)
            file.seek(0)
            file.write(_opening(header, sink))
            file.flush()
            os.fsync(file.fileno())
        with publishing():
            os.replace(temporary, path)
            _sync_folder(folder)
    except OSError as error:
        raise VectorIndexError(
            f"the index file {_shown(path)} could not be written ({_why(error)}, "
            f"{_free_bytes(folder)}); free some space there or check its permissions; no picture "
            "is lost, and queries go on without it"
        ) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
    return path


def read_generation(
    folder: Path,
    load: Load[Loaded],
    *,
    library_uuid: str,
    model_sha256: str,
    verified: Verified | None = None,
    on_refusal: Callable[[Refusal], None] | None = None,
) -> tuple[GenerationHeader, Loaded] | None:
    """What `load` makes of the newest index file that is sound and of this library and model.

    None where there is no such file. Each file passed over goes to `on_refusal`; see
    `load_generation`. An older generation is as right as the newest, it only covers fewer vectors.
    """
    while True:
        known = generations(folder)
        for generation in reversed(known):
            identity = generation, library_uuid, model_sha256
            try:
                found = load_generation(folder, identity, load, verified)
            except FileNotFoundError:
                continue  # a writer has put a newer one in its place and taken this one away
            if not isinstance(found, Refusal):
                return found
            if on_refusal is not None:
                on_refusal(found)
        if generations(folder) == known:
            return None


def load_generation(
    folder: Path, expected: Identity, load: Load[Loaded], verified: Verified | None = None
) -> tuple[GenerationHeader, Loaded] | Refusal:
    """What `load` makes of one index file, or why it is not used.

    It gets the content as a view of the file, whose digest has been checked now, or earlier if
    `verified` remembers it; what it refuses with VectorIndexError is damaged. Raises
    FileNotFoundError if the file has gone.
    """
    path = generation_path(folder, expected[0])
    try:
        return _read(path, expected, load, verified)
    except FileNotFoundError:
        raise
    except RefusedError as refused:
        return Refusal(path, refused.reason, refused.detail)
    except OSError as error:
        return Refusal(path, RefusalReason.UNREADABLE, _why(error))


def read_header(folder: Path, *, library_uuid: str, model_sha256: str) -> GenerationHeader | None:
    """What the newest index file of this library and model says of itself, or None.

    Its content is not read: that it has the right length is all that is known of it.
    """
    for generation in reversed(generations(folder)):
        with suppress(OSError, RefusedError), _open(generation_path(folder, generation)) as file:
            return _expected_header(file, (generation, library_uuid, model_sha256))[0]
    return None


def prune_generations(
    folder: Path, keep: Collection[int], *, leftovers: bool = False
) -> list[Path]:
    """Remove the files of all other generations; returns what went.

    With `leftovers` also what interrupted writes left, which only somebody may ask for who knows
    that nobody is writing. Readers that have a file open keep it.
    """
    doomed = [generation_path(folder, g) for g in generations(folder) if g not in keep]
    return _removed([*doomed, *(_temporaries(folder) if leftovers else [])])


def remove_temporaries(folder: Path) -> list[Path]:
    """Remove what interrupted writes left; returns what went. See `prune_generations`."""
    return _removed(_temporaries(folder))


def _temporaries(folder: Path) -> list[Path]:
    with suppress(OSError):
        return [folder / name for name in os.listdir(folder) if _TEMPORARY.fullmatch(name)]
    return []


def _removed(doomed: Iterable[Path]) -> list[Path]:
    removed = []
    for path in doomed:
        with suppress(OSError):  # one that stays costs space and nothing else
            path.unlink()
            removed.append(path)
    return removed


def _opening(header: GenerationHeader, sink: Sink) -> bytes:
    """All that comes before the content: always OPENING_BYTES, filled up with blanks."""
    fields = asdict(header) | {"payload_bytes": sink.n_bytes, "payload_sha256": sink.sha256}
    text = json.dumps(fields, sort_keys=True).encode("ascii").ljust(_HEADER_BYTES)
    opening = _PREFIX.pack(MAGIC, FORMAT, len(text)) + text
    return opening + hashlib.sha256(opening).digest()


def _read(
    path: Path, expected: Identity, load: Load[Loaded], verified: Verified | None
) -> tuple[GenerationHeader, Loaded]:
    with _open(path) as file:
        header, n_bytes, sha256 = _expected_header(file, expected)
        before = os.fstat(file.fileno())
        if verified is None or not verified.knows(path, before, sha256):
            _check_payload(file, n_bytes, sha256)
            if verified is not None:
                verified.remember(path, before, sha256)
        payload = _mapped(file)
    try:
        return header, load(header, payload)
    except VectorIndexError as error:
        raise RefusedError(RefusalReason.DAMAGED, str(error)) from error


def _open(path: Path) -> BinaryIO:
    # Without O_NONBLOCK a FIFO of this name would hold the query up for ever.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    descriptor = os.open(path, flags)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise RefusedError(RefusalReason.FOREIGN, "not a regular file")
    return os.fdopen(descriptor, "rb")


def _expected_header(file: BinaryIO, expected: Identity) -> tuple[GenerationHeader, int, str]:
    """The header, with length and SHA-256 of the content. Refuses that of another file."""
    header, payload_bytes, payload_sha256 = _read_header(file)
    generation, library_uuid, model_sha256 = expected
    if header.generation != generation:
        detail = f"the file holds generation {header.generation}"
        raise RefusedError(RefusalReason.DAMAGED, detail)
    if header.library_uuid != library_uuid:
        detail = f"made for library {header.library_uuid}, not {library_uuid}"
        raise RefusedError(RefusalReason.OTHER_LIBRARY, detail)
    if header.model_sha256 != model_sha256:
        detail = f"made for model {header.model_sha256[:12]}, not {model_sha256[:12]}"
        raise RefusedError(RefusalReason.OTHER_MODEL, detail)
    present = os.fstat(file.fileno()).st_size - file.tell()
    if present != payload_bytes:
        reason = RefusalReason.TRUNCATED if present < payload_bytes else RefusalReason.DAMAGED
        raise RefusedError(reason, f"{present} bytes of content instead of {payload_bytes}")
    return header, payload_bytes, payload_sha256


def _read_header(file: BinaryIO) -> tuple[GenerationHeader, int, str]:
    prefix = file.read(_PREFIX.size)
    if not MAGIC.startswith(prefix[: len(MAGIC)]):
        raise RefusedError(RefusalReason.FOREIGN, "does not begin as an index file does")
    if len(prefix) < _PREFIX.size:
        raise RefusedError(RefusalReason.TRUNCATED, f"only {len(prefix)} bytes long")
    _, file_format, header_bytes = _PREFIX.unpack(prefix)
    if file_format > FORMAT:
        detail = f"format {file_format}, this version reads up to {FORMAT}"
        raise RefusedError(RefusalReason.NEWER_FORMAT, detail)
    if file_format < FORMAT:
        raise RefusedError(RefusalReason.OLDER_FORMAT, f"format {file_format}; build it anew")
    if header_bytes != _HEADER_BYTES:
        raise RefusedError(RefusalReason.DAMAGED, f"a header of {header_bytes} bytes")
    text, digest = file.read(header_bytes), file.read(_DIGEST_BYTES)
    if len(text) + len(digest) < header_bytes + _DIGEST_BYTES:
        raise RefusedError(RefusalReason.TRUNCATED, "ends inside its header")
    if hashlib.sha256(prefix + text).digest() != digest:
        raise RefusedError(RefusalReason.DAMAGED, "the header's digest is wrong")
    return _parsed(text)


def _parsed(text: bytes) -> tuple[GenerationHeader, int, str]:
    try:
        content: dict[str, Any] = json.loads(text)
        names = [field.name for field in fields(GenerationHeader) if field.name in content]
        header = GenerationHeader(**{name: content[name] for name in names})
        return header, int(content["payload_bytes"]), str(content["payload_sha256"])
    except (ValueError, TypeError, KeyError) as error:  # its digest is right, so a program wrote it
        raise RefusedError(RefusalReason.FOREIGN, f"an unknown header ({error})") from error


def _check_payload(file: BinaryIO, n_bytes: int, sha256: str) -> None:
    """Read the content once. Through the file and not the map, where a bad disk would kill us."""
    digest, buffer = hashlib.sha256(), memoryview(bytearray(min(_CHUNK_BYTES, n_bytes)))
    while n_bytes:
        n_read = file.readinto(buffer[:n_bytes])  # type: ignore[attr-defined]
        if not n_read:
            raise RefusedError(RefusalReason.TRUNCATED, "the file shrank while it was read")
        digest.update(buffer[:n_read])
        n_bytes -= n_read
    if digest.hexdigest() != sha256:
        raise RefusedError(RefusalReason.DAMAGED, "the content's digest is wrong")


def _mapped(file: BinaryIO) -> Payload:
    """The content where the system keeps it: only what is looked at is read from the disk."""
    view = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    return np.frombuffer(view, dtype=np.uint8)[OPENING_BYTES:]


def _sync_folder(folder: Path) -> None:
    """Make the new name itself durable."""
    if os.name != "posix":  # Windows cannot open a folder, and orders renames by itself
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _shown(path: Path) -> str:
    # A path need not be UTF-8, and a message must be.
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _free_bytes(folder: Path) -> str:
    try:
        return f"{shutil.disk_usage(folder).free:,} bytes free"
    except OSError:
        return "free space unknown"


def _why(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
