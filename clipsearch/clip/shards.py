"""Weights that are split over several files, as `*.index.json` lists them: path → its parts.

In: a weights file or an index. Out: the files to read, and a digest of all. Reads no weights.
"""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

from clipsearch.clip.cache import sha256_of
from clipsearch.clip.recipe import read_json
from clipsearch.errors import BrokenCheckpoint

INDEX_SUFFIX = ".index.json"


def parts_of(path: Path) -> list[Path]:
    """The files that hold the weights: those an index names, otherwise the file itself.

    Raises BrokenCheckpoint if the index is damaged, or names what is not beside it.
    """
    if not path.name.endswith(INDEX_SUFFIX):
        return [path]
    try:
        places = read_json(path).get("weight_map")
        if not isinstance(places, dict) or not places:
            raise BrokenCheckpoint("it has no weight_map")
        names = set(places.values()) if all(isinstance(n, str) for n in places.values()) else {""}
        return [_part(path, name) for name in sorted(names)]
    except BrokenCheckpoint as error:
        raise BrokenCheckpoint(
            f"{path} cannot be used ({error}): get the whole folder again"
        ) from error


def digest_of(path: Path) -> str:
    """The SHA-256, in hex, of a file, or for an index that of its parts' names and SHA-256s."""
    parts = parts_of(path)
    if parts == [path]:
        return sha256_of(path)
    lines = [f"{sha256_of(part)}  {part.name}\n" for part in parts]
    return sha256("".join(lines).encode()).hexdigest()


def _part(index: Path, name: str) -> Path:
    # Only a plain name: an index has no business in other folders.
    if not name or Path(name).name != name or "\\" in name or name.endswith(INDEX_SUFFIX):
        raise BrokenCheckpoint(f"it names the part {name!r}, which is no file beside it")
    part = index.with_name(name)
    if not part.is_file():
        raise BrokenCheckpoint(f"its part {name} is missing")
    return part
