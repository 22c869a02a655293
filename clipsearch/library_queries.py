"""The queries of a library that have a name: `@beach`.

In: names and queries. Out: rows of the catalog. A part of Library, which opens the catalog.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clipsearch.errors import QueryError
from clipsearch.probes import ImageProbe, Probe, Query, SavedProbe, VectorProbe, checked_name
from clipsearch.query.given import as_query
from clipsearch.query.known import expanded
from clipsearch.wording import is_unicode

if TYPE_CHECKING:
    from clipsearch.catalog import Catalog, SavedQuery
    from clipsearch.indexer.lock import OnWait
    from clipsearch.vectors import FloatArray


class NamedQueries(ABC):
    """Library's methods for saved queries."""

    path: Path

    @abstractmethod
    def _opened(self) -> Catalog: ...

    def save_query(self, name: str, query: Any, *, on_wait: OnWait | None = None) -> None:
        """Give a query, text or a Query, a name, in place of the query that had it.

        Picture files are remembered by their absolute paths. Raises QueryError for a name or query
        that cannot be kept or would lead back to itself, NoLibrary, and LibraryLocked as `index`
        does.
        """
        from clipsearch.indexer.lock import write_lock

        kept = _lasting(as_query(query, _refuse))
        catalog, name = self._opened(), checked_name(name)
        with write_lock(self.path, on_wait):
            _check_kept(name, kept, catalog)
            with catalog.begin() as write:
                write.save_query(name, kept.text)

    def saved_queries(self) -> list[SavedQuery]:
        """All queries that have a name, by name."""
        return self._opened().saved_queries()

    def remove_query(self, name: str, *, on_wait: OnWait | None = None) -> None:
        """Forget the query with this name. Raises QueryError if there is none."""
        from clipsearch.indexer.lock import write_lock

        catalog, name = self._opened(), checked_name(name)
        with write_lock(self.path, on_wait), catalog.begin() as write:
            if not write.remove_saved_query(name):
                raise QueryError(
                    f"no query is saved as {name!r}: clipsearch queries lists those that are"
                )


def _check_kept(name: str, query: Query, catalog: Catalog) -> None:
    """Refuse what could not be asked by this name, before it takes the place of what could."""
    if not is_unicode(query.text):
        raise QueryError(
            f"the query cannot be saved as @{name}, because a path in it is not valid UTF-8: give "
            "that file or folder another name"
        )

    def meaning(each: str) -> str | None:
        return query.text if each == name else catalog.saved_query(each)

    try:
        expanded(Query((SavedProbe(name),)), meaning)
    except QueryError as error:
        raise QueryError(f"the query cannot be saved as @{name}: {error}") from error


def _lasting(query: Query) -> Query:
    """The query as it is meant wherever it is asked from."""
    return replace(query, probes=tuple(_lasting_probe(probe) for probe in query.probes))


def _lasting_probe(probe: Probe) -> Probe:
    if isinstance(probe, VectorProbe):
        raise _not_kept()
    if isinstance(probe, ImageProbe):
        return replace(probe, path=Path(os.path.abspath(os.path.expanduser(probe.path))))
    return probe


def _refuse(_: Any) -> FloatArray:
    raise _not_kept()


def _not_kept() -> QueryError:
    return QueryError(
        "a vector or a picture in memory cannot be saved in a query: name a picture by its path"
    )
