"""Scenes: one to three kinds of things over a background.

In: a random generator and sprites. Out: a Scene, which says what is there, and its picture.
The same code draws for training, evaluation and data/demo: they differ in stream and size.
Every random draw counts: another one, or another order, is another training run.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from training.backgrounds import COLOURS, draw_background, shade
from training.glyphs import Sprite, tinted

Random = np.random.Generator

# The probability that a scene holds: one thing, one kind twice or thrice, two kinds, three kinds.
LAYOUT_WEIGHTS = (0.45, 0.12, 0.33, 0.10)
TINT_PROBABILITY = 0.08
# Of all unordered pairs of concepts, one in HELD_OUT is never drawn together in training.
HELD_OUT = 10
# Where a lone thing can be said to be: the middle of it, as fractions of the picture.
PLACES = {
    "on the left": (0.27, 0.5),
    "on the right": (0.73, 0.5),
    "at the top": (0.5, 0.27),
    "at the bottom": (0.5, 0.73),
}
THREE_POINTING_DOWN = ((0.27, 0.28), (0.74, 0.3), (0.5, 0.73))
THREE_POINTING_UP = ((0.5, 0.27), (0.26, 0.72), (0.74, 0.72))
FOUR_CORNERS = ((0.26, 0.27), (0.74, 0.27), (0.26, 0.73), (0.74, 0.73))


class Stream(IntEnum):
    """Who draws. Scenes of different streams share nothing, whatever their seed and number."""

    TRAIN = 0
    EVALUATE = 1
    DEMO = 2
    VALIDATE = 3


@dataclass(frozen=True)
class Thing:
    """One kind of thing: `concept` is its place in the list, `tint` the name of a colour."""

    concept: int
    count: int
    tint: str | None


@dataclass(frozen=True)
class Placement:
    """Where one copy stands: centre and side as fractions of the picture, angle in degrees."""

    x: float
    y: float
    side: float
    angle: float
    mirrored: bool


@dataclass(frozen=True)
class Scene:
    """What a picture shows.

    `relation` is how the first of two things stands to the second, `place` where a lone one is.
    `background` holds phrases that fit equally well.
    """

    things: tuple[Thing, ...]
    relation: str | None
    place: str | None
    background: tuple[str, ...]

    @property
    def concepts(self) -> tuple[int, ...]:
        """Every thing's concept."""
        return tuple(thing.concept for thing in self.things)


def generator(seed: int, stream: Stream, number: int) -> Random:
    """The random generator of scene `number`: the same three values draw the same anywhere."""
    return np.random.default_rng([seed, int(stream), number])


def is_held_out(first: int, second: int) -> bool:
    """Whether this pair of concepts is kept from training."""
    return (first + second) % HELD_OUT == 0


class Painter:
    """Draws scenes of the given sprites, of all of them or of the concepts `allowed`."""

    def __init__(self, sprites: Sequence[Sprite], allowed: Sequence[int] | None = None) -> None:
        self.sprites = sprites
        self.allowed = np.arange(len(sprites)) if allowed is None else np.asarray(allowed)

    def draw(
        self,
        random: Random,
        size: int,
        *,
        held_out: bool = False,
        layouts: Sequence[float] = LAYOUT_WEIGHTS,
    ) -> tuple[Scene, Image.Image]:
        """Return a scene and its RGB picture of `size` by `size` pixels.

        `held_out` takes only pairs that are kept from training, and else only the others.
        `layouts` are probabilities as in LAYOUT_WEIGHTS.
        """
        things = self._choose(random, held_out, layouts)
        placements, relation, place = _arrange(random, things)
        canvas, phrases = draw_background(random, size)
        picture = Image.fromarray(np.clip(canvas, 0, 255).astype(np.uint8))
        for thing, spots in zip(things, placements, strict=True):
            colour = None if thing.tint is None else shade(random, thing.tint)
            for spot in spots:
                _stamp(picture, self.sprites[thing.concept], spot, colour)
        return Scene(things, relation, place, phrases), _worn(random, picture)

    def _choose(
        self, random: Random, held_out: bool, layouts: Sequence[float]
    ) -> tuple[Thing, ...]:
        layout = int(random.choice(4, p=layouts))
        kinds = (1, 1, 2, 3)[layout]
        concepts = self._concepts(random, kinds, held_out)
        counts = [int(random.integers(2, 4))] if layout == 1 else [1] * kinds
        if layout == 2 and random.random() < 0.15:
            counts[int(random.integers(2))] = 2
        tints = [
            str(random.choice(list(COLOURS))) if random.random() < TINT_PROBABILITY else None
            for _ in concepts
        ]
        return tuple(Thing(*parts) for parts in zip(concepts, counts, tints, strict=True))

    def _concepts(self, random: Random, kinds: int, held_out: bool) -> list[int]:
        while True:  # one draw in ten is of the rarer sort: this ends soon
            chosen = [int(concept) for concept in random.choice(self.allowed, kinds, replace=False)]
            pairs = [(a, b) for at, a in enumerate(chosen) for b in chosen[at + 1 :]]
            if all(is_held_out(*pair) == held_out for pair in pairs):
                return chosen


