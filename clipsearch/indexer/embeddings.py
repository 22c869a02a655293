"""Read embeddings that another program made: a folder of .npy files, and the paths they are of.

In: a folder. Out: Parts, checked before anything is read whole. Knows nothing of libraries.

Two layouts. Plain: NAME.npy with NAME.txt (a path a line) or NAME.json (a list); a single .npy may
have paths.txt or paths.json. clip-retrieval: img_emb/*_N.npy with metadata/*_N.parquet.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clipsearch.errors import FolderError, MissingExtra

_WIDTH, _HEIGHT = "original_width", "original_height"


@dataclass(frozen=True)
class Part:
    """One file of vectors `[n, dim]`, which stays on the disk, and the file that names them."""

    file: Path
    names: Path
    vectors: NDArray[Any]

    def paths(self) -> list[bytes]:
        """The path of each vector, as it is written there. Raises FolderError for another count."""
        if self.names.suffix == ".parquet":
            found = [os.fsencode(name) for name in _columns(self.names, ("image_path",))[0]]
        elif self.names.suffix == ".json":
            found = _json_list(self.names)
        else:
            found = _read(self.names).removesuffix(b"\n").split(b"\n")
        if len(found) != len(self.vectors):
            raise FolderError(
                f"{self.names} has {len(found):,} paths, but {self.file.name} has "
                f"{len(self.vectors):,} vectors: there must be one for each, in the same order"
            )
        return found

    def metadata(self) -> list[Mapping[str, Any]] | None:
        """The size of each picture, where the other program has kept it."""
        if self.names.suffix != ".parquet":
            return None
        try:
            widths, heights = _columns(self.names, (_WIDTH, _HEIGHT))
        except FolderError:
            return None
        return [{"width": w, "height": h} for w, h in zip(widths, heights, strict=True)]


def parts_of(folder: Path) -> list[Part]:
    """What a folder has, in the order of the numbers in its files' names.

    Raises FolderError if it has nothing of the kind, MissingExtra if it needs pyarrow.
    """
    layout = _clip_retrieval if (folder / "img_emb").is_dir() else _plain
    pairs = list(layout(folder))
    if not pairs:
        raise FolderError(
            f"{folder} has no embeddings: it needs .npy files with lists of paths beside them, or "
            "clip-retrieval's img_emb and metadata"
        )
    return [Part(file, names, _opened(file)) for file, names in pairs]


def _plain(folder: Path) -> Iterator[tuple[Path, Path]]:
    files = _in_order(folder, "*.npy")
    for file in files:
        choices = [file.with_suffix(".txt"), file.with_suffix(".json")]
        if len(files) == 1:
            choices += [folder / "paths.txt", folder / "paths.json"]
        names = next((path for path in choices if path.is_file()), None)
        if names is None:
            shown = " or ".join(path.name for path in choices)
            raise FolderError(f"{file} says not whose vectors these are: add {shown} beside it")
        yield file, names


def _clip_retrieval(folder: Path) -> Iterator[tuple[Path, Path]]:
    for file in _in_order(folder / "img_emb", "*.npy"):
        number = _number(file)
        names = [p for p in _in_order(folder / "metadata", "*.parquet") if _number(p) == number]
        if len(names) != 1:
            raise FolderError(
                f"{folder / 'metadata'} needs one .parquet file with the number of {file.name}, "
                f"and has {len(names)}"
            )
        yield file, names[0]


def _in_order(folder: Path, pattern: str) -> list[Path]:
    try:
        return sorted(folder.glob(pattern), key=lambda path: (_number(path), path.name))
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise FolderError(f"the folder {folder} cannot be read: {reason}") from error


def _number(path: Path) -> int:
    digits = re.findall(r"\d+", path.stem)
    return int(digits[-1]) if digits else -1


def _opened(file: Path) -> NDArray[Any]:
    try:
        vectors: NDArray[Any] = np.load(file, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise FolderError(f"{file} cannot be read as a table of numbers: {error}") from error
    if vectors.ndim != 2 or vectors.dtype.kind != "f":
        raise FolderError(
            f"{file} holds {vectors.dtype} {vectors.shape}, but vectors are floating-point [n, dim]"
        )
    return vectors


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes().replace(b"\r\n", b"\n")
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise FolderError(f"{path} cannot be read: {reason}") from error


def _json_list(path: Path) -> list[bytes]:
    try:
        found = json.loads(_read(path))
    except ValueError as error:
        raise FolderError(f"{path} is no JSON: {error}") from error
    if not isinstance(found, list) or not all(isinstance(name, str) for name in found):
        raise FolderError(f"{path} must hold a list of paths and nothing else")
    return [os.fsencode(name) for name in found]


def _columns(path: Path, names: Sequence[str]) -> list[list[Any]]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise MissingExtra("parquet", "reading clip-retrieval's metadata") from error
    try:
        table = parquet.read_table(path, columns=list(names))
        return [table.column(name).to_pylist() for name in names]
    except (OSError, KeyError, pyarrow.ArrowException) as error:
        raise FolderError(
            f"{path} has no column {' and '.join(names)} that can be read: {error}"
        ) from error
