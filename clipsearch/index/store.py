"""Index files: one immutable file a generation, whole and right or not read at all.

In: a folder, an index, a header. Out: the file; later the header and the index, or None and a
reason to build it anew. Knows nothing of the catalog, where the vectors are at home.

Layout: prefix (magic, format, length of the header), header as JSON, SHA-256 of both, payload. The
header holds the payload's length and SHA-256, so every byte of the file is covered.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import stat
import struct
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from pathlib import Path
from typing import Any, BinaryIO

from clipsearch.errors import VectorIndexError
from clipsearch.index.faiss import FaissIndex

# Not text, and with both kinds of line end, so that no text-mode copy survives unnoticed.
MAGIC = b"\x93CSIDX\r\n"
FORMAT = 1
_PREFIX = struct.Struct("<8sII")  # magic, format, bytes of the header
_DIGEST_BYTES = hashlib.sha256().digest_size
_MAX_HEADER_BYTES = 1 << 16
_CHUNK_BYTES = 1 << 22
_NAME = re.compile(r"base-(\d{1,18})\.idx")
_TEMPORARY = re.compile(r"\.base-\d+\.idx\.\d+\.tmp")

Identity = tuple[int, str, str]  # what a file must be: generation, library's uuid, model's SHA-256


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


class RefusalReason(StrEnum):
    """Why an index file was not used."""

    UNREADABLE = "unreadable"  # the system would not let us
    FOREIGN = "foreign"  # not an index file
    NEWER_FORMAT = "newer format"
    TRUNCATED = "truncated"
    DAMAGED = "damaged"
    OTHER_LIBRARY = "other library"
    OTHER_MODEL = "other model"


@dataclass(frozen=True)
class Refusal:
    """An index file that was passed over."""

    path: Path
    reason: RefusalReason
    detail: str


class _RefusedError(Exception):
    def __init__(self, reason: RefusalReason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


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


def write_generation(folder: Path, index: FaissIndex, header: GenerationHeader) -> Path:
    """Write an index file that is there whole, on disk, or not at all; returns its path.

    Raises VectorIndexError if the header does not fit the index or the disk does not take it. One
    writer at a time.
    """
    if (header.count, header.dimension) != (len(index), index.dimension):
        raise VectorIndexError(
            f"the header says {header.count} vectors of {header.dimension} dimensions, the index "
            f"has {len(index)} of {index.dimension}; build the header from the index"
        )
    payload = index.to_bytes()
    path = generation_path(folder, header.generation)
    temporary = folder / f".{path.name}.{os.getpid()}.tmp"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            file.write(_opening(header, payload))
            file.write(payload)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _sync_folder(folder)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise VectorIndexError(
            f"the index file {_shown(path)} could not be written ({_why(error)}, "
            f"{_free_bytes(folder)}); free some space there or check its permissions; no picture "
            "is lost, and queries go on without it"
        ) from error
    return path


def read_generation(
    folder: Path,
    *,
    library_uuid: str,
    model_sha256: str,
    on_refusal: Callable[[Refusal], None] | None = None,
) -> tuple[GenerationHeader, FaissIndex] | None:
    """The newest index file that is sound and of this library and model, or None.

    Each file passed over goes to `on_refusal`. An older generation is as right as the newest, it
    only covers fewer vectors.
    """
    while True:
        known = generations(folder)
        for generation in reversed(known):
            try:
                found = load_generation(folder, (generation, library_uuid, model_sha256))
            except FileNotFoundError:
                continue  # a writer has put a newer one in its place and taken this one away
            if not isinstance(found, Refusal):
                return found
            if on_refusal is not None:
                on_refusal(found)
        if generations(folder) == known:
            return None


def load_generation(
    folder: Path, expected: Identity
) -> tuple[GenerationHeader, FaissIndex] | Refusal:
    """One index file, or why it is not used. Raises FileNotFoundError if it has gone."""
    path = generation_path(folder, expected[0])
    try:
        return _read(path, expected)
    except FileNotFoundError:
        raise
    except _RefusedError as refused:
        return Refusal(path, refused.reason, refused.detail)
    except OSError as error:
        return Refusal(path, RefusalReason.UNREADABLE, _why(error))


def read_header(folder: Path, *, library_uuid: str, model_sha256: str) -> GenerationHeader | None:
    """What the newest index file of this library and model says of itself, or None.

    Its content is not read: that it has the right length is all that is known of it.
    """
    for generation in reversed(generations(folder)):
        with suppress(OSError, _RefusedError), _open(generation_path(folder, generation)) as file:
            return _expected_header(file, (generation, library_uuid, model_sha256))[0]
    return None


def prune_generations(folder: Path, keep: Collection[int]) -> list[Path]:
    """Remove the files of all other generations and what interrupted writes left.

    Returns what went.

    Only for the one writer. Readers that have a file open keep it.
    """
    doomed = [generation_path(folder, g) for g in generations(folder) if g not in keep]
    return _removed([*doomed, *_temporaries(folder)])


def remove_temporaries(folder: Path) -> list[Path]:
    """Remove what interrupted writes left; returns what went. Only for the one writer."""
    return _removed(_temporaries(folder))


def _temporaries(folder: Path) -> list[Path]:
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return []
    return [folder / name for name in names if _TEMPORARY.fullmatch(name)]


def _removed(doomed: Iterable[Path]) -> list[Path]:
    removed = []
    for path in doomed:
        with suppress(OSError):  # one that stays costs space and nothing else
            path.unlink()
            removed.append(path)
    return removed


def _opening(header: GenerationHeader, payload: bytes) -> bytes:
    """All that comes before the payload."""
    fields = asdict(header) | {
        "payload_bytes": len(payload),
        "payload_sha256": hashlib.sha256(payload).hexdigest(),
    }
    text = json.dumps(fields, sort_keys=True).encode("ascii")
    opening = _PREFIX.pack(MAGIC, FORMAT, len(text)) + text
    return opening + hashlib.sha256(opening).digest()


def _read(path: Path, expected: Identity) -> tuple[GenerationHeader, FaissIndex]:
    with _open(path) as file:
        header, payload_bytes, payload_sha256 = _expected_header(file, expected)
        payload = _read_payload(file, payload_bytes, payload_sha256)
    try:
        index = FaissIndex.from_bytes(payload)
    except VectorIndexError as error:
        raise _RefusedError(RefusalReason.DAMAGED, str(error)) from error
    if (len(index), index.dimension) != (header.count, header.dimension):
        detail = f"{len(index)} vectors where the header says {header.count}"
        raise _RefusedError(RefusalReason.DAMAGED, detail)
    return header, index


def _open(path: Path) -> BinaryIO:
    # Without O_NONBLOCK a FIFO of this name would hold the query up for ever.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    descriptor = os.open(path, flags)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise _RefusedError(RefusalReason.FOREIGN, "not a regular file")
    return os.fdopen(descriptor, "rb")


def _expected_header(file: BinaryIO, expected: Identity) -> tuple[GenerationHeader, int, str]:
    """The header, with length and SHA-256 of the content. Refuses that of another file."""
    header, payload_bytes, payload_sha256 = _read_header(file)
    generation, library_uuid, model_sha256 = expected
    if header.generation != generation:
        detail = f"the file holds generation {header.generation}"
        raise _RefusedError(RefusalReason.DAMAGED, detail)
    if header.library_uuid != library_uuid:
        detail = f"made for library {header.library_uuid}, not {library_uuid}"
        raise _RefusedError(RefusalReason.OTHER_LIBRARY, detail)
    if header.model_sha256 != model_sha256:
        detail = f"made for model {header.model_sha256[:12]}, not {model_sha256[:12]}"
        raise _RefusedError(RefusalReason.OTHER_MODEL, detail)
    present = os.fstat(file.fileno()).st_size - file.tell()
    if present != payload_bytes:
        reason = RefusalReason.TRUNCATED if present < payload_bytes else RefusalReason.DAMAGED
        raise _RefusedError(reason, f"{present} bytes of content instead of {payload_bytes}")
    return header, payload_bytes, payload_sha256


def _read_header(file: BinaryIO) -> tuple[GenerationHeader, int, str]:
    prefix = file.read(_PREFIX.size)
    if not MAGIC.startswith(prefix[: len(MAGIC)]):
        raise _RefusedError(RefusalReason.FOREIGN, "does not begin as an index file does")
    if len(prefix) < _PREFIX.size:
        raise _RefusedError(RefusalReason.TRUNCATED, f"only {len(prefix)} bytes long")
    _, file_format, header_bytes = _PREFIX.unpack(prefix)
    if file_format > FORMAT:
        detail = f"format {file_format}, this version reads up to {FORMAT}"
        raise _RefusedError(RefusalReason.NEWER_FORMAT, detail)
    if header_bytes > _MAX_HEADER_BYTES:
        raise _RefusedError(RefusalReason.DAMAGED, f"a header of {header_bytes} bytes")
    text, digest = file.read(header_bytes), file.read(_DIGEST_BYTES)
    if len(text) + len(digest) < header_bytes + _DIGEST_BYTES:
        raise _RefusedError(RefusalReason.TRUNCATED, "ends inside its header")
    if hashlib.sha256(prefix + text).digest() != digest:
        raise _RefusedError(RefusalReason.DAMAGED, "the header's digest is wrong")
    return _parsed(text)


def _parsed(text: bytes) -> tuple[GenerationHeader, int, str]:
    try:
        content: dict[str, Any] = json.loads(text)
        header = GenerationHeader(**{f.name: content[f.name] for f in fields(GenerationHeader)})
        return header, int(content["payload_bytes"]), str(content["payload_sha256"])
    except (ValueError, TypeError, KeyError) as error:  # its digest is right, so a program wrote it
        raise _RefusedError(RefusalReason.FOREIGN, f"an unknown header ({error})") from error


def _read_payload(file: BinaryIO, n_bytes: int, sha256: str) -> bytearray:
    # The length was compared before memory is asked for; the same bytes are hashed and parsed.
    payload = bytearray(n_bytes)
    digest, rest = hashlib.sha256(), memoryview(payload)
    while rest:
        n_read = file.readinto(rest[:_CHUNK_BYTES])  # type: ignore[attr-defined]
        if not n_read:
            raise _RefusedError(RefusalReason.TRUNCATED, "the file shrank while it was read")
        digest.update(rest[:n_read])
        rest = rest[n_read:]
    if digest.hexdigest() != sha256:
        raise _RefusedError(RefusalReason.DAMAGED, "the content's digest is wrong")
    return payload


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
