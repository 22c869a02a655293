"""Run a child under strace: let its Nth write, sync or rename in the library fail, or log them.

Only calls on the library's own files count. `sh` becomes the child itself, with strace beside it
(-D), because the names of temporary files hold the child's process id, which only `$$` knows.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path

# Everything that changes a file or makes a change last. strace counts each kind for itself.
CALLS = ("pwrite64", "fdatasync", "write", "fsync", "rename", "unlink", "ftruncate")
MAX_GENERATION = 3  # of index files that one run may write


@cache
def why_not() -> str | None:
    """Why nothing can be traced here, if so."""
    program = shutil.which("strace")
    if program is None:
        return "strace is not installed"
    tried = subprocess.run([program, "-f", "-o", "/dev/null", "true"], capture_output=True)
    if tried.returncode:
        return f"strace may not trace here: {tried.stderr.decode(errors='replace').strip()}"
    return None


def traced(
    command: Sequence[str],
    library: Path,
    log: Path,
    *,
    inject: str = "",
    also: Path | None = None,
) -> list[str]:
    """The command under strace; `inject` as its option of that name, as in fsync:error=EIO:when=3.

    The log has every call of CALLS, with names for descriptors and the beginnings of what is
    written. `also` is another file to log.
    """
    names = ["", "/catalog.sqlite3", "/catalog.sqlite3-wal", "/catalog.sqlite3-journal", "/index"]
    for generation in range(1, MAX_GENERATION + 1):
        names.append(f"/index/base-{generation}.idx")
        names.append(f"/index/.base-{generation}.idx.$$.tmp")
    paths = " ".join(f'-P "{library}{name}"' for name in names)
    paths += f" -P {shlex.quote(str(also))}" if also else ""
    options = f"-D -f --seccomp-bpf -qq -y -s 24 -o {shlex.quote(str(log))} {paths}"
    options += f" -e trace={','.join(CALLS)}" + (f" -e inject={inject}" if inject else "")
    return ["sh", "-c", f"exec strace {options} {shlex.join(command)}"]
