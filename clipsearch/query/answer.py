"""A vector to search for → the hits that are wanted.

In: a query and its vector, one state of the catalog. Out: Hits. Puts together the search, the
cutoff and the order; knows nothing of models.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from clipsearch.probes import Query
from clipsearch.query.cutoff import (
    MATCH,
    STEP,
    Asked,
    Floor,
    LastOrdinary,
    Numbers,
    confidences,
    floor_of,
    standing,
)
from clipsearch.query.hits import Hit, Hits
from clipsearch.query.search import Space, exact_scores, search
from clipsearch.query.wanted import Order, Wanted
from clipsearch.vectors import FloatArray, IdArray

# So many vectors tell what scores are ordinary in a library; reading them takes some 5 ms.
SAMPLE_SIZE = 512


@dataclass(frozen=True)
class Question:
    """What is searched for, and where.

    `vector` is of unit length, `[dim]`; `prompts` `[p, dim]` are those of prompts that ask for
    anything; the images to `leave_out` are no hits. `remembered` outlives the question.
    """

    query: Query
    vector: FloatArray
    space: Space
    prompts: FloatArray
    leave_out: IdArray | None = None
    remembered: LastOrdinary = field(default_factory=LastOrdinary)


def answer(question: Question, wanted: Wanted) -> Hits:
    """The best hits from `wanted.offset` on, each with its confidence."""
    allowed = _allowed(question)
    n_wanted = wanted.offset + wanted.k
    first = _Ranking(question, None).best(STEP)
    if not first:
        return Hits((), question.query)
    judge = _Judge(question, first)
    ranking = _Ranking(question, allowed, first if allowed is None else ())
    if wanted.only_matches:
        found = _matches(ranking, judge, n_wanted)
    else:
        found = judge.judged(ranking.best(n_wanted))
    page = found[wanted.offset : n_wanted]
    if wanted.min_score is not None:
        page = [hit for hit in page if hit.score >= wanted.min_score]
    return Hits(_ordered(page, wanted.sort, question.space), question.query)


@dataclass(frozen=True)
class _Ranking:
    """What is allowed, best score first, of which the `first` may be known."""

    question: Question
    allowed: IdArray | None
    first: Sequence[Hit] = ()

    def best(self, n: int) -> list[Hit]:
        if n <= len(self.first):
            return list(self.first[:n])
        return self._found(n) if self._is_exact else self._continued(n)

    def _continued(self, n: int) -> list[Hit]:
        """Searching deeper, an approximate index may find what it missed before. That comes behind
        what is on earlier pages, so that no picture is on two of them."""
        depth = STEP
        ranked = list(self.first) or self._found(depth)
        n_found = len(ranked)
        while len(ranked) < n and n_found >= depth:
            depth *= 2
            more = self._found(depth)
            n_found = len(more)
            known = {hit.image_id for hit in ranked}
            ranked += [hit for hit in more if hit.image_id not in known]
        return ranked[:n]

    @property
    def _is_exact(self) -> bool:
        if self.question.space.base is None:
            return True
        from clipsearch.index.recipes import EXACT  # who searched without an index has not paid it

        return self.question.space.base.index.recipe == EXACT

    def _found(self, n: int) -> list[Hit]:
        asked = self.question
        return search(asked.vector, asked.space, n, asked.leave_out, self.allowed)


class _Judge:
    """Says how sure a hit is, whatever page it is on and whatever filter it has passed: by what
    the question finds in the whole library."""

    def __init__(self, question: Question, first: Sequence[Hit]) -> None:
        """`first` are the STEP best hits of the whole library."""
        self._question = question
        sample = question.space.catalog.vector_sample(question.space.model_id, SAMPLE_SIZE)
        self._ordinary = question.remembered.of(sample.vectors, question.prompts, sample.n_vectors)
        self._asked = Asked.of(question.query, question.vector)
        self._first = self._standing(first)
        self._known = {hit.image_id: at for at, hit in enumerate(first)}

    def judged(self, hits: Sequence[Hit]) -> list[Hit]:
        """The same hits with their confidence."""
        if not hits:
            return []
        places = [self._known.get(hit.image_id, -1) for hit in hits]
        is_known = min(places) >= 0
        stands = self._first[places] if is_known else self._standing(hits)
        sure = confidences(stands, self._floor)
        return [replace(hit, confidence=float(c)) for hit, c in zip(hits, sure, strict=True)]

    @cached_property
    def _floor(self) -> Floor:
        return floor_of(self._asked, self._first, self._ordinary, self._of_sample)

    def _standing(self, hits: Sequence[Hit]) -> Numbers:
        space = self._question.space
        ids = np.array([hit.image_id for hit in hits], dtype=np.int64)
        _, vectors = space.catalog.vectors_of(space.model_id, ids)
        scores = np.array([hit.score for hit in hits], dtype=np.float64)
        return standing(self._asked, vectors, scores, self._ordinary)

    def _of_sample(self) -> Numbers:
        sample = self._ordinary.sample
        scores = exact_scores(sample, self._asked.vector)
        return standing(self._asked, sample, scores, self._ordinary)


def _allowed(question: Question) -> IdArray | None:
    """The images that pass the filters, None for all."""
    filters = question.query.filters
    return question.space.catalog.matching_ids(filters) if filters else None


def _matches(ranking: _Ranking, judge: _Judge, n_wanted: int) -> list[Hit]:
    """The first matches, at least as many as wanted if there are as many.

    Scores fall, but a hit may be surer than one with a better score. So the end is where STEP hits
    in a row are no matches, wherever a page ends.
    """
    depth = STEP
    while True:
        ranked = judge.judged(ranking.best(depth))
        found: list[Hit] = []
        for start in range(0, len(ranked), STEP):
            some = [hit for hit in ranked[start : start + STEP] if _is_match(hit)]
            found += some
            if not some:
                return found
        if len(found) >= n_wanted or len(ranked) < depth:
            return found
        depth *= 2


def _is_match(hit: Hit) -> bool:
    return hit.confidence is not None and hit.confidence >= MATCH


def _ordered(hits: list[Hit], order: Order, space: Space) -> list[Hit]:
    """By date the newest come first, and last those without a date."""
    if order == "path":
        return sorted(hits, key=lambda hit: os.fsencode(hit.path))
    if order == "date":
        ids = np.array([hit.image_id for hit in hits], dtype=np.int64)
        dates = space.catalog.dates_of(ids)
        return sorted(hits, key=lambda hit: dates.get(hit.image_id, ""), reverse=True)
    return hits
