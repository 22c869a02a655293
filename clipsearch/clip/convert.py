"""A weights file → a bundle, once; only bundles are loaded after that.

In: a file whose SHA-256 is known. Out: a bundle's folder. Knows nothing of names that users type.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from clipsearch.clip.bundle import save_bundle
from clipsearch.clip.checkpoint import read_checkpoint
from clipsearch.clip.download import ModelCache
from clipsearch.clip.manifest import Manifest
from clipsearch.clip.merges import merges_for
from clipsearch.clip.preprocess import Preprocess
from clipsearch.clip.published import PublishedModel
from clipsearch.clip.registry import published_with_sha256


def convert(
    path: Path,
    folder: Path,
    sha256: str,
    cache: ModelCache,
    published: PublishedModel | None = None,
) -> Manifest:
    """Write the bundle of `path` to `folder`. Weights keep the dtypes that they have in the file.

    `published` is what the file is known to be, if its SHA-256 does not tell. Raises
    BrokenCheckpoint if the file cannot be used, ModelUnavailable if its merges cannot be had.
    """
    config, weights = read_checkpoint(path)
    published = published or published_with_sha256(sha256)
    preprocess = Preprocess(config.vision.image_size).to_dict()
    if published is not None:  # it knows what the shapes cannot tell
        config = replace(config, activation=published.config.activation)
        preprocess |= published.preprocess
    manifest = Manifest(
        name=published.name if published else path.name,
        config=config,
        preprocess=preprocess,
        source_sha256=sha256,
        description=published.description if published else f"converted from {path.name}",
    )
    return save_bundle(folder, weights, merges_for(path, config.text.vocab_size, cache), manifest)
