"""Give the files of hits to other programs: copies or links in a folder, or a viewer.

In: hits. Out: files in a folder, or a window. Nothing that is there is ever overwritten; a file
that has vanished is told and passed over.
"""

from __future__ import annotations

import filecmp
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from clipsearch.errors import ClipsearchError, ImageError
from clipsearch.paths import printable

# A viewer that is still there after this time has opened.
OPENING_SECONDS = 3.0
MAX_NAME_BYTES = 255  # of the usual file systems

# Gives a source its place; raises FileExistsError where there is something else.
Place = Callable[[Path, Path], None]


@dataclass(frozen=True)
class Handover:
    """What became of the files: `n_new` in the folder now, and those that were not to be had."""

    n_new: int
    n_there: int  # had been put there before
    lost: tuple[str, ...]  # one sentence each


def copy_all(paths: Sequence[Path], folder: Path) -> Handover:
    """Copy files into a folder, with their times. Raises ClipsearchError if it takes no more."""
    return _place_all(paths, folder, _copy, _is_copy)


def link_all(paths: Sequence[Path], folder: Path) -> Handover:
    """Make symbolic links to files, by their full paths. Raises ClipsearchError."""
    return _place_all(paths, folder, _link, _is_link)


def open_with_viewer(file: Path, says: Mapping[str, str]) -> None:
    """Show a file with the program that the desktop has for it. Raises ClipsearchError.

    `says` are the variables of `settings.surroundings`.
    """
    command = viewer_command(file, says)
    try:
        if command is None:
            os.startfile(file)  # type: ignore[attr-defined, unused-ignore]  # Windows
            return
        with open(os.devnull, "r+b") as nothing:
            viewer = subprocess.Popen(
                command, stdin=nothing, stdout=nothing, stderr=nothing, start_new_session=True
            )
        # The thread outlives us if the viewer does, and keeps what is known of it.
        waiting = threading.Thread(target=viewer.wait, daemon=True)
        waiting.start()
        waiting.join(OPENING_SECONDS)
        if viewer.returncode:
            raise ClipsearchError(
                f"{command[0]} could not open {file}: is there a program for such files?"
            )
    except FileNotFoundError as error:
        raise ClipsearchError(
            f"--open needs {error.filename}, which is not installed: open {file} yourself"
        ) from error
    except OSError as error:
        raise ClipsearchError(f"{file} cannot be opened ({_why(error)})") from error


def viewer_command(
    file: Path, says: Mapping[str, str], system: str = sys.platform
) -> list[str] | None:
    """The program and its arguments; None for Windows, which has a call of its own."""
    if system == "win32":
        return None
    if system == "darwin":
        return ["open", "--", str(file)]
    if not says.get("DISPLAY") and not says.get("WAYLAND_DISPLAY"):
        raise ClipsearchError(
            "--open needs a display, and there is none here: use --preview, or --sheet and look at "
            "it elsewhere"
        )
    return ["xdg-open", str(file)]


def _place_all(
    paths: Sequence[Path], folder: Path, place: Place, is_same: Callable[[Path, Path], bool]
) -> Handover:
    _make_folder(folder)
    n_new, n_there, lost = 0, 0, list[str]()
    for path in paths:
        try:
            if _place(path, folder, place, is_same):
                n_new += 1
            else:
                n_there += 1
        except ImageError as error:
            lost.append(str(error))
        except OSError as error:
            raise ClipsearchError(
                f"{folder} takes no more after {n_new} of {len(paths)} pictures ({_why(error)}): "
                "free some space, or name another folder"
            ) from error
    return Handover(n_new, n_there, tuple(lost))


def check_folder(folder: Path) -> None:
    """Refuse what cannot be a folder, before somebody has waited. Raises ClipsearchError."""
    there = next((each for each in (folder, *folder.absolute().parents) if each.exists()), folder)
    if there.exists() and not there.is_dir():
        raise ClipsearchError(f"{folder} cannot be a folder ({there} is a file): name another one")


def _make_folder(folder: Path) -> None:
    check_folder(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ClipsearchError(
            f"{folder} cannot be made ({_why(error)}): name another one"
        ) from error


def _place(path: Path, folder: Path, place: Place, is_same: Callable[[Path, Path], bool]) -> bool:
    """Put it under the first name that is free; False if it is there already."""
    for number in count(1):
        target = folder / _numbered(path, number)
        try:
            place(path, target)
        except FileExistsError:
            if is_same(path, target):
                return False
            continue
        return True
    raise AssertionError("numbers do not end")


def _numbered(path: Path, number: int) -> str:
    """The file's name, from the second on with its number; never longer than names can be."""
    if number == 1:
        return path.name
    stem, ending = path.stem, f" ({number}){path.suffix}"
    while len(os.fsencode(stem + ending)) > MAX_NAME_BYTES:
        stem = stem[:-1]
    return stem + ending


def _copy(path: Path, target: Path) -> None:
    """Raises ImageError for a source that cannot be read, OSError for anything else."""
    from clipsearch.images import open_picture

    with open_picture(path) as source:
        # "x" makes the file or fails, so that nothing is overwritten, whoever else writes here.
        with open(target, "xb") as copy:
            try:
                shutil.copyfileobj(source, copy)
                copy.flush()
            except BaseException:
                target.unlink()  # half a picture is worse than none
                raise
        times = os.fstat(source.fileno())
    with suppress(OSError):  # some network disks keep no times
        os.utime(target, ns=(times.st_atime_ns, times.st_mtime_ns))


def _is_copy(path: Path, target: Path) -> bool:
    with suppress(OSError):
        is_file = target.is_file() and not target.is_symlink()
        return is_file and filecmp.cmp(path, target, shallow=False)
    return False


def _link(path: Path, target: Path) -> None:
    from clipsearch.images import open_picture

    open_picture(path).close()  # a link that leads nowhere helps nobody
    os.symlink(os.path.abspath(path), target)


def _is_link(path: Path, target: Path) -> bool:
    with suppress(OSError):
        return os.readlink(target) == os.path.abspath(path)
    return False


def _why(error: OSError) -> str:
    return printable((error.strerror or str(error)).lower())
