"""Measure `clipsearch/query/cutoff.py` on data/demo with mini: `python -m training.cutoff`.

Questions for things that are there against questions for things that are not, made from the
captions and from names that mini was taught; beside it what simpler rules do. The parameters were
chosen on other scenes and on the other half of the names.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clipsearch.clip.cache import ModelCache
from clipsearch.clip.lite import LiteEncoder
from clipsearch.probes import Query, TextProbe
from clipsearch.query.answer import SAMPLE_SIZE
from clipsearch.query.cutoff import MATCH, STEP, Asked, Ordinary, confidences, floor_of, standing
from clipsearch.query.prompts import NULL_PROMPTS
from clipsearch.query.search import exact_scores
from clipsearch.vectors import FloatArray
from training.draw_demo import Entry
from training.evaluate import DEMO, load_encoder
from training.questions import COLOUR, KINDS, Collection, Question, questions

MODEL = "clipsearch/clip/mini"
Flags = NDArray[np.bool_]
Rule = Callable[[NDArray[np.float64]], Flags]  # scores `[n]` → what is shown


@dataclass(frozen=True)
class Asking:
    """Questions with what the pictures of a collection answer.

    `scores` and `sure` `[q, n]`: the cosine and the confidence of every picture; `right` `[q, n]`.
    """

    questions: Sequence[Question]
    scores: NDArray[np.float64]
    sure: NDArray[np.float64]
    right: Flags


@dataclass(frozen=True)
class Figures:
    """`f1` of "is there anything", of as many questions with an answer as without; `precision` of
    what is shown to both, `recall` of what should be; how often anything was shown."""

    f1: float
    precision: float
    recall: float
    shown_there: float
    shown_not_there: float
    n_there: int
    n_not_there: int

    def row(self) -> str:
        """The figures as cells of a table."""
        shares = (self.f1, self.precision, self.recall, self.shown_there, self.shown_not_there)
        return " | ".join(f"{share:.3f}" for share in shares)


def ask(collection: Collection, asked: Sequence[Question], towers: LiteEncoder) -> Asking:
    """Every question to every picture, as a library of these pictures would be asked."""
    prompts = _stored(towers.encode_texts(NULL_PROMPTS))
    vectors = collection.vectors
    spread = np.unique(np.linspace(0, len(vectors) - 1, min(SAMPLE_SIZE, len(vectors))).astype(int))
    ordinary = Ordinary(vectors[spread], prompts, len(vectors))
    texts = towers.encode_texts([question.text for question in asked])
    scores = np.stack([exact_scores(vectors, text) for text in texts])
    sure = [
        _sure(Asked.of(Query((TextProbe(question.text),)), text), vectors, row, ordinary)
        for question, text, row in zip(asked, texts, scores, strict=True)
    ]
    right = np.stack([question.right(collection) for question in asked])
    return Asking(asked, scores, np.stack(sure), right)


def figures(asking: Asking, shown: Flags, kinds: Sequence[str]) -> Figures:
    """What a rule achieves in questions of these kinds and their counterparts."""
    kind = np.array([question.kind for question in asking.questions])
    is_there = np.array([question.is_there for question in asking.questions])
    chosen = np.isin(kind, kinds)
    there, missing = shown[chosen & is_there], shown[chosen & ~is_there]
    right = asking.right[chosen & is_there]
    hit, false = there.any(axis=1).mean(), missing.any(axis=1).mean()
    n_right = (there & right).sum()
    return Figures(
        f1=2 * hit / (1 + hit + false),
        precision=n_right / max(1, there.sum() + missing.sum()),
        recall=n_right / right.sum(),
        shown_there=float(hit),
        shown_not_there=float(false),
        n_there=len(there),
        n_not_there=len(missing),
    )


def simple_rules(asking: Asking, kinds: Sequence[str]) -> dict[str, Figures]:
    """The baselines, each but the first with the parameter that is best in hindsight."""
    scores = asking.scores
    best = scores.max(axis=1, keepdims=True)
    deviations = (scores - scores.mean(axis=1, keepdims=True)) / scores.std(axis=1, keepdims=True)
    tenth = -np.sort(-scores, axis=1)[:, : min(10, scores.shape[1])][:, -1:]
    return {
        "always the best 10": figures(asking, scores >= tenth, kinds),
        "a fixed threshold": _best_of(asking, kinds, scores, np.linspace(0.2, 0.75, 56)),
        "a share of the best": _best_of(asking, kinds, scores / best, np.linspace(0.5, 1.0, 51)),
        "standard deviations": _best_of(asking, kinds, deviations, np.linspace(2.0, 6.0, 81)),
    }


def report(asking: Asking, kinds: Sequence[str]) -> str:
    """The tables: the rules against each other, and the cutoff by kind of question."""
    shown = asking.sure >= MATCH
    rows = {"the cutoff": figures(asking, shown, kinds), **simple_rules(asking, kinds)}
    first = rows["the cutoff"]
    rows["the cutoff, colours of things too"] = figures(asking, shown, (*kinds, COLOUR))
    lines = [
        f"{first.n_there} questions for what is there, {first.n_not_there} for what is not",
        "",
    ]
    lines += ["| rule | F1 | precision | recall | shown: there | shown: not there |"]
    lines += ["|---|---|---|---|---|---|"]
    lines += [f"| {name} | {each.row()} |" for name, each in rows.items()]
    lines += [
        "",
        "| kind of question | asked | anything shown | precision | recall | best is right |",
    ]
    lines += ["|---|---|---|---|---|---|"]
    groups: dict[tuple[str, bool], list[int]] = defaultdict(list)
    for position, question in enumerate(asking.questions):
        groups[question.kind, question.is_there].append(position)
    for (kind, is_there), at in groups.items():
        mine, right = shown[at], asking.right[at]
        cells = [f"{kind}{'' if is_there else ', not there'}", f"{len(at)}"]
        cells.append(f"{mine.any(axis=1).mean():.2f}")
        if is_there:
            best = right[np.arange(len(at)), asking.scores[at].argmax(axis=1)]
            n_right = (mine & right).sum()
            cells += [f"{n_right / max(1, mine.sum()):.2f}", f"{n_right / right.sum():.2f}"]
            cells.append(f"{best.mean():.2f}")
        else:
            cells += ["", "", ""]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def demo_collection(folder: Path = DEMO) -> Collection:
    """The pictures of the demo with their captions, encoded as a library keeps them."""
    from PIL import Image

    entries: dict[str, Entry] = json.loads((folder / "captions.json").read_text("utf-8"))[
        "pictures"
    ]
    encoder, _ = load_encoder(MODEL)
    images = []
    for name in entries:
        with Image.open(folder / name) as image:
            images.append(image.convert("RGB"))
    return Collection(_stored(encoder.encode_images(images)), list(entries.values()))


def text_tower() -> LiteEncoder:
    """What encodes the words of a query."""
    return LiteEncoder.load(MODEL, cache=ModelCache(Path("runs"), offline=True))


def _sure(
    asked: Asked, vectors: FloatArray, scores: NDArray[np.float64], ordinary: Ordinary
) -> NDArray[np.float64]:
    stands = standing(asked, vectors, scores, ordinary)
    sample = ordinary.sample

    def of_sample() -> NDArray[np.float64]:
        return standing(asked, sample, exact_scores(sample, asked.vector), ordinary)

    first = stands[np.lexsort((np.arange(len(scores)), -scores))[:STEP]]
    return confidences(stands, floor_of(asked, first, ordinary, of_sample))


def _best_of(
    asking: Asking, kinds: Sequence[str], values: NDArray[np.float64], cuts: NDArray[np.float64]
) -> Figures:
    found = [figures(asking, values >= cut, kinds) for cut in cuts]
    return max(found, key=lambda each: min(each.f1, each.precision))


def _stored(vectors: FloatArray) -> FloatArray:
    return vectors.astype(np.float16).astype(np.float32)


def taught_names(half: int | None) -> list[str]:
    """Every other name that mini was taught, from the first or the second on; or all."""
    lines = Path("training/VOCABULARY.md").read_text("utf-8").splitlines()
    names = [name for line in lines if ": " in line for name in line.split(": ", 1)[1].split(", ")]
    return names if half is None else names[half::2]


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--half", type=int, choices=(0, 1), default=1)
    options = parser.parse_args()
    towers, names = text_tower(), taught_names(options.half)
    demo = demo_collection()
    print(report(ask(demo, questions(demo, names), towers), KINDS))


if __name__ == "__main__":
    main()
