"""Read one file: its whole content once, and from those bytes its hash, pixels and facts.

In: paths. Out: Founds, whatever is wrong with the file. Runs inside a decoding worker; knows
nothing of pipes, and what it cannot survive is the business of those who started the worker.
"""

from __future__ import annotations

import io
import os
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

from clipsearch.errors import ImageError, ImageTooLarge
from clipsearch.images import (
    content_hash,
    decode_file,
    hash_of,
    open_picture,
    read_details,
    read_whole,
    shown,
    signature,
)
from clipsearch.indexer.frames import Found, Setup, Want
from clipsearch.pillow import PILLOW_ERRORS, quiet_pillow, reason

Tell = Callable[[Found], None]

VANISHED = "the file vanished before it was read"


class FileReader:
    """Reads files as the setup says. `tell` hears of each content before it is decoded."""

    def __init__(self, setup: Setup, tell: Tell) -> None:
        self.setup, self.tell = setup, tell

    def __call__(self, path: Path, want: Want = Want.PIXELS) -> Found:
        """Read a file, and once more if it changes meanwhile."""
        for _ in range(2):
            found, is_settled = self._read(path, want)
            if is_settled:
                return found
        reason = "the file changed while it was read"
        return replace(found, content_hash=b"", pixels=None, reason=reason)

    def _read(self, path: Path, want: Want) -> tuple[Found, bool]:
        seen = Found(read_ns=time.time_ns())
        try:
            before = signature(os.stat(path))
            seen = replace(seen, **asdict(before))
            if want is Want.DETAILS:
                found = self._header(path, seen)
            else:
                found = self._content(path, seen, want)
            # By the path: another file may have taken its place.
            return found, signature(os.stat(path)) == before
        except (FileNotFoundError, NotADirectoryError):
            return replace(seen, reason=VANISHED, vanished=True), True
        except OSError as error:
            return replace(seen, reason=f"the file cannot be read: {reason(error)}"), True
        except ImageError as error:  # not even the bytes can be had
            if not os.path.lexists(path):
                return replace(seen, reason=VANISHED, vanished=True), True
            return replace(seen, reason=str(error)), True

    def _header(self, path: Path, seen: Found) -> Found:
        with open_picture(path) as file:
            name = shown(path.name)
            return replace(seen, details=read_details(file, name, self.setup.max_pixels))

    def _content(self, path: Path, seen: Found, want: Want) -> Found:
        size = seen.size or 0
        if size > self.setup.file_bytes:
            # Its content is recorded all the same, so that it is not taken up again for nothing.
            return replace(seen, content_hash=content_hash(path), reason=self._too_much(path))
        with open_picture(path) as file:
            content = read_whole(file, size, shown(path.name))
        found = replace(seen, content_hash=hash_of(content))
        if want is Want.PIXELS and found.content_hash in self.setup.known:
            return found
        self.tell(found)
        try:
            return self._decoded(io.BytesIO(content), path, found)
        except ImageError as error:
            if isinstance(error.__cause__, MemoryError):
                return replace(found, reason=self._too_much(path))
            # How large it is says when it is worth another try.
            width, height = (isinstance(error, ImageTooLarge) and error.size) or (None, None)
            return replace(found, reason=str(error), width=width, height=height)

    def _decoded(self, content: io.BytesIO, path: Path, found: Found) -> Found:
        setup = self.setup
        assert setup.preprocess is not None, "pixels are asked for where none can be made"
        decoded = decode_file(content, shown(path.name), setup.input_px, setup.max_pixels)
        try:
            with quiet_pillow():
                pixels = setup.preprocess(decoded.image)
        except MemoryError:
            return replace(found, reason=self._too_much(path))
        except PILLOW_ERRORS as error:
            why = f"{shown(path.name)} cannot be made ready for the model ({reason(error)})"
            return replace(found, reason=why)
        return replace(
            found,
            pixels=pixels,
            width=decoded.width,
            height=decoded.height,
            details=decoded.details,
        )

    def _too_much(self, path: Path) -> str:
        return (
            f"{shown(path.name)} needs more than {self.setup.memory_mb:,} MB to decode; make it "
            "smaller, or raise CLIPSEARCH_DECODE_MEMORY"
        )
