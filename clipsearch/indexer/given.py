"""Take vectors into a library that were made elsewhere.

In: paths and vectors. Out: rows, one transaction a batch, and counts. The files need not be there:
a row without a content hash has never been looked into, and so is never taken for missing. If
`index` finds the file one day, it encodes it, and then the row is like any other.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from clipsearch.errors import CatalogError, FolderError, ModelMismatch
from clipsearch.indexer.commit import settle
from clipsearch.indexer.scan import place
from clipsearch.vectors import normalise

if TYPE_CHECKING:
    from clipsearch.catalog import Batch, Catalog, ModelRecord
    from clipsearch.indexer.report import Tally

ROWS_AT_ONCE = 4096  # 4 MB of vectors in one transaction
_RANGES = {
    "width": (1, 999_999_999),
    "height": (1, 999_999_999),
    "latitude": (-90, 90),
    "longitude": (-180, 180),
    "orientation": (1, 8),
}
_DEGREES = ("latitude", "longitude")
_TEXTS = ("camera", "lens", "format", "zone")

Metadata = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class ImportReport:
    """What became of the given vectors.

    `known` are those of pictures that the library has looked into itself, which stay as they are.
    """

    added: int = 0
    updated: int = 0
    known: int = 0
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, object]:
        """The report as JSON-able values."""
        return asdict(self) | {"notes": list(self.notes)}


@dataclass(frozen=True)
class Given:
    """Vectors `[n, dim]` of any float type and length, and whose they are: absolute paths."""

    paths: Sequence[bytes]
    vectors: NDArray[Any]
    metadata: Metadata | None = None

    def __post_init__(self) -> None:
        n = len(self.vectors)
        if self.vectors.ndim != 2 or len(self.paths) != n:
            raise CatalogError(
                f"{len(self.paths)} paths do not fit vectors of shape {self.vectors.shape}: give "
                "one path for each row of [n, dim]"
            )
        if self.metadata is not None and len(self.metadata) != n:
            raise CatalogError(f"{len(self.metadata)} descriptions do not fit {n} vectors")

    def check(self, model: ModelRecord) -> None:
        """Raise ModelMismatch if a model cannot have made these."""
        if self.vectors.shape[1] != model.dimension:
            raise ModelMismatch(
                f"the vectors have {self.vectors.shape[1]} numbers, those of the library's model "
                f"{model.name!r} have {model.dimension}: name the model that made them, or another "
                "library"
            )


def given_here(
    paths: Sequence[str | Path],
    vectors: NDArray[Any],
    metadata: Metadata | None,
    root: str | Path | None,
) -> tuple[bytes, Iterable[Given]]:
    """Vectors in memory, and the innermost folder that all of their paths are in."""
    given = Given(absolute(paths, None if root is None else Path(root)), vectors, metadata)
    return common_folder(given.paths), [given]


def given_in(folder: Path, root: str | Path | None) -> tuple[bytes, Iterable[Given]]:
    """The vectors in a folder of embeddings, file by file; else as `given_here`."""
    from clipsearch.indexer.embeddings import parts_of

    start = None if root is None else Path(root)
    parts = parts_of(folder)
    # Each list of paths is read twice, so that a million need not be held at once.
    above = common_folder(common_folder(absolute(p.paths(), start)) + b"/" for p in parts)
    return above, (Given(absolute(p.paths(), start), p.vectors, p.metadata()) for p in parts)


def absolute(paths: Iterable[str | bytes | os.PathLike[Any]], root: Path | None) -> list[bytes]:
    """Paths from wherever they start, without `.` and `..`. Raises FolderError without a root."""
    start = b"" if root is None else os.fsencode(root.expanduser().absolute())
    found = []
    for path in map(os.fsencode, paths):
        if not path or (not start and not os.path.isabs(path)):
            raise FolderError(
                f"{os.fsdecode(path)!r} does not say where it starts: give the folder that the "
                "paths are relative to as the root"
            )
        found.append(os.path.normpath(os.path.join(start, path)))
    return found


def common_folder(folders: Iterable[bytes]) -> bytes:
    """The innermost folder that all of these paths are in."""
    found: bytes | None = None
    for path in folders:
        here = os.path.dirname(path)
        if found is None:
            found = here
        elif here != found and not here.startswith(found.rstrip(b"/") + b"/"):
            found = os.path.commonpath([found, here])
    return found or b"/"


def take_in(
    parts: Iterable[Given], root: bytes, catalog: Catalog, model: ModelRecord, tally: Tally
) -> ImportReport:
    """Write vectors under a root folder that holds all of their paths.

    What was written before stays if a later part is refused; doing it again does the rest.
    Raises CatalogError, ModelMismatch.
    """
    writer = _Writer(catalog, model, _root_id(catalog, root))
    n_done = 0
    for part in parts:
        part.check(model)
        for start in range(0, len(part.paths), ROWS_AT_ONCE):
            writer.write(part, slice(start, start + ROWS_AT_ONCE))
            n_done += len(part.paths[start : start + ROWS_AT_ONCE])
            tally.tell_taken_in(n_done)
    return ImportReport(writer.n_added, writer.n_updated, writer.n_known)


def _root_id(catalog: Catalog, root: bytes) -> tuple[int, bytes]:
    """The id and path of the root in use for a folder, which takes over the roots inside it."""
    found = place(Path(os.path.realpath(os.fsdecode(root))), catalog.folders())
    with catalog.begin() as write:
        return settle(write, found), found.root


class _Writer:
    def __init__(self, catalog: Catalog, model: ModelRecord, root: tuple[int, bytes]) -> None:
        self.catalog, self.model = catalog, model
        self.folder_id, self.root = root
        self.n_added = self.n_updated = self.n_known = 0

    def write(self, part: Given, rows: slice) -> None:
        """Commit some rows of a part."""
        paths = self._relative(part.paths[rows])
        vectors = self._unit(part, rows)
        with self.catalog.begin() as write:
            known = write.images_at(self.folder_id, paths)
            is_new = [path not in known for path in paths]
            is_ours = [path in known and not known[path].is_unseen for path in paths]
            new = [path for path, yes in zip(paths, is_new, strict=True) if yes]
            ids = dict(zip(new, self._added(write, part, rows, is_new), strict=True))
            ids |= {path: record.image_id for path, record in known.items()}
            chosen = ~np.array(is_ours, dtype=np.bool_)
            back = [r.image_id for r in known.values() if r.is_unseen and r.state == "missing"]
            write.mark_present(back)
            image_ids = [ids[path] for path, yes in zip(paths, chosen, strict=True) if yes]
            write.put_vectors(self.model.model_id, image_ids, vectors[chosen])
        self.n_added += len(new)
        self.n_known += sum(is_ours)
        self.n_updated += len(paths) - len(new) - sum(is_ours)

    def _added(
        self, write: Batch, part: Given, rows: slice, is_new: Sequence[bool]
    ) -> Sequence[int]:
        paths = self._relative(part.paths[rows])
        details: Metadata = part.metadata[rows] if part.metadata else [{}] * len(paths)
        chosen = [n for n, yes in enumerate(is_new) if yes]
        return write.add_unseen(
            self.folder_id, [paths[n] for n in chosen], [_checked(details[n]) for n in chosen]
        )

    def _relative(self, paths: Sequence[bytes]) -> list[bytes]:
        beginning = self.root.rstrip(b"/") + b"/"
        found = [os.path.normpath(path)[len(beginning) :] for path in paths]
        if len(set(found)) != len(found):
            twice = next(path for path in found if found.count(path) > 1)
            raise CatalogError(
                f"the path {os.fsdecode(beginning + twice)} is given twice: give each path once"
            )
        return found

    def _unit(self, part: Given, rows: slice) -> NDArray[np.float32]:
        try:
            return normalise(part.vectors[rows])
        except ValueError as error:
            raise CatalogError(
                f"among the vectors from number {rows.start:,} on, {error}: leave it out"
            ) from error


def _checked(details: Mapping[str, Any]) -> Mapping[str, Any]:
    from clipsearch.catalog.batch import GIVEN_DETAILS

    unknown = set(details) - set(GIVEN_DETAILS)
    if unknown:
        raise CatalogError(
            f"{min(unknown)!r} cannot be kept of a picture: what can is {', '.join(GIVEN_DETAILS)}"
        )
    kept = dict(details)
    for name, (low, high) in _RANGES.items():
        value = kept.get(name)
        if value is None:
            continue
        number = float(value) if isinstance(value, Real) else math.nan
        if not low <= number <= high:
            raise CatalogError(
                f"the {name} {value!r} cannot be kept: give a number from {low} to {high}"
            )
        kept[name] = number if name in _DEGREES else int(number)
    for name in _TEXTS:
        if not isinstance(kept.get(name), str | None):
            raise CatalogError(f"the {name} {kept[name]!r} cannot be kept: give it as text")
    if kept.get("format") is not None:
        kept["format"] = kept["format"].lower()
    if kept.get("taken_at") is not None:
        kept |= _moment(kept["taken_at"])
    return kept


def _moment(given: object) -> dict[str, str]:
    """A moment as the catalog compares it, and its zone if it has one."""
    try:
        moment = given if isinstance(given, datetime) else datetime.fromisoformat(str(given))
    except ValueError:
        raise CatalogError(
            f"the date {given!r} cannot be kept: write it like 2023-06-01T12:30:00"
        ) from None
    written = moment.isoformat(timespec="seconds")
    taken_at, zone = written[:19], written[19:25]
    return {"taken_at": taken_at, "zone": zone} if zone else {"taken_at": taken_at}
