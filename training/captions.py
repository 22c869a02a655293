"""Captions of scenes. In: a Scene, the concepts, a random generator. Out: English, with varied wording."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from training.concepts import Concept
from training.scenes import Scene, Thing

Random = np.random.Generator

NUMBERS = {2: "two", 3: "three"}
ALIAS_PROBABILITY = 0.25
# "cup with straw" → "cups with straw": what is before one of these is what is counted.
JOINTS = (
    " with ",
    " of ",
    " in ",
    " without ",
    " on ",
    " behind ",
    " facing ",
    " at ",
    " wearing ",
    " playing ",
)
OPENINGS = (
    "",
    "",
    "",
    "",
    "a picture of ",
    "a drawing of ",
    "an image of ",
    "a photo of ",
    "there is ",
    "a scene with ",
)
LEFT_OF = ("{a} next to {b}", "{a} and {b}", "{a} beside {b}", "{a} to the left of {b}", "{b} to the right of {a}", "{a} with {b}", "{b} next to {a}", "{b} and {a}")  # fmt: skip
ABOVE = (
    "{a} above {b}",
    "{a} over {b}",
    "{b} below {a}",
    "{b} under {a}",
    "{a} and {b}",
    "{b} and {a}",
    "{b} with {a}",
)


def caption(
    scene: Scene, concepts: Sequence[Concept], random: Random, *, aliases: bool = True
) -> str:
    """One caption of the scene. `aliases=False` names things by their names alone, and then says all that it knows."""
    parts = [_thing(thing, concepts, random, aliases) for thing in scene.things]
    text = _joined(parts, scene.relation, random)
    if scene.place and (not aliases or random.random() < 0.6):
        text = f"{text} {scene.place}"
    if not aliases or random.random() < 0.6:
        text = f"{text} {random.choice(scene.background)}"
    return f"{random.choice(OPENINGS)}{text}" if aliases else text


def name_prompt(concept: Concept, random: Random) -> str:
    """The concept alone, as someone would ask for it."""
    name = _word(concept, random, aliases=random.random() < 0.5)
    form = int(random.integers(4))
    return (name, article(name), article(name), f"{random.choice(OPENINGS[4:8])}{article(name)}")[
        form
    ]


def article(name: str) -> str:
    """Put a or an before a name, or nothing before a plural."""
    head = _head(name).split()[-1]
    if head.endswith("s") and not head.endswith(("ss", "us", "is")):
        return name
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def plural(name: str) -> str:
    """The plural of a name's head noun."""
    head = _head(name)
    return pluralised(head) + name[len(head) :]


def pluralised(head: str) -> str:
    for end, become in (("man", "men"), ("mouse", "mice"), ("fish", "fish"), ("sheep", "sheep"), ("child", "children"),
                        ("person", "people"), ("leaf", "leaves"), ("wolf", "wolves"), ("knife", "knives"),
                        ("foot", "feet"), ("tooth", "teeth"), ("goose", "geese")):  # fmt: skip
        if head.endswith(end):
            return head[: -len(end)] + become
    if head.endswith("s") and not head.endswith(("ss", "us", "is")):
        return head
    if head.endswith(("s", "x", "ch", "sh", "z")):
        return head + "es"
    if head.endswith("y") and head[-2:-1] not in "aeiou":
        return head[:-1] + "ies"
    return head + "s"


def _head(name: str) -> str:
    cuts = [name.find(joint) for joint in JOINTS if joint in name]
    return name[: min(cuts)] if cuts else name


def _word(concept: Concept, random: Random, aliases: bool) -> str:
    if aliases and concept.aliases and random.random() < ALIAS_PROBABILITY / 0.5:
        return str(random.choice(concept.aliases))
    return concept.name


def _thing(thing: Thing, concepts: Sequence[Concept], random: Random, aliases: bool) -> str:
    name = _word(concepts[thing.concept], random, aliases=aliases and random.random() < 0.5)
    if thing.tint:
        name = f"{thing.tint} {name}"
    if thing.count > 1:
        return f"{NUMBERS[thing.count]} {plural(name)}"
    return article(name)


def _joined(parts: list[str], relation: str | None, random: Random) -> str:
    if len(parts) == 1:
        return parts[0]
    if len(parts) == 2:
        pattern = str(random.choice(LEFT_OF if relation == "left of" else ABOVE))
        return pattern.format(a=parts[0], b=parts[1])
    order = [parts[at] for at in random.permutation(3)]
    return f"{order[0]}, {order[1]} and {order[2]}"
