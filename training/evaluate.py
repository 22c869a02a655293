"""Measure a bundle and write training/RESULTS.md: `python -m training.evaluate`.

Scenes come from a stream that training never draws from, and two things stand together only in
pairs that training never showed. Pictures pass through the preprocessing and the encoder that a
user's pass through.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from clipsearch.clip.cache import ModelCache
from clipsearch.clip.encoder import Encoder
from clipsearch.vectors import FloatArray
from training.captions import article, caption
from training.concepts import Concept, load_concepts
from training.glyphs import draw_sprites
from training.scenes import Painter, Scene, Stream, generator

POOL = 500
SCENE_PX = 256
SCENES_PER_CONCEPT = 2
ONE_OR_TWO = (0.5, 0.14, 0.36, 0.0)  # the training mix without scenes of three kinds
ALONE = (1.0, 0.0, 0.0, 0.0)
EVALUATION_SEED = 90210  # not the seed of any training run
FIRST_ALONE = 1_000_000  # scenes of one thing are numbered far from those of the pool
# Whether captions use aliases and leave things out, the words for it, and the recall@k to reach.
WORDINGS: tuple[tuple[bool, str, dict[int, float | None]], ...] = (
    (False, "names, place and background said", {1: 0.92, 5: 0.99}),
    (True, "any wording, often without background or place", {1: None, 5: None}),
)
RESULTS = Path("training/RESULTS.md")
DEMO = Path("data/demo")


class TwoTowers(Protocol):
    """What is measured: unit vectors `[n, dim]`. `clipsearch.clip.encoder.Encoder` is one."""

    def encode_images(self, images: Sequence[Image.Image]) -> FloatArray: ...
    def encode_texts(self, texts: Sequence[str]) -> FloatArray: ...


@dataclass(frozen=True)
class Gate:
    """One measured figure and what it must reach; with None it is told for information."""

    what: str
    value: float
    wanted: float | None

    @property
    def holds(self) -> bool:
        """Whether the figure is good enough."""
        return self.wanted is None or self.value >= self.wanted


def evaluate(
    towers: TwoTowers, demo: Path = DEMO, pool: int = POOL, per_concept: int = SCENES_PER_CONCEPT
) -> list[Gate]:
    """Every figure, those with something to reach first.

    The demo's are left out if it has not been drawn.
    """
    concepts = load_concepts()
    painter = Painter(draw_sprites(concepts))
    gates = [
        *retrieval(towers, painter, concepts, pool),
        *naming(towers, painter, concepts, per_concept),
    ]
    if (demo / "captions.json").exists():
        gates += demo_search(towers, demo)
    return sorted(gates, key=lambda gate: gate.wanted is None)


def retrieval(
    towers: TwoTowers, painter: Painter, concepts: Sequence[Concept], pool: int
) -> list[Gate]:
    """Every caption against a pool of scenes, no two of which hold the same things."""
    scenes, vectors = _pool(towers, painter, pool)
    random = np.random.default_rng(EVALUATION_SEED)
    gates = []
    for aliases, wording, wanted in WORDINGS:
        texts = [caption(scene, concepts, random, aliases=aliases) for scene in scenes]
        ranks = ranks_of_own(towers.encode_texts(texts) @ vectors.T)
        for k, want in wanted.items():
            what = f"text→image recall@{k} in {pool} unseen scenes of one or two things ({wording})"
            gates.append(Gate(what, float((ranks < k).mean()), want))
    return gates


def ranks_of_own(scores: FloatArray) -> NDArray[np.int64]:
    """How many others are at least as near to row i as column i is, `[n]`, for scores `[n, n]`.

    Ties count against: else towers that give everything the same vector would pass every gate.
    """
    ranks: NDArray[np.int64] = (scores >= np.diag(scores)[:, None]).sum(1) - 1
    return ranks


def _pool(towers: TwoTowers, painter: Painter, pool: int) -> tuple[list[Scene], FloatArray]:
    """Scenes and the vectors of their pictures."""
    scenes: list[Scene] = []
    pictures: list[Image.Image] = []
    seen: set[frozenset[int]] = set()
    number = 0
    while len(scenes) < pool:
        random = generator(EVALUATION_SEED, Stream.EVALUATE, number)
        scene, picture = painter.draw(random, SCENE_PX, held_out=True, layouts=ONE_OR_TWO)
        number += 1
        if frozenset(scene.concepts) not in seen:
            seen.add(frozenset(scene.concepts))
            scenes.append(scene)
            pictures.append(picture)
    return scenes, towers.encode_images(pictures)


def naming(
    towers: TwoTowers, painter: Painter, concepts: Sequence[Concept], per_concept: int
) -> list[Gate]:
    """Each concept alone in a scene: is its own name the nearest of all names?"""
    names = towers.encode_texts([article(concept.name) for concept in concepts])
    ranks = []
    for turn in range(per_concept):
        pictures = [_alone(painter, at, len(concepts) * turn + at) for at in range(len(concepts))]
        ranks.append(ranks_of_own(towers.encode_images(pictures) @ names.T))
    wanted = {1: 0.7, 5: None}
    return [
        Gate(
            f"top-{k} for single concepts over all {len(concepts)} names",
            float((np.stack(ranks) < k).mean()),
            want,
        )
        for k, want in wanted.items()
    ]


def _alone(painter: Painter, concept: int, number: int) -> Image.Image:
    alone = Painter(painter.sprites, [concept])
    random = generator(EVALUATION_SEED, Stream.EVALUATE, FIRST_ALONE + number)
    _, picture = alone.draw(random, SCENE_PX, layouts=ALONE)
    return picture


def demo_search(towers: TwoTowers, demo: Path) -> list[Gate]:
    """The demo's files: does the best hit for a concept hold it, does a caption find its own?"""
    document = json.loads((demo / "captions.json").read_text(encoding="utf-8"))
    pictures = document["pictures"]
    vectors = towers.encode_images([_opened(demo / name) for name in pictures])
    held = [{thing["name"] for thing in entry["things"]} for entry in pictures.values()]
    names = document["concepts"]
    best = (towers.encode_texts([article(name) for name in names]) @ vectors.T).argmax(1)
    right = [name in held[at] for name, at in zip(names, best, strict=True)]
    scores = towers.encode_texts([entry["caption"] for entry in pictures.values()]) @ vectors.T
    found = scores.argmax(1) == np.arange(len(pictures))
    concepts = f"demo: the best hit holds the concept, {len(names)} advertised concepts"
    captions = f"demo: a caption's best hit is its picture, {len(pictures)} pictures"
    return [
        Gate(concepts, float(np.mean(right)), 0.9),
        Gate(captions, float(found.mean()), None),
    ]


