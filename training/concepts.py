"""The things that mini is taught: emoji glyphs with their Unicode names and CLDR keywords.

In: Unicode's emoji-test.txt and CLDR's English annotations (Debian: unicode-data and
unicode-cldr-core). Out: Concepts in a fixed order. Knows nothing of drawing or training.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

EMOJI_TEST = Path("/usr/share/unicode/emoji/emoji-test.txt")
ANNOTATIONS = Path("/usr/share/unicode/cldr/common/annotations/en.xml")

# Left out: what no one searches a picture for (arrows, letters in boxes), what is a family of
# look-alikes by design (flags, clock faces), and parts that never stand alone (skin, hair).
SKIPPED_GROUPS = {"Component", "Flags", "Symbols"}
SKIPPED_SUBGROUPS = {"family", "time", "person-symbol"}
KEPT_NAMES = {"watch", "alarm clock", "stopwatch", "hourglass done", "mantelpiece clock"}
# "man running", "woman running" and "person running" are one thing to look for: the person.
GENDERED = re.compile(
    r"^(man|woman|men|women)\b.+|.+\b(man|woman|men|women)\b.*|.*(mrs\.|mother).*"
)
KEPT_GENDERED = {
    *("man dancing", "woman dancing", "old man", "old woman", "snowman"),
    *("man's shoe", "woman's boot", "woman's sandal", "woman's hat", "woman's clothes"),
}

# A keyword that many concepts share says too little to stand for one of them in a caption.
MAX_SHARED_KEYWORD = 3

# Typographic quotes, as Unicode writes them, and hyphens, which nobody types into a search.
PLAIN = str.maketrans({"\u2019": "'", "\u201c": None, "\u201d": None, "-": " "})


@dataclass(frozen=True)
class Concept:
    """One drawable thing. `name` is lower case; `aliases` are other words for it, often none."""

    glyph: str
    name: str
    subgroup: str
    aliases: tuple[str, ...]


def load_concepts() -> list[Concept]:
    """Read the Unicode files and return every concept, in Unicode's order.

    Raises FileNotFoundError if Debian's packages are not installed.
    """
    keywords = _keywords()
    rows = [row for row in _emoji_rows() if _is_wanted(*row)]
    usage = Counter(word for glyph, *_ in rows for word in keywords.get(_bare(glyph), ()))
    names = {_plain(name) for _, name, _, _ in rows}
    concepts = []
    for glyph, name, _, subgroup in rows:
        aliases = tuple(
            word
            for word in keywords.get(_bare(glyph), ())
            if usage[word] <= MAX_SHARED_KEYWORD
            and word not in names
            and word.replace(" ", "").isalpha()
        )
        concepts.append(Concept(glyph, _plain(name), subgroup, aliases))
    return concepts


def _emoji_rows() -> list[tuple[str, str, str, str]]:
    """(glyph, name, group, subgroup) of every fully qualified emoji."""
    rows = []
    group = subgroup = ""
    for line in EMOJI_TEST.read_text("utf-8").splitlines():
        if line.startswith("# group: "):
            group = line[9:]
        elif line.startswith("# subgroup: "):
            subgroup = line[12:]
        elif "; fully-qualified" in line:
            codes, comment = line.split(";")[0], line.split("#", 1)[1]
            name = re.sub(r"^\s*\S+\s+E[\d.]+\s+", "", comment)
            glyph = "".join(chr(int(code, 16)) for code in codes.split())
            rows.append((glyph, name, group, subgroup))
    return rows


def _is_wanted(glyph: str, name: str, group: str, subgroup: str) -> bool:
    if group in SKIPPED_GROUPS or (subgroup in SKIPPED_SUBGROUPS and name not in KEPT_NAMES):
        return False
    if ":" in name or "skin tone" in name:
        return False
    return _plain(name) in KEPT_GENDERED or not GENDERED.match(name)


def _keywords() -> dict[str, tuple[str, ...]]:
    """CLDR's keywords of every character, by `_bare` glyph."""
    found: dict[str, tuple[str, ...]] = {}
    for node in ElementTree.parse(ANNOTATIONS).iter("annotation"):
        if node.get("type") != "tts":  # which are names again, for reading aloud
            words = (_plain(word.strip()) for word in (node.text or "").split("|"))
            found[_bare(node.get("cp", ""))] = tuple(dict.fromkeys(words))
    return found


def _bare(glyph: str) -> str:
    """Without the variation selector, which CLDR leaves out."""
    return glyph.replace("\ufe0f", "")


def _plain(name: str) -> str:
    return name.lower().translate(PLAIN)
