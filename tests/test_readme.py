"""Every `clipsearch query` line of the README is run by a shell, in order, over real pictures."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from clipsearch.library import Library

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
LINES = [
    line
    for line in re.findall(r"^\$ (clipsearch quer(?:y|ies).*)$", README, re.MULTILINE)
    if "http" not in line  # nothing is fetched here
]
N_PICTURES = 24


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with a library of some demo pictures, and the pictures that the README names."""
    pictures = sorted((ROOT / "data" / "demo").glob("*.jpg"))[:N_PICTURES]
    for folder in ("photos/trips", "dogs", "bin"):
        (tmp_path / folder).mkdir(parents=True)
    for picture in pictures:
        shutil.copy(picture, tmp_path / "photos" / "trips")
    for name in re.findall(r"(?<=[\s\"])\./([\w ]+\.jpg)", "\n".join(LINES)):
        shutil.copy(pictures[0], tmp_path / name)
    with Library(tmp_path / ".clipsearch", model="mini") as library:
        assert library.index(tmp_path / "photos").added == N_PICTURES
    for name, script in (
        ("clipsearch", f'exec "{sys.executable}" -m clipsearch "$@"'),
        ("xdg-open", "exit 0"),
        ("open", "exit 0"),
    ):
        program = tmp_path / "bin" / name
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
    return tmp_path


def test_the_readme_has_lines_of_every_kind() -> None:
    assert len(LINES) > 15
    for option in ("--in", "--like", "--save", "--sheet", "--copy-to", "--preview", "--jsonl"):
        assert any(option in line for line in LINES), option


def test_every_query_of_the_readme_runs(place: Path) -> None:
    environ = os.environ | {
        "PATH": f"{place / 'bin'}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "DISPLAY": ":0",
    }
    for line in LINES:
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", line],
            cwd=place,
            env=environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        # Without a probe it asks, which needs a terminal (see cli/test_prompt.py); a filter may
        # leave nothing; and `head` goes when it has read enough.
        is_prompt = line.split("#")[0].strip() == "clipsearch query"
        assert done.returncode in ({2} if is_prompt else {0, 1, 141}), (line, done.stderr)
        assert "Traceback" not in done.stderr and ("clipsearch:" in done.stderr) == is_prompt, line