def _opened(path: Path) -> Image.Image:
    with Image.open(path) as image:
        return image.convert("RGB")


def report(gates: Sequence[Gate], about: str) -> str:
    """RESULTS.md, with a line `about` what was measured."""
    lines = ["# What mini can do", ""]
    lines += ["Written by `python -m training.evaluate`; do not edit.", "", about, ""]
    lines += ["| measured | value | gate | holds |", "|---|---|---|---|"]
    for gate in gates:
        wanted = "" if gate.wanted is None else f"≥ {gate.wanted:.2f}"
        holds = "" if gate.wanted is None else ("yes" if gate.holds else "**no**")
        lines.append(f"| {gate.what} | {gate.value:.3f} | {wanted} | {holds} |")
    return "\n".join([*lines, ""])


def main() -> None:
    """Measure, write the report and print it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="clipsearch/clip/mini")
    parser.add_argument("--demo", type=Path, default=DEMO)
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    towers, about = load_encoder(options.model)
    text = report(evaluate(towers, options.demo), about)
    options.results.write_text(text, encoding="utf-8")
    print(text)


def load_encoder(model: str) -> tuple[TwoTowers, str]:
    """The shipped encoder, as a user's query uses it, and a line about what is measured."""
    encoder = Encoder.load(model, cache=ModelCache(Path("runs"), offline=True))
    about = (
        f"Model {encoder.model_name}, SHA-256 {encoder.model_sha256},"
        f" computed in {encoder.precision}."
    )
    return encoder, about


if __name__ == "__main__":
    main()
