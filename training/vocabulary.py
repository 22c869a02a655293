"""The words of a run: its merges, and the wordings of every concept's name as tokens.

In: concepts and a seed. Out: a merges file, and a tensor. Knows nothing of models.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from clipsearch.clip.tokenizer import Tokenizer
from training.bpe import count_words, learn_merges, save_merges
from training.captions import caption, name_prompt
from training.concepts import Concept
from training.glyphs import draw_sprites
from training.scenes import Painter, Stream, generator

MAX_MERGES = 4096
N_SCENES = 4_000
CAPTIONS_EACH = 5
DRAWN_PX = 8  # nobody looks at these: a scene is drawn because the draws behind it count
NAME_LENGTH = 14  # tokens that any concept's name fits into
PROMPTS_PER_CONCEPT = 8
NAMES_STREAM = 99  # of the random generator, apart from those of scenes


def learn_vocabulary(path: Path, seed: int, concepts: Sequence[Concept]) -> None:
    """Write merges learned from captions of the first scenes.

    Every name and alias is counted once more, so that none of them is cut to pieces.
    """
    painter = Painter(draw_sprites(concepts))
    texts = [word for concept in concepts for word in (concept.name, *concept.aliases)]
    for number in range(N_SCENES):
        random = generator(seed, Stream.TRAIN, number)
        scene, _ = painter.draw(random, DRAWN_PX)
        texts.extend(caption(scene, concepts, random) for _ in range(CAPTIONS_EACH))
    save_merges(path, learn_merges(count_words(texts), MAX_MERGES))


def name_tokens(concepts: Sequence[Concept], tokenizer: Tokenizer, seed: int) -> Tensor:
    """Several wordings of every concept: int64 `[concepts, PROMPTS_PER_CONCEPT, NAME_LENGTH]`."""
    random = np.random.default_rng([seed, NAMES_STREAM])
    texts = [
        name_prompt(concept, random) for concept in concepts for _ in range(PROMPTS_PER_CONCEPT)
    ]
    tokens = tokenizer.tokenize(texts, NAME_LENGTH, truncate=True).astype(np.int64)
    return torch.from_numpy(tokens.reshape(len(concepts), PROMPTS_PER_CONCEPT, -1))
