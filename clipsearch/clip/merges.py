"""Where a tokenizer's merges come from: beside the weights, --vocab, the cache, open_clip, the web.

In: how many tokens the model knows. Out: a path. Knows nothing of what the merges mean.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from clipsearch.clip.cache import ModelCache, sha256_of
from clipsearch.clip.download import fetch
from clipsearch.clip.manifest import MERGES_FILE
from clipsearch.clip.registry import CLIP_MERGES, CLIP_MERGES_FILE, CLIP_VOCAB_SIZE
from clipsearch.errors import BrokenCheckpoint, ModelUnavailable

# Ours, and transformers' own. Either belongs to the model that it lies beside.
OWN_FILES = (MERGES_FILE, "merges.txt")


def merges_for(weights_file: Path, vocab_size: int, cache: ModelCache) -> Path:
    """The merges for a weights file with `vocab_size` tokens; whether they fit is not looked at.

    Raises BrokenCheckpoint if there are none for it, ModelUnavailable if they could not be fetched.
    """
    given = given_merges(cache)
    if own := own_merges(weights_file):
        return own
    is_clip = vocab_size == CLIP_VOCAB_SIZE
    if is_clip and (beside := _clip_merges_in(weights_file.parent)):
        return beside
    if given is not None:
        return given
    if not is_clip:
        raise BrokenCheckpoint(
            f"{weights_file} knows {vocab_size} tokens and not CLIP's {CLIP_VOCAB_SIZE}: put its"
            f" merges beside it as {MERGES_FILE}, or give them with --vocab FILE"
        )
    try:
        return find_clip_merges(cache)
    except ModelUnavailable as error:
        raise ModelUnavailable(
            f"{weights_file} needs the vocabulary of CLIP's models, which is not on this machine"
            f" and cannot be fetched: get {CLIP_MERGES.url} and put it beside the file, or give it"
            " with --vocab FILE"
        ) from error


def own_merges(weights_file: Path) -> Path | None:
    """The merges beside a weights file, which come before all others."""
    beside = (weights_file.with_name(name) for name in OWN_FILES)
    return next((path for path in beside if path.is_file()), None)


def given_merges(cache: ModelCache) -> Path | None:
    """What the user named. Raises BrokenCheckpoint if it is no file."""
    if cache.vocab is not None and not cache.vocab.is_file():
        raise BrokenCheckpoint(f"there is no vocabulary {cache.vocab}: correct --vocab FILE")
    return cache.vocab


def find_clip_merges(cache: ModelCache) -> Path:
    """OpenAI's list of merges, checked by SHA-256, wherever it lies: else it is fetched.

    Raises ModelUnavailable if it is nowhere.
    """
    for folder in [cache.folder, *_open_clip_folders()]:
        if found := _clip_merges_in(folder):
            return found
    return fetch(CLIP_MERGES, CLIP_MERGES_FILE, "the vocabulary of CLIP's models", cache)


def _clip_merges_in(folder: Path) -> Path | None:
    path = folder / CLIP_MERGES_FILE
    return path if path.is_file() and sha256_of(path) == CLIP_MERGES.sha256 else None


def _open_clip_folders() -> list[Path]:
    spec = find_spec("open_clip")  # looks, and imports nothing
    folders = spec.submodule_search_locations if spec else None
    return [Path(folder) for folder in folders or ()]
