"""Open a picture's file without ever waiting for it, and show its path in a message.

In: a path. Out: a binary file, or UnreadableImage that says why not. Knows nothing of picture
formats.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO

from clipsearch.errors import UnreadableImage
from clipsearch.paths import printable

# O_NONBLOCK: a FIFO that took the file's place between stat and open must not hold us up. The
# others keep the descriptor from child processes, a terminal from adopting us, and Windows from
# translating line ends.
_FLAGS = (
    os.O_RDONLY
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_NOCTTY", 0)
    | getattr(os, "O_BINARY", 0)
)


def open_picture(path: Path) -> BinaryIO:
    """Open a regular file for reading; never blocks. Raises UnreadableImage for all else."""
    name = shown(path.name or path)
    try:
        # Looking first: merely opening a device can have an effect (a tape rewinds).
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise _not_a_file(name)
        descriptor = os.open(path, _FLAGS)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UnreadableImage(
            f"{name} cannot be opened ({reason}); check that it exists and may be read"
        ) from error
    except ValueError as error:  # a NUL in the path
        raise UnreadableImage(f"{name} is not a path; correct its name") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise _not_a_file(name)
    return os.fdopen(descriptor, "rb")


def read_whole(file: BinaryIO, size: int, name: str) -> bytes:
    """What a file of `size` bytes holds; one byte more if it has grown. Raises UnreadableImage."""
    try:
        return file.read(size + 1)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UnreadableImage(
            f"{name} cannot be read to its end ({reason}); check the drive"
        ) from error


def _not_a_file(name: str) -> UnreadableImage:
    return UnreadableImage(f"{name} is not a regular file; name a picture's file")


def shown(path: str | bytes | os.PathLike[str] | os.PathLike[bytes]) -> str:
    """A path as one line of text that can be printed and stored.

    Names may hold newlines, escape sequences and bytes that are not UTF-8; those come out as
    backslash escapes.
    """
    return printable(os.fsdecode(path))
