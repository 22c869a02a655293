"""What a library knows of the things a query names: saved queries, images by id, its own pictures.

In: a query and a catalog. Out: a Known, from which the query can be encoded. Knows nothing of
models; a query of words alone asks the catalog nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from clipsearch.errors import ImageError, QueryError
from clipsearch.filters import Filter
from clipsearch.probes import ImageProbe, IndexedProbe, Probe, Query, SavedProbe, parse
from clipsearch.query.base import QueryReads
from clipsearch.vectors import FloatArray, IdArray

if TYPE_CHECKING:
    from clipsearch.catalog import CatalogReads, ModelRecord

# So many saved queries may lie in one another; more is likelier a slip than a wish.
MAX_DEPTH = 8


class CatalogAccess(Protocol):
    """A library's catalog, opened as far as is needed."""

    def model(self) -> ModelRecord | None: ...
    def saved_query(self, name: str) -> str | None: ...
    def snapshot(self) -> AbstractContextManager[QueryReads]: ...
    def opened(self) -> CatalogReads: ...


@dataclass(frozen=True)
class Known:
    """A query whose saved queries have their meanings and whose filters hold theirs too.

    `vectors` are those of its `#12` by id; `leave_out` are the images that it shows itself, which
    nobody looks for who holds them in his hand.
    """

    query: Query
    vectors: Mapping[int, FloatArray] = field(default_factory=dict)
    leave_out: IdArray | None = None


def look_up(query: Query, model_id: int, catalog: CatalogAccess) -> Known:
    """Raises QueryError for a name, an id or a picture that is not there."""
    if not any(isinstance(each, ImageProbe | IndexedProbe | SavedProbe) for each in query.probes):
        return Known(query)
    if any(isinstance(probe, SavedProbe) for probe in query.probes):
        query = expanded(query, catalog.saved_query)
    probes = list(_all_probes(query, set()))
    paths = [probe.path for probe in probes if isinstance(probe, ImageProbe)]
    ids = {probe.image_id for probe in probes if isinstance(probe, IndexedProbe)}
    shown = ids | (_images_at(paths, catalog.opened()) if paths else set())
    vectors = _stored_vectors(sorted(ids), model_id, catalog) if ids else {}
    return Known(query, vectors, np.array(sorted(shown), dtype=np.int64))


def expanded(query: Query, saved: Callable[[str], str | None]) -> Query:
    """The query, in which every `@name` has its meaning; `saved` gives the text of a name.

    The filters of what is wanted come along, those of what is not wanted do not. Raises QueryError
    for a name that there is not, or that leads back to itself.
    """
    return _Expansion(saved).expanded(query, ())


def placed(filters: Filter) -> Filter:
    """With absolute folders where they begin with ./ ../ or ~/. Raises QueryError."""
    return filters.placed(lambda folder: os.path.abspath(reachable(Path(folder))))


def reachable(path: Path) -> Path:
    """With a home folder in the place of ~. Raises QueryError."""
    try:
        return path.expanduser()
    except RuntimeError:  # ~ of a user without a home folder
        raise QueryError(f"there is no home folder for {path}: give a full path") from None


def unusable(error: ImageError) -> QueryError:
    """What to tell of a probe's picture that cannot be read."""
    return QueryError(f"the picture to look for cannot be used: {error}")


class _Expansion:
    """Each name is read once, however often it occurs."""

    def __init__(self, saved: Callable[[str], str | None]) -> None:
        self._saved = saved
        self._meanings: dict[str, Query] = {}

    def expanded(self, query: Query, above: tuple[str, ...]) -> Query:
        filters, probes = query.filters, list[Probe]()
        for probe in query.probes:
            if isinstance(probe, SavedProbe):
                meaning = self._meaning(probe.name, above)
                if probe.weight > 0:
                    filters = _joined(filters, meaning.filters, probe.name)
                probe = replace(probe, meaning=meaning)
            probes.append(probe)
        return replace(query, probes=tuple(probes), filters=filters)

    def _meaning(self, name: str, above: tuple[str, ...]) -> Query:
        chain = " → ".join(f"@{each}" for each in (*above, name))
        if name in above:
            raise QueryError(
                f"the saved query @{name} leads back to itself ({chain}): save one of "
                "them under another name"
            )
        if len(above) == MAX_DEPTH:
            raise QueryError(
                f"more than {MAX_DEPTH} saved queries lie in one another ({chain}): save one of "
                "them anew"
            )
        if name not in self._meanings:
            text = self._saved(name)
            if text is None:
                raise QueryError(
                    f'there is no saved query @{name}: "clipsearch queries" lists them; in '
                    "quotation marks it is words"
                )
            self._meanings[name] = self.expanded(_read(name, text), (*above, name))
        return self._meanings[name]


def _read(name: str, text: str) -> Query:
    try:
        query = parse(text)
        return replace(query, filters=placed(query.filters))
    except QueryError as error:
        raise QueryError(f"the saved query @{name} cannot be used: {error}") from error


def _joined(filters: Filter, others: Filter, name: str) -> Filter:
    try:
        return filters.joined(others)
    except QueryError as error:
        raise QueryError(f"the filters of @{name} do not fit: {error}") from error


def _all_probes(query: Query, seen: set[str]) -> Iterator[Probe]:
    """The probes of a query and of the saved ones in it."""
    for probe in query.probes:
        if not isinstance(probe, SavedProbe):
            yield probe
        elif probe.meaning is not None and probe.name not in seen:
            seen.add(probe.name)
            yield from _all_probes(probe.meaning, seen)


def _images_at(paths: Iterable[Path], catalog: CatalogReads) -> set[int]:
    """The images that these files are; a copy under another name is worth finding."""
    from clipsearch.images import open_picture

    found: set[int] = set()
    for path in map(reachable, paths):
        try:
            open_picture(path).close()  # a slip of the pen should not wait for the model to load
        except ImageError as error:
            raise unusable(error) from error
        # Once as the user reaches it and once without links, as roots are recorded.
        for place in {os.path.abspath(path), os.path.realpath(path)}:
            record = catalog.image_at(os.fsencode(place))
            found |= {record.image_id} if record else set()
    return found


def _stored_vectors(ids: list[int], model_id: int, catalog: CatalogAccess) -> dict[int, FloatArray]:
    with catalog.snapshot() as state:
        found, vectors = state.vectors_of(model_id, np.array(ids, dtype=np.int64))
        by_id = dict(zip(found.tolist(), vectors, strict=True))
        missing = [image_id for image_id in ids if image_id not in by_id]
        paths = state.paths_of(np.array(missing, dtype=np.int64)) if missing else {}
    for image_id in missing:
        if image_id in paths:
            raise QueryError(
                f"the image #{image_id} has no vector, because it could not be read: "
                '"clipsearch errors" says why'
            )
        raise QueryError(
            f"there is no image #{image_id} in the library: take an image_id of a hit, which "
            "--json shows; in quotation marks it is words"
        )
    return by_id
