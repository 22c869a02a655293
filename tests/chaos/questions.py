"""Ask a library through clipsearch, and compare with brute force over what is known to be in it."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np

from clipsearch.errors import NoLibrary
from clipsearch.library import Hit, Library
from tests.chaos.encoder import DIMENSION, HashEncoder, Vector
from tests.chaos.ledger import State
from tests.chaos.oracle import is_answer

KS = (1, 5, 20, 1000)


def question(chance: random.Random) -> tuple[Vector, int]:
    """A unit vector `[16]` and how many hits are wanted."""
    wide = np.array([chance.gauss(0, 1) for _ in range(DIMENSION)])
    return (wide / np.linalg.norm(wide)).astype(np.float32), chance.choice(KS)


def plain(hits: list[Hit]) -> list[tuple[int, str, float]]:
    return [(hit.image_id, str(hit.path), hit.score) for hit in hits]


def wrong_answers(
    library: Path, state: State, chance: random.Random, n_questions: int = 4
) -> list[str]:
    """Answers that are not those of this state, and what the library's own check finds."""
    try:
        with Library(library, create=False, encoder=HashEncoder()) as opened:
            findings = []
            for _ in range(n_questions):
                vector, k = question(chance)
                if not is_answer(state, vector, k, plain(opened.query(vector, k))):
                    findings.append(f"wrong answer: k={k}, vector={vector.tolist()}")
            return findings + own_findings(opened)
    except NoLibrary as error:
        return [f"lost: {error}"] if state else []


def own_findings(library: Library) -> list[str]:
    """What `clipsearch check` would say."""
    return [f"check: {found.kind}: {found.what}" for found in library.check().findings]