def _arrange(
    random: Random, things: Sequence[Thing]
) -> tuple[list[list[Placement]], str | None, str | None]:
    """Where every copy of every thing goes, the relation, and the place."""
    copies = sum(thing.count for thing in things)
    if copies == 1:
        spot, place = _alone(random)
        return [[spot]], None, place
    sideways = random.random() < 0.6 or copies > 3
    slots = _slots(random, copies, sideways)
    placements, at = [], 0
    for thing in things:
        placements.append(slots[at : at + thing.count])
        at += thing.count
    relation = None
    if len(things) == 2:
        relation = "left of" if sideways else "above"
    return placements, relation, None


def _alone(random: Random) -> tuple[Placement, str | None]:
    """One thing, anywhere; or, if it is small, now and then at one of PLACES."""
    side = random.uniform(0.4, 0.9)
    if side > 0.55 or random.random() < 0.5:
        free = max(0.0, 0.98 - side) / 2
        x, y = 0.5 + random.uniform(-free, free), 0.5 + random.uniform(-free, free)
        return _placement(random, x, y, side), None
    place = str(random.choice(list(PLACES)))
    x, y = PLACES[place]
    return _placement(random, x + random.normal(0, 0.02), y + random.normal(0, 0.03), side), place


def _slots(random: Random, copies: int, sideways: bool) -> list[Placement]:
    """A row, a column or, for three and more, a triangle or two rows; in reading order."""
    spots: Iterable[tuple[float, float]]
    if copies == 2:
        side = random.uniform(0.36, 0.52)
        ends = [0.5 - random.uniform(0.22, 0.25), 0.5 + random.uniform(0.22, 0.25)]
        drift = random.uniform(-0.12, 0.12, 2) + 0.5
        spots = zip(ends, drift, strict=True) if sideways else zip(drift, ends, strict=True)
    else:
        side = random.uniform(0.3, 0.42)
        three = THREE_POINTING_DOWN if random.random() < 0.5 else THREE_POINTING_UP
        spots = three if copies == 3 else FOUR_CORNERS
    return [_nudged(random, x, y, side) for x, y in spots]


def _nudged(random: Random, x: float, y: float, side: float) -> Placement:
    x, y = x + random.normal(0, 0.015), y + random.normal(0, 0.015)
    return _placement(random, x, y, side * random.uniform(0.9, 1.1))


def _placement(random: Random, x: float, y: float, side: float) -> Placement:
    return Placement(x, y, side, float(random.normal(0, 12)), bool(random.random() < 0.5))


def _stamp(
    picture: Image.Image, sprite: Sprite, spot: Placement, colour: NDArray[np.float32] | None
) -> None:
    """Paste a turned, scaled copy."""
    side = spot.side * picture.width
    source = sprite.at_least(side)
    if colour is not None:
        source = tinted(source, colour)
    box = int(np.ceil(side * 1.25))  # roomier than the sprite, so that no turned corner is cut
    scale = source.width / side * (-1 if spot.mirrored else 1)
    cosine, sine = np.cos(np.radians(spot.angle)), np.sin(np.radians(spot.angle))
    middle, centre = source.width / 2, box / 2
    across, down = scale, abs(scale)
    # From the copy's pixels back to the sprite's, as Pillow wants it: the first row gives x, the
    # second y, and the box's centre comes from the sprite's.
    matrix = (
        cosine * across, sine * across, middle - (cosine + sine) * centre * across,
        -sine * down, cosine * down, middle - (cosine - sine) * centre * down,
    )  # fmt: skip
    copy = source.transform((box, box), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)
    left, top = round(spot.x * picture.width - centre), round(spot.y * picture.height - centre)
    picture.paste(copy, (left, top), copy)


def _worn(random: Random, picture: Image.Image) -> Image.Image:
    """What happens to pictures on their way: a little blur, JPEG artefacts."""
    if random.random() < 0.15:
        radius = picture.width * random.uniform(0.002, 0.010)
        picture = picture.filter(ImageFilter.GaussianBlur(radius))
    if random.random() < 0.3:
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=int(random.integers(30, 90)))
        picture = Image.open(buffer).convert("RGB")
    return picture
