"""Remember which files have been read whole and found right, so that it is done once for each.

In: a folder of the user's own, never the library, which reading must not change. Out: yes or no.
Knows nothing of what is in the files.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from contextlib import suppress
from pathlib import Path

# A file that was changed this recently may be changed again without its times telling.
_SETTLED_SECONDS = 2.0


class Verified:
    """One small note for each path. Where none can be written, the file is read whole each time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def knows(self, path: Path, stat: os.stat_result, sha256: str) -> bool:
        """Whether the very file, unchanged since, has been found to have this digest."""
        with suppress(OSError, ValueError):
            return bool(json.loads(self._note(path).read_bytes()) == _identity(stat, sha256))
        return False

    def remember(self, path: Path, stat: os.stat_result, sha256: str) -> None:
        if time.time() - max(stat.st_mtime, stat.st_ctime) < _SETTLED_SECONDS:
            return
        note = self._note(path)
        temporary = note.with_name(f".{note.name}.{os.getpid()}")
        with suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True)
            temporary.write_text(json.dumps(_identity(stat, sha256)))
            os.replace(temporary, note)

    def _note(self, path: Path) -> Path:
        name = hashlib.sha256(os.fsencode(path.absolute())).hexdigest()[:32]
        return self._folder / f"{name}.json"


def _identity(stat: os.stat_result, sha256: str) -> list[int | str]:
    """What no change of a file leaves as it was: the change time cannot be set back."""
    times = [stat.st_mtime_ns, stat.st_ctime_ns]
    return [stat.st_dev, stat.st_ino, stat.st_size, *times, sha256]
