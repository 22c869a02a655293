"""Questions for a collection of scenes: for what is in it, and for what is not.

In: pictures with what they show, the names that may be asked for. Out: Questions, each of which
knows the pictures that are right. Knows nothing of models.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clipsearch.vectors import FloatArray
from training.captions import NUMBERS, article, plural
from training.draw_demo import Entry, Shown

# Kinds of questions that mini can be asked. The colour of a thing it cannot tell: what it ranks
# first is wrong most of the time, and no cutoff can mend that.
KINDS = ("a name", "a number of them", "two things", "a caption")
COLOUR = "a colour of a thing"
# What mini was never taught, and what nobody was.
UNKNOWN = """
a photosynthesis diagram, democracy, jazz, a quarterly report, philosophy, inflation, an
archipelago, gothic architecture, a carburettor, my grandmother, a lecture, quantum physics,
bureaucracy, a spreadsheet, a tax form, nostalgia, a chandelier, an escalator, a vineyard, a
stethoscope, a trampoline, parquet, a lighthouse keeper, a bulldozer, ravioli, a trombone
player, a cello, a hovercraft, a mortgage, an x-ray, a zeppelin, granite, a submarine,
wallpaper, a scaffold, an orchestra, a turbine, a barcode, a passport, a cathedral
"""
GIBBERISH_SEED = 8


@dataclass(frozen=True)
class Collection:
    """Vectors `[n, dim]` of pictures, and what each shows."""

    vectors: FloatArray
    entries: Sequence[Entry]

    def part(self, positions: Sequence[int]) -> Collection:
        """Some of the pictures."""
        return Collection(self.vectors[list(positions)], [self.entries[at] for at in positions])


@dataclass(frozen=True)
class Wanted:
    """A thing that a question names; None leaves its number or colour open."""

    name: str
    count: int | None = None
    colour: str | None = None

    def is_shown(self, entry: Entry) -> bool:
        """Whether a picture shows it."""
        return any(self._is(thing) for thing in entry["things"])

    def _is(self, thing: Shown) -> bool:
        return (
            thing["name"] == self.name
            and self.count in (None, thing["count"])
            and self.colour in (None, thing["colour"])
        )


@dataclass(frozen=True)
class Question:
    """Words, and the things that a picture has to show to be right; `ending` its caption has."""

    kind: str
    text: str
    wanted: tuple[Wanted, ...]
    is_there: bool
    ending: str = ""

    def right(self, collection: Collection) -> NDArray[np.bool_]:
        """Which pictures are right, `[n]`."""
        return np.array(
            [
                self.is_there
                and all(thing.is_shown(entry) for thing in self.wanted)
                and entry["caption"].endswith(self.ending)
                for entry in collection.entries
            ]
        )


def questions(collection: Collection, names: Sequence[str], seed: int = 0) -> list[Question]:
    """As many for what is there as for what is not, and then those that are counted apart.

    `names` may be asked for. What is not there shares no word with what is, but for names that
    are related.
    """
    random = np.random.default_rng(seed)
    shown = {thing["name"] for entry in collection.entries for thing in entry["things"]}
    said = {word for name in shown for word in _words(name)}
    absent = [name for name in names if not _words(name) & said]
    related = [name for name in names if name not in shown and _words(name) & said]
    there = _there(collection.entries, set(names))
    chosen = [str(name) for name in random.permutation(absent)]
    missing = [_replaced(question, chosen, at) for at, question in enumerate(there)]
    aside = [_single("a related name", name, False) for name in related[:100]]
    unknown = " ".join(UNKNOWN.split()).split(", ")
    aside += [Question("a word never taught", text, (), False) for text in unknown]
    aside += [Question("gibberish", text, (), False) for text in _gibberish()]
    return there + missing + aside


def _there(entries: Sequence[Entry], names: set[str]) -> list[Question]:
    found: dict[str, Question] = {}
    for entry in entries:
        things = [thing for thing in entry["things"] if thing["name"] in names]
        for thing in things:
            some = [_single("a name", thing["name"], True)]
            if thing["count"] > 1:
                some.append(_counted(thing["name"], thing["count"]))
            if thing["colour"]:
                some.append(_coloured(thing["name"], thing["colour"]))
            found |= {each.text: each for each in some}
        if len(things) == len(entry["things"]):
            if len(things) == 2:
                pair = _pair(things[0]["name"], things[1]["name"])
                found[pair.text] = pair
            found[entry["caption"]] = _caption(entry)
    return sorted(found.values(), key=lambda question: (question.kind, question.text))


def _single(kind: str, name: str, is_there: bool) -> Question:
    return Question(kind, article(name), (Wanted(name),), is_there)


def _counted(name: str, count: int) -> Question:
    text = f"{NUMBERS[count]} {plural(name)}"
    return Question("a number of them", text, (Wanted(name, count=count),), True)


def _coloured(name: str, colour: str) -> Question:
    return Question(COLOUR, article(f"{colour} {name}"), (Wanted(name, colour=colour),), True)


def _pair(first: str, second: str) -> Question:
    text = f"{article(first)} and {article(second)}"
    return Question("two things", text, (Wanted(first), Wanted(second)), True)


def _caption(entry: Entry) -> Question:
    things = [Wanted(each["name"], each["count"], each["colour"]) for each in entry["things"]]
    ending = " ".join(entry["caption"].split()[-2:])
    return Question("a caption", entry["caption"], tuple(things), True, ending)


def _replaced(question: Question, absent: Sequence[str], at: int) -> Question:
    """The same question for things that are not there."""
    text = question.text
    for step, thing in enumerate(question.wanted):
        other = absent[(at + 7 * step) % len(absent)]
        text = text.replace(plural(thing.name), plural(other)).replace(thing.name, other)
    return Question(question.kind, text, (), False)


def _gibberish() -> list[str]:
    random = np.random.default_rng(GIBBERISH_SEED)
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
    words = ["".join(random.choice(letters, random.integers(3, 9))) for _ in range(80)]
    return [" ".join(words[at : at + 1 + at % 3]) for at in range(0, 78, 2)]


def _words(name: str) -> set[str]:
    return set(name.replace("'s", "").split())
