"""When is a hit a hit: how far pictures stand out for a question, and from what.

In: vectors of the question, of pictures, and of what is ordinary: a sample of the library, and
prompts that ask for anything. Out: a confidence for each picture. Knows no catalog and no model.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from clipsearch.probes import Query, TextProbe
from clipsearch.vectors import FloatArray

Numbers = NDArray[np.float64]

# A picture with at least this confidence is a match.
MATCH = 0.5
# Pictures are looked at in steps of so many, best score first, the first step for the gap below.
STEP = 32

# Measured in dev/LOG.md, "when is a hit a hit", like all that follows.
# By so much a match has to stand out beyond what the best of as many ordinary pictures does. A
# question of several parts is matched in part by many more pictures than one of a single word.
_MARGIN, _MARGIN_OF_PARTS = 0.3, 0.6
# As if there were at least so many pictures for each that matches.
_LEAST_ODDS = 10.0
# Where standing drops by this much from one picture to the next, those below match in part only.
_GAP = 0.15
# How steeply confidence rises with standing.
_STEEPNESS = 3.5
# What is known beforehand counts like so many pictures: a sample of one says little.
_PRIOR_WEIGHT = 16.0
# Between pictures nothing is known from prompts; these are usual means and deviations of CLIP's.
_BETWEEN_PICTURES = (0.5, 0.15)
# Scores are no nearer to each other than what is kept of vectors can tell; without it a library of
# equal pictures would divide by zero.
_LEAST_DEVIATION = 1e-3
# A sample that holds the picture itself says nothing by it.
_ITSELF = 0.9999
_ARTICLES = {"a", "an", "the"}


@dataclass(frozen=True)
class Ordinary:
    """What is ordinary in one library.

    `sample` `[s, dim]` are vectors from all over it, `prompts` `[p, dim]` those of NULL_PROMPTS,
    `n_pictures` its size, which need not be exact.
    """

    sample: FloatArray
    prompts: FloatArray
    n_pictures: int

    @cached_property
    def wide_sample(self) -> Numbers:
        """The sample in float64."""
        return self.sample.astype(np.float64)

    @cached_property
    def wide_prompts(self) -> Numbers:
        """The prompts in float64."""
        return self.prompts.astype(np.float64)

    @cached_property
    def from_prompts(self) -> tuple[float, float, float]:
        """The scores that prompts get in the library: their level, the deviation about it within
        one prompt, and that of the levels of prompts."""
        common = (self.prompts @ self.sample.T).astype(np.float64)  # [p, s]
        level, deviation = _usual(common)
        spread = _median(np.abs(common.mean(axis=1) - level)) * 1.48
        return level, deviation, spread

    @cached_property
    def between_pictures(self) -> float:
        """The level of the scores that the library's pictures get from each other."""
        common = (self.sample @ self.sample.T).astype(np.float64)
        return _blended(common.ravel(), *_BETWEEN_PICTURES)[0]


class LastOrdinary:
    """Remembers what is ordinary, of which most is worth computing once for many questions.

    Threads may share it; another sample, as after a change of the library, takes its place.
    """

    def __init__(self) -> None:
        self._last: Ordinary | None = None

    def of(self, sample: FloatArray, prompts: FloatArray, n_pictures: int) -> Ordinary:
        """That of these arrays, the same object as long as they are the same objects."""
        last = self._last
        if last is None or last.sample is not sample or last.prompts is not prompts:
            self._last = last = Ordinary(sample, prompts, n_pictures)
        return last


@dataclass(frozen=True)
class Asked:
    """A question: its unit vector `[dim]`, and what kind of question it is.

    `is_words` if it is one text, so that its scores compare with those of the prompts; what is
    composed, or begins with a picture, has scores at a level of its own. `has_parts` if a picture
    can match a part of it.
    """

    vector: FloatArray
    is_words: bool
    has_parts: bool

    @classmethod
    def of(cls, query: Query, vector: FloatArray) -> Asked:
        """The query that this is the vector of."""
        texts = [probe.text for probe in query.probes if isinstance(probe, TextProbe)]
        words = [word for text in texts for word in text.lower().split() if word not in _ARTICLES]
        n_pictures = len(query.probes) - len(texts)
        return cls(vector, len(query.probes) == len(texts) == 1, len(words) + n_pictures > 1)


@dataclass(frozen=True)
class Floor:
    """What a match stands out by at least, and below which standing one matches only in part."""

    enough: float
    whole: float


def standing(asked: Asked, vectors: FloatArray, scores: Numbers, ordinary: Ordinary) -> Numbers:
    """How far pictures `[k, dim]` with these scores stand out for a question: `[k]`.

    It is the mean of two distances, in standard deviations: of the score from those that the
    question gets all over the library, and from those that the picture gets from any prompt.
    """
    wide = vectors.astype(np.float64)
    wide /= np.linalg.norm(wide, axis=1, keepdims=True)
    sample, prompts = ordinary.wide_sample, ordinary.wide_prompts
    vector = asked.vector
    if asked.is_words:
        mean, deviation = _of_words(sample @ vector, *ordinary.from_prompts)
        row_means, row_deviations = _moments(wide @ prompts.T)
        from_library = (scores - mean) / deviation
        from_prompts = (scores - row_means) / row_deviations
        standing: Numbers = (from_library + from_prompts) / 2
        return standing
    is_like_words = float(np.mean(prompts @ vector)) > float(np.mean(sample @ vector))
    others = prompts if is_like_words else sample
    usual = ordinary.from_prompts[:2] if is_like_words else _BETWEEN_PICTURES
    mean, deviation = _blended(sample @ vector, *usual)
    row_means, row_deviations = _rows(wide @ others.T, *usual)
    level = usual[0] if is_like_words else ordinary.between_pictures
    excess = scores - mean - (row_means - level)
    return excess / np.sqrt(deviation * row_deviations)


