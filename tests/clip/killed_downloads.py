"""Downloads that are killed: python -m tests.clip.killed_downloads URL SHA256 SIZE FOLDER.

Reads lines from standard input. At each it forks, starts one download in the child and says its
process id; when the child has ended, it says how. Forking spares an interpreter's start per kill.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from clipsearch.clip.cache import ModelCache
from clipsearch.clip.download import fetch
from clipsearch.clip.published import RemoteFile


def main() -> None:
    url, sha256, size_bytes, folder = sys.argv[1:]
    remote = RemoteFile(url, sha256, int(size_bytes))
    for _ in sys.stdin:
        child = os.fork()
        if child == 0:
            try:
                fetch(remote, "Tiny.pt", "the model Tiny", ModelCache(Path(folder)))
            finally:
                os._exit(0)
        say(child)
        _, status = os.waitpid(child, 0)
        say(status)


def say(number: int) -> None:
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
