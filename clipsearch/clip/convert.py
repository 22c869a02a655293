"""A weights file → a bundle, once; only bundles are loaded after that.

In: a file of any supported kind and what is known about it. Out: a bundle's folder. Knows nothing
of names that users type.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from clipsearch.clip.bundle import save_bundle
from clipsearch.clip.cache import ModelCache
from clipsearch.clip.checkpoint import read_checkpoint
from clipsearch.clip.manifest import Manifest, is_bundle, read_manifest
from clipsearch.clip.merges import merges_for
from clipsearch.clip.preprocess import Preprocess
from clipsearch.clip.recipe import Recipe
from clipsearch.clip.registry import published_with_sha256
from clipsearch.clip.source import find_source, identify, recipe_of
from clipsearch.clip.tokenizer import Tokenizer
from clipsearch.errors import BrokenCheckpoint, ModelError, UnknownModel
from clipsearch.settings import Settings

USE_VOCAB = "give the merges of this model with --vocab FILE"


def convert_file(
    path: Path, folder: Path, vocab: Path | None = None, cache: ModelCache | None = None
) -> Manifest:
    """Write the bundle of a weights file or a folder of open_clip or transformers to `folder`.

    `vocab` is where to look for merges that do not lie beside the weights; without a `cache` it is
    that of the settings. Raises UnknownModel if there is no model at `path`, ModelError if `folder`
    holds anything but an earlier conversion of the same weights, otherwise as `convert`.
    """
    if not path.exists():
        raise UnknownModel(f"there is no file or folder {path}: give one with weights in it")
    if is_bundle(path):
        raise ModelError(f"the folder {path} is a model of clipsearch already: use it as it is")
    source = find_source(path)
    identity, _, recipe = identify(source)
    if _is_in_the_way(folder, identity):
        raise ModelError(f"{folder} exists already: choose a folder that does not, or remove it")
    cache = cache or ModelCache.of(Settings.load())
    cache = replace(cache, vocab=vocab or cache.vocab)
    return convert(source.weights, folder, identity, cache, recipe, source.name)


def _is_in_the_way(folder: Path, identity: str) -> bool:
    """Whether there is anything but an earlier conversion of the same weights."""
    if not folder.is_dir():
        return folder.exists()
    is_same = is_bundle(folder) and read_manifest(folder).source_sha256 == identity
    return any(folder.iterdir()) and not is_same


def convert(
    path: Path,
    folder: Path,
    sha256: str,
    cache: ModelCache,
    recipe: Recipe | None = None,
    name: str | None = None,
) -> Manifest:
    """Write the bundle of `path` to `folder`. Weights keep the dtypes that they have in the file.

    `sha256` is what a library will know the model by. Raises BrokenCheckpoint if the file cannot be
    used or its merges do not fit, ModelUnavailable if there are none.
    """
    published = published_with_sha256(sha256)
    if recipe is None and published is not None:
        recipe = recipe_of(published)
    config, weights = read_checkpoint(path, recipe)
    merges = merges_for(path, config.text.vocab_size, cache)
    n_tokens = Tokenizer.from_file(merges).vocab_size
    if n_tokens != config.text.vocab_size:
        # Those beside the file come before all others.
        is_beside = merges.parent == path.parent and merges != cache.vocab
        remedy = "put the merges of this model in its place" if is_beside else USE_VOCAB
        raise BrokenCheckpoint(
            f"{merges} makes {n_tokens} tokens and {path} knows {config.text.vocab_size}: {remedy}"
        )
    size = config.vision.image_size
    preprocess = Preprocess(size).to_dict() | (recipe.preprocess if recipe else {})
    manifest = Manifest(
        name=published.name if published else name or path.name,
        config=config,
        preprocess=Preprocess.from_dict(preprocess).to_dict(),
        source_sha256=sha256,
        description=published.description if published else f"converted from {name or path.name}",
    )
    return save_bundle(folder, weights, merges, manifest)
