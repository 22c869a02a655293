"""Kill downloads at random bytes: what is left is nothing, a part to go on from, or the file."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from threading import Event
from time import sleep

import pytest

from clipsearch.clip.cache import ModelCache
from clipsearch.clip.download import fetch
from tests.clip.servers import CONTENT, Server, serving

N_KILLS = 200
ROOT = Path(__file__).resolve().parents[2]


class Downloads:
    """Starts a download and kills it when the server has sent up to some byte."""

    def __init__(self, server: Server, folder: Path) -> None:
        self.server, self.folder = server, folder
        arguments = [server.url, server.file.sha256 or "", str(len(CONTENT)), str(folder)]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.clip.killed_downloads", *arguments],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def kill_at(self, byte: int, delay_seconds: float) -> bool:
        """Whether the process was still there to be killed."""
        assert self.process.stdin is not None and self.process.stdout is not None
        reached, killed = Event(), Event()

        def on_sent(n_bytes: int) -> None:
            if n_bytes >= byte and not reached.is_set():
                reached.set()
                if byte < len(CONTENT):
                    killed.wait(10)  # not one byte more before it dies

        self.server.on_sent = on_sent
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        child = int(self.process.stdout.readline())
        assert reached.wait(10)
        sleep(delay_seconds)
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        killed.set()
        return os.WIFSIGNALED(int(self.process.stdout.readline()))

    def close(self) -> None:
        self.process.communicate()
        assert self.process.returncode == 0


@pytest.fixture
def downloads(tmp_path: Path) -> Iterator[Downloads]:
    with serving() as server:
        started = Downloads(server, tmp_path)
        yield started
        started.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_killed_download_leaves_nothing_or_a_part_or_the_file(
    downloads: Downloads, tmp_path: Path
) -> None:
    chance = random.Random(20261121)
    target, part = tmp_path / "Tiny.pt", tmp_path / "Tiny.pt.part"
    n_killed = n_whole = 0
    for _ in range(N_KILLS):
        begun = part.stat().st_size if part.exists() else 0
        # Every fourth dies while the whole file is synced, verified or renamed.
        late = chance.random() < 0.25 or begun == len(CONTENT)
        byte = len(CONTENT) if late else chance.randint(begun, len(CONTENT) - 1)
        n_killed += downloads.kill_at(max(1, byte), chance.uniform(0, 0.02) if late else 0)
        if target.exists():
            assert target.read_bytes() == CONTENT
            target.unlink()
            n_whole += 1
        elif part.exists():
            assert CONTENT.startswith(part.read_bytes())
        assert {path.name for path in tmp_path.iterdir()} <= {part.name, ".Tiny.pt.lock"}
    assert n_killed > N_KILLS * 0.7 and n_whole > 0
    downloads.server.on_sent = None
    left = part.stat().st_size if part.exists() else 0
    path = fetch(downloads.server.file, "Tiny.pt", "the model Tiny", ModelCache(tmp_path))
    assert path.read_bytes() == CONTENT
    assert downloads.server.ranges[-1] == (f"bytes={left}-" if left else None)
    resumed = [wanted for wanted in downloads.server.ranges if wanted is not None]
    assert len(resumed) > N_KILLS / 4
