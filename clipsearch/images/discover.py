"""Find the pictures below a folder.

In: a root. Out: ImageFiles in the order of their relative paths. Judges by name and stat only: it
opens no file, and knows nothing of formats or of what was found before.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from clipsearch.errors import FolderError
from clipsearch.images.opening import shown

# What decode.FORMATS reads, by the names that such files go by. Compared in lower case.
EXTENSIONS = frozenset(
    b".jpg .jpeg .jpe .jfif .png .webp .gif .bmp .tif .tiff .jp2 .pnm .ppm .pgm".split()
)
# A library can lie among the pictures; what it holds is not part of the collection.
LIBRARY_SUFFIX = b".clipsearch"
_LAST_NS = 2**63 - 1


@dataclass(frozen=True)
class ImageFile:
    """A regular file with a picture's extension."""

    path: Path  # absolute
    relative_path: bytes  # from the root, '/'-separated
    size: int  # bytes
    mtime_ns: int


@dataclass(frozen=True)
class Skipped:
    """Something that could not be looked at. `reason` is one line; it does not repeat the path."""

    path: Path
    reason: str


def signature(status: os.stat_result) -> tuple[int, int]:
    """Size and time of the last change in nanoseconds: what tells whether a file has changed.

    Times beyond the year 2262 do not fit 64 bits, which is what databases keep, and are cut off.
    """
    return status.st_size, max(-_LAST_NS, min(status.st_mtime_ns, _LAST_NS))


def discover(root: Path, on_problem: Callable[[Skipped], None]) -> Iterator[ImageFile]:
    """Walk a folder, sorted by relative path as bytes.

    Raises FolderError at once if the root cannot be read. Hidden files and folders and libraries
    are passed over; links to files are followed, links to folders are not. Whatever looks like a
    picture but cannot be reached, or is no regular file, goes to `on_problem`.
    """
    top = os.path.abspath(os.fsencode(root))
    try:
        names = _names(top)
    except FileNotFoundError as error:
        raise FolderError(f"there is no folder {shown(top)}: check the spelling") from error
    except NotADirectoryError as error:
        raise FolderError(f"{shown(top)} is not a folder: name the folder that holds it") from error
    except OSError as error:
        raise FolderError(
            f"the folder {shown(top)} cannot be read ({_why(error)}): "
            "check its permissions and its drive"
        ) from error
    except ValueError as error:  # a NUL in the path
        raise FolderError(f"{shown(top)} is not a path: correct it") from error
    return _walk(top, names, on_problem)


def _walk(
    top: bytes, names: list[bytes], on_problem: Callable[[Skipped], None]
) -> Iterator[ImageFile]:
    pending = [(b"", iter(names))]  # a stack instead of recursion: folders nest deeper than Python
    while pending:
        prefix, rest = pending[-1]
        name = next(rest, None)
        if name is None:
            pending.pop()
            continue
        relative = prefix + name
        path = os.path.join(top, relative)
        if not name.endswith(b"/"):
            yield from _file(path, relative, on_problem)
            continue
        try:
            pending.append((relative, iter(_names(path))))
        except OSError as error:
            problem = f"the folder cannot be read ({_why(error)}); check its permissions"
            on_problem(Skipped(_path(path), problem))


def _names(folder: bytes) -> list[bytes]:
    """What is worth a look in a folder, sorted.

    Folders end in '/', which sorts them as whole paths sort.
    """
    with os.scandir(folder) as entries:
        return sorted(name for name in map(_wanted, entries) if name)


def _wanted(entry: os.DirEntry[bytes]) -> bytes:
    if entry.name.startswith(b"."):
        return b""
    if entry.is_dir(follow_symlinks=False):
        return b"" if entry.name.endswith(LIBRARY_SUFFIX) else entry.name + b"/"
    extension = os.path.splitext(entry.name)[1].lower()
    return entry.name if extension in EXTENSIONS else b""


def _file(
    path: bytes, relative: bytes, on_problem: Callable[[Skipped], None]
) -> Iterator[ImageFile]:
    try:
        status = os.stat(path)  # through links; never opens, so a FIFO cannot stop us
    except FileNotFoundError:
        reason = "the file went away, or the link leads nowhere; remove the link or index again"
        on_problem(Skipped(_path(path), reason))
        return
    except OSError as error:
        on_problem(Skipped(_path(path), f"cannot be reached ({_why(error)})"))
        return
    if stat.S_ISREG(status.st_mode):
        yield ImageFile(_path(path), relative, *signature(status))
    elif not stat.S_ISDIR(status.st_mode):
        on_problem(Skipped(_path(path), "not a regular file (a pipe, socket or device)"))


def _path(path: bytes) -> Path:
    return Path(os.fsdecode(path))


def _why(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
