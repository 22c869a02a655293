"""The words of a run, learned from scenes of squares."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from clipsearch.clip.tokenizer import Tokenizer
from tests.training.fakes import squares
from training import vocabulary
from training.concepts import Concept
from training.vocabulary import NAME_LENGTH, PROMPTS_PER_CONCEPT, learn_vocabulary, name_tokens

ANIMALS = [Concept("", f"{name}", "animal", (f"{name}ling",)) for name in ("hedgehog", "walrus")]


@pytest.fixture
def tokenizer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tokenizer:
    monkeypatch.setattr(vocabulary, "draw_sprites", lambda concepts: squares()[: len(concepts)])
    monkeypatch.setattr(vocabulary, "N_SCENES", 20)
    concepts = [*ANIMALS, Concept("", "owl", "bird", ())]  # three, as the largest scenes need
    learn_vocabulary(tmp_path / "merges.txt.gz", 1, concepts)
    return Tokenizer.from_file(tmp_path / "merges.txt.gz")


def test_names_aliases_and_the_words_of_captions_are_whole(tokenizer: Tokenizer) -> None:
    for word in ("hedgehog", "hedgehogling", "walrus", "background"):
        assert len(tokenizer.encode(word)) == 1


def test_every_concept_has_several_wordings(tokenizer: Tokenizer) -> None:
    tokens = name_tokens(ANIMALS, tokenizer, seed=1)
    assert tokens.shape == (len(ANIMALS), PROMPTS_PER_CONCEPT, NAME_LENGTH)
    assert tokens.dtype == torch.int64
    assert len(np.unique(tokens[0].numpy(), axis=0)) > 2
    for concept, wordings in zip(ANIMALS, tokens, strict=True):
        texts = [tokenizer.decode(row[row > 0].tolist()) for row in wordings]
        assert all(concept.name in text for text in texts)
