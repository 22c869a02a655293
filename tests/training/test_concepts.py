"""What is taken from Unicode's files, on excerpts written here."""

from __future__ import annotations

from pathlib import Path

import pytest

from training import concepts as module
from training.concepts import load_concepts

ROWS = (
    ("# group: Animals & Nature", "# subgroup: animal-mammal"),
    ("1F436", "dog face"),
    ("1F415", "dog"),
    ("# group: People & Body", "# subgroup: person-activity"),
    ("1F3C3", "person running"),
    ("1F468", "man running"),
    ("1F57A", "man dancing"),
    ("1F44B", "waving hand: light skin tone"),
    ("# group: Objects", "# subgroup: clothing"),
    ("1F45E", "man\u2019s shoe"),
    ("1F455", "T-shirt"),
    ("# group: Flags", "# subgroup: flag"),
    ("1F6A9", "triangular flag"),
)
KEYWORDS = {"🐕": "dog | pet | four-legged", "🐶": "dog | puppy | 2 eyes", "👕": "t-shirt | tee"}


@pytest.fixture(autouse=True)
def unicode_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [
        "\n".join(row)
        if row[0].startswith("#")
        else f"{row[0]} ; fully-qualified # {chr(int(row[0], 16))} E1.0 {row[1]}"
        for row in ROWS
    ]
    emoji_test, annotations = tmp_path / "emoji-test.txt", tmp_path / "en.xml"
    emoji_test.write_text("\n".join(lines), encoding="utf-8")
    nodes = [
        f'<annotation cp="{glyph}">{words}</annotation>'
        f'<annotation cp="{glyph}" type="tts">aloud</annotation>'
        for glyph, words in KEYWORDS.items()
    ]
    annotations.write_text(f"<ldml>{''.join(nodes)}</ldml>", encoding="utf-8")
    monkeypatch.setattr(module, "EMOJI_TEST", emoji_test)
    monkeypatch.setattr(module, "ANNOTATIONS", annotations)


def test_concepts_come_in_unicodes_order_in_plain_letters_without_what_none_looks_for() -> None:
    names = [concept.name for concept in load_concepts()]
    assert names == ["dog face", "dog", "person running", "man dancing", "man's shoe", "t shirt"]


def test_keywords_that_are_words_and_no_other_concepts_name_are_aliases() -> None:
    aliases = {concept.name: concept.aliases for concept in load_concepts()}
    assert aliases["dog"] == ("pet", "four legged")
    assert aliases["dog face"] == ("puppy",)
    assert aliases["person running"] == ()


def test_a_keyword_of_many_concepts_stands_for_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_SHARED_KEYWORD", 0)
    assert all(concept.aliases == () for concept in load_concepts())
