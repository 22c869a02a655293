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
# As long as some file systems take to notice that time has passed (FAT counts in two seconds).
_TICK_NS = 2 * 10**9

Listing = tuple[tuple[int, int], list[bytes]]  # device and number of a folder, and names in it


@dataclass(frozen=True, slots=True)
class Signature:
    """What tells whether a file has changed: its size, and the times of the last change of its
    content, which anyone may set, and of its entry, which only the system sets."""

    size: int  # bytes
    mtime_ns: int
    ctime_ns: int

    def unsure_since(self, read_ns: int, seen_ns: int | None = None) -> int | None:
        """Since when a file read at `read_ns`, in ns of the system's clock, has looked like this,
        if its next change could leave it looking the same; None if that is impossible.

        A change as young as the clock's tick can be followed by another in the same tick. So can
        one of the future, as other machines' clocks make it, until it has been seen (`seen_ns`)
        for longer than a tick. What the clock does meanwhile can only lead to another look.
        """
        if max(self.mtime_ns, self.ctime_ns) < read_ns - _TICK_NS:
            return None
        if seen_ns is not None and read_ns - seen_ns > _TICK_NS:
            return None
        return read_ns if seen_ns is None or seen_ns > read_ns else seen_ns


@dataclass(frozen=True)
class ImageFile:
    """A regular file with a picture's extension."""

    path: Path  # absolute
    relative_path: bytes  # from the root, '/'-separated
    signature: Signature


@dataclass(frozen=True)
class Skipped:
    """Something that could not be looked at. `reason` is one line; it does not repeat the path.

    `may_hide`: a picture may lie there all the same, or below it.
    """

    path: Path
    reason: str
    may_hide: bool = True


def signature(status: os.stat_result) -> Signature:
    """What a file looks like now.

    Times beyond the year 2262 do not fit 64 bits, which is what databases keep, and are cut off.
    """
    mtime_ns, ctime_ns = (
        max(-_LAST_NS, min(ns, _LAST_NS)) for ns in (status.st_mtime_ns, status.st_ctime_ns)
    )
    return Signature(status.st_size, mtime_ns, ctime_ns)


def discover(root: Path, on_problem: Callable[[Skipped], None]) -> Iterator[ImageFile]:
    """Walk a folder, sorted by relative path as bytes.

    Raises FolderError at once if the root cannot be read. Hidden files and folders and libraries
    are passed over; links to files are followed, links to folders are not, and a folder mounted
    inside itself is not entered again. Whatever looks like a picture but cannot be reached, or is
    no regular file, goes to `on_problem`. Keeps the names of one folder a level in memory.
    """
    top = os.path.abspath(os.fsencode(root))
    try:
        identity, names = _names(top)
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
    return _walk(top, (identity, names), on_problem)


def _walk(
    top: bytes, listing: Listing, on_problem: Callable[[Skipped], None]
) -> Iterator[ImageFile]:
    # A stack instead of recursion: folders nest deeper than Python does.
    pending = [(b"", listing[0], iter(listing[1]))]
    entered = {listing[0]}  # the folders on the stack
    while pending:
        prefix, identity, rest = pending[-1]
        name = next(rest, None)
        if name is None:
            pending.pop()
            entered.discard(identity)
            continue
        relative = prefix + name
        path = os.path.join(top, relative)
        if not name.endswith(b"/"):
            yield from _file(path, relative, on_problem)
            continue
        try:
            inner, names = _names(path)
        except OSError as error:
            problem = f"the folder cannot be read ({_why(error)}); check its permissions"
            on_problem(Skipped(_path(path), problem))
            continue
        if inner in entered and inner[1]:  # some file systems have no numbers for their files
            problem = "the folder lies inside itself, as a mount can make it; it is read once only"
            on_problem(Skipped(_path(path), problem, may_hide=False))
            continue
        entered.add(inner)
        pending.append((relative, inner, iter(names)))


def _names(folder: bytes) -> Listing:
    """What a folder is, and what is worth a look in it, sorted.

    Folders end in '/', which sorts them as whole paths sort.
    """
    status = os.stat(folder)
    with os.scandir(folder) as entries:
        names = sorted(name for name in map(_wanted, entries) if name)
    return (status.st_dev, status.st_ino), names


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
        yield ImageFile(_path(path), relative, signature(status))
    elif not stat.S_ISDIR(status.st_mode):
        reason = "not a regular file (a pipe, socket or device)"
        on_problem(Skipped(_path(path), reason, may_hide=False))


def _path(path: bytes) -> Path:
    return Path(os.fsdecode(path))


def _why(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
