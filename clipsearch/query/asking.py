"""A question → its answer, with all that lies between.

In: whatever a caller gives, a library's catalog, index files and model. Out: Hits. The order of
things is here; how each is done is in the other files of this folder.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from clipsearch.probes import Query
from clipsearch.query.answer import Question, answer
from clipsearch.query.base import BaseFiles
from clipsearch.query.cutoff import LastOrdinary
from clipsearch.query.given import as_query
from clipsearch.query.hits import Hits
from clipsearch.query.known import CatalogAccess, look_up
from clipsearch.query.prompt_vectors import NamedEncoder, PromptVectors
from clipsearch.query.search import Space
from clipsearch.query.vector import image_vector, query_vector
from clipsearch.query.wanted import QueryOptions, Wanted
from clipsearch.settings import Settings

LACKING = (
    "of pictures that an older version indexed, camera, lens, place and kind are not known yet: "
    "clipsearch index FOLDER reads them"
)


@dataclass(frozen=True)
class Asking:
    """A library, as far as questions need it.

    `encoder` loads its model when it is called, and `rest` lets go of what that has in memory.
    """

    catalog: CatalogAccess
    files: BaseFiles
    encoder: Callable[[], NamedEncoder]
    rest: Callable[[], None]
    prompts: PromptVectors
    settings: Settings
    remembered: LastOrdinary = field(default_factory=LastOrdinary)

    def get_ready(self) -> None:
        """What `Library.get_ready` promises."""
        self.prompts.of(self.encoder())

    def hits(self, probe: Any, k: int, options: QueryOptions) -> Hits:
        """What `Library.query` promises."""
        wanted, model = Wanted.of(k, options), self.catalog.model()
        if model is None:
            self.catalog.opened()  # raises NoLibrary if that is why
        query = as_query(probe, lambda image: image_vector(image, self.encoder()), options)
        if model is None:
            return Hits((), query)
        known = look_up(query, model.model_id, self.catalog)
        composed = query_vector(known, self.encoder(), self.settings)
        prompts = self.prompts.of(self.encoder())
        if self.files.is_unread and not wanted.exact:
            self.rest()  # one question alone never needs model and index at a time
        with self.catalog.snapshot() as state:
            if state.model() == model:
                base = None if wanted.exact else self.files.base(state, model)
                space = Space(state, model.model_id, base)
                question = Question(
                    known.query, composed.vector, space, prompts, known.leave_out, self.remembered
                )
                found = answer(question, wanted)
                found.notes += composed.notes
                if len(found) < wanted.k and _asks_details(known.query) and state.lacks_details():
                    found.notes += (LACKING,)
                return found
        return self.hits(probe, k, options)  # the library has changed its model meanwhile


def _asks_details(query: Query) -> bool:
    """Whether its filters ask for what older versions did not read."""
    asked = query.filters
    return bool(asked.cameras or asked.lenses or asked.types or asked.near)