def floor_of(
    asked: Asked, first: Numbers, ordinary: Ordinary, of_sample: Callable[[], Numbers]
) -> Floor:
    """What a match stands out by, from the standing of the first STEP pictures, best score first.

    The more there are that stand out, the less each has to: one of a hundred thousand is asked for
    more than ten thousand. If all the first do, `of_sample` says how many there are. And where the
    best stand apart from the next, those match only a part of the question.
    """
    margin = _MARGIN_OF_PARTS if asked.has_parts or not asked.is_words else _MARGIN
    ordered = -np.sort(-first)
    n_matches = _n_matches(ordered, ordinary.n_pictures, margin)
    if n_matches == STEP:
        others = -np.sort(-of_sample())
        share = _n_matches(others, len(others), margin) / len(others)
        n_matches = max(STEP, round(share * ordinary.n_pictures))
    enough = float(_enough(ordinary.n_pictures / max(n_matches, 1), margin))
    drops = np.nonzero(ordered[:-1] - ordered[1:] >= _GAP)[0]
    if drops.size == 0 or not asked.has_parts:
        return Floor(enough, -np.inf)
    return Floor(enough, float(ordered[drops[0]] + ordered[drops[0] + 1]) / 2)


def confidences(standing: Numbers, floor: Floor) -> Numbers:
    """0 to 1, MATCH where it is just enough. Rounded, so that no order of summing decides."""
    above = standing - floor.enough
    is_whole = standing >= floor.whole
    above = np.where(is_whole, above, np.minimum(above, standing - floor.whole))
    rounded: Numbers = np.round(1.0 / (1.0 + np.exp(-np.clip(_STEEPNESS * above, -30, 30))), 4)
    return rounded


def _n_matches(ordered: Numbers, n_pictures: int, margin: float) -> int:
    """How many of the best, in falling order, stand out enough for as many as they are."""
    counts = np.arange(1, len(ordered) + 1)
    stands_out = np.nonzero(ordered >= _enough(n_pictures / counts, margin))[0]
    return int(stands_out[-1]) + 1 if stands_out.size else 0


def _enough(odds: Numbers | float, margin: float) -> Numbers:
    """What one of so many pictures stands out by at least: about what the best of as many normal
    numbers is, and the margin."""
    enough: Numbers = np.sqrt(2.0 * np.log(np.maximum(odds, _LEAST_ODDS))) + margin
    return enough


def _of_words(
    scores: Numbers, level: float, deviation: float, spread: float
) -> tuple[float, float]:
    """Mean and deviation of the scores that words get where nobody means them."""
    mean, own_deviation = _blended(scores, level, deviation)
    # A question whose scores are all high is one that most of the library answers.
    return min(mean, level + 2 * spread), min(own_deviation, 1.5 * deviation)


def _usual(common: Numbers) -> tuple[float, float]:
    """The level and the deviation of the scores `[p, s]` that prompts get in the library."""
    within = common.std(axis=1) if common.shape[1] >= _PRIOR_WEIGHT else common.std()
    deviation = max(_median(np.ravel(within)), _LEAST_DEVIATION)
    return _median(common.mean(axis=1)), deviation


def _median(values: Numbers) -> float:
    """As np.median, which imports numpy.ma: a twentieth of a question in a new process."""
    ordered, n = np.sort(values), values.size
    return float(ordered[(n - 1) // 2] + ordered[n // 2]) / 2


def _blended(scores: Numbers, usual_mean: float, usual_deviation: float) -> tuple[float, float]:
    """Mean and deviation, drawn towards what is usual where there are few."""
    means, deviations = _rows(scores[None], usual_mean, usual_deviation)
    return float(means[0]), float(deviations[0])


def _rows(scores: Numbers, usual_mean: float, usual_deviation: float) -> tuple[Numbers, Numbers]:
    """The same of every row; a picture's score with itself is left out."""
    is_other = scores < _ITSELF
    n = is_other.sum(axis=1)
    kept = np.where(is_other, scores, 0.0)
    means = (kept.sum(axis=1) + _PRIOR_WEIGHT * usual_mean) / (n + _PRIOR_WEIGHT)
    squares = np.where(is_other, (scores - means[:, None]) ** 2, 0.0).sum(axis=1)
    variances = (squares + _PRIOR_WEIGHT * usual_deviation**2) / (n + _PRIOR_WEIGHT)
    return means, np.sqrt(variances)


def _moments(scores: Numbers) -> tuple[Numbers, Numbers]:
    return scores.mean(axis=1), np.maximum(scores.std(axis=1), _LEAST_DEVIATION)
