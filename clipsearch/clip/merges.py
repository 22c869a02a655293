"""Where a tokenizer's merges come from: beside the weights, the cache, open_clip, or the web.

In: how many tokens the model knows. Out: a path. Knows nothing of what the merges mean.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from clipsearch.clip.download import ModelCache, fetch, sha256_of
from clipsearch.clip.manifest import MERGES_FILE
from clipsearch.clip.registry import CLIP_MERGES, CLIP_MERGES_FILE, CLIP_VOCAB_SIZE
from clipsearch.errors import BrokenCheckpoint


def merges_for(weights_file: Path, vocab_size: int, cache: ModelCache) -> Path:
    """The merges for a weights file with `vocab_size` tokens.

    Raises BrokenCheckpoint if there are none for it, ModelUnavailable if they could not be fetched.
    """
    own = weights_file.with_name(MERGES_FILE)
    if own.is_file():
        return own
    if vocab_size == CLIP_VOCAB_SIZE:
        return find_clip_merges(cache, beside=weights_file)
    raise BrokenCheckpoint(
        f"{weights_file} knows {vocab_size} tokens and not CLIP's {CLIP_VOCAB_SIZE}: put its"
        f" merges beside it as {MERGES_FILE}"
    )


def find_clip_merges(cache: ModelCache, beside: Path | None = None) -> Path:
    """OpenAI's list of merges, checked by SHA-256.

    It may lie beside a file, in the cache or in an installed open_clip; else it is fetched.
    Raises ModelUnavailable if it is nowhere.
    """
    folders = [cache.folder, *_open_clip_folders()]
    if beside is not None:
        folders.insert(0, beside.parent)
    for folder in folders:
        path = folder / CLIP_MERGES_FILE
        if path.is_file() and sha256_of(path) == CLIP_MERGES.sha256:
            return path
    return fetch(CLIP_MERGES, CLIP_MERGES_FILE, "the vocabulary of CLIP's models", cache)


def _open_clip_folders() -> list[Path]:
    spec = find_spec("open_clip")  # looks, and imports nothing
    folders = spec.submodule_search_locations if spec else None
    return [Path(folder) for folder in folders or ()]
