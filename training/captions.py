"""Captions of scenes.

In: a Scene, the concepts, a random generator. Out: English, with varied wording.
Every random draw counts: another one, or another order, is another training run.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from training.concepts import Concept
from training.scenes import Scene, Thing

Random = np.random.Generator

NUMBERS = {2: "two", 3: "three"}
# Of a thing that has aliases, where they are allowed at all: which is half of the time again.
ALIAS_PROBABILITY = 0.5
# How often a caption says the place, and how often the background.
SAID_PROBABILITY = 0.6
# "cup with straw" → "cups with straw": what is before one of these is what is counted.
JOINTS = (
    *(" with ", " of ", " in ", " without ", " on "),
    *(" behind ", " facing ", " at ", " wearing ", " playing "),
)
PICTURE_OF = ("a picture of ", "a drawing of ", "an image of ", "a photo of ")
OPENINGS = ("", "", "", "", *PICTURE_OF, "there is ", "a scene with ")
LEFT_OF = (
    "{a} next to {b}",
    "{a} and {b}",
    "{a} beside {b}",
    "{a} to the left of {b}",
    "{b} to the right of {a}",
    "{a} with {b}",
    "{b} next to {a}",
    "{b} and {a}",
)
ABOVE = (
    "{a} above {b}",
    "{a} over {b}",
    "{b} below {a}",
    "{b} under {a}",
    "{a} and {b}",
    "{b} and {a}",
    "{b} with {a}",
)
# The end of a head noun and what it becomes; what no row fits follows the spelling rules.
PLURALS = {
    "man": "men",
    "mouse": "mice",
    "fish": "fish",
    "sheep": "sheep",
    "child": "children",
    "person": "people",
    "leaf": "leaves",
    "wolf": "wolves",
    "knife": "knives",
    "foot": "feet",
    "tooth": "teeth",
    "goose": "geese",
}


def caption(
    scene: Scene, concepts: Sequence[Concept], random: Random, *, aliases: bool = True
) -> str:
    """One caption of the scene.

    `aliases=False` names things by their names alone, and then says all that there is to say.
    """
    parts = [_thing(thing, concepts, random, aliases) for thing in scene.things]
    text = _joined(parts, scene.relation, random)
    if scene.place and (not aliases or random.random() < SAID_PROBABILITY):
        text = f"{text} {scene.place}"
    if not aliases or random.random() < SAID_PROBABILITY:
        text = f"{text} {random.choice(scene.background)}"
    return f"{random.choice(OPENINGS)}{text}" if aliases else text


def name_prompt(concept: Concept, random: Random) -> str:
    """The concept alone, as someone would ask for it."""
    name = _word(concept, random, aliases=random.random() < 0.5)
    form = int(random.integers(4))
    # Drawn whether or not it is used: what comes after must not depend on the form.
    opening = random.choice(PICTURE_OF)
    return (name, article(name), article(name), f"{opening}{article(name)}")[form]


def article(name: str) -> str:
    """Put a or an before a name, or nothing before a plural."""
    if _is_plural(_head(name).split()[-1]):
        return name
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def plural(name: str) -> str:
    """A name with its head noun in the plural: "cup with straw" gives "cups with straw"."""
    head = _head(name)
    return _plural_noun(head) + name[len(head) :]


def _plural_noun(head: str) -> str:
    for end, become in PLURALS.items():
        if head.endswith(end):
            return head.removesuffix(end) + become
    if _is_plural(head):
        return head
    if head.endswith(("s", "x", "ch", "sh", "z")):
        return head + "es"
    if head.endswith("y") and head[-2:-1] not in "aeiou":
        return head[:-1] + "ies"
    return head + "s"


def _is_plural(noun: str) -> bool:
    return noun.endswith("s") and not noun.endswith(("ss", "us", "is"))


def _head(name: str) -> str:
    """What stands before the first of JOINTS."""
    cuts = [name.find(joint) for joint in JOINTS if joint in name]
    return name[: min(cuts)] if cuts else name


def _word(concept: Concept, random: Random, aliases: bool) -> str:
    if aliases and concept.aliases and random.random() < ALIAS_PROBABILITY:
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
