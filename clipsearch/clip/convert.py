"""A weights file → a bundle, once; only bundles are loaded after that.

In: a file whose SHA-256 is known. Out: a bundle's folder. Knows nothing of names that users type.
"""

from __future__ import annotations

from pathlib import Path

from clipsearch.clip.bundle import save_bundle
from clipsearch.clip.checkpoint import read_checkpoint
from clipsearch.clip.download import ModelCache
from clipsearch.clip.manifest import Manifest
from clipsearch.clip.merges import merges_for
from clipsearch.clip.preprocess import Preprocess
from clipsearch.clip.registry import published_with_sha256


def convert(path: Path, folder: Path, sha256: str, cache: ModelCache) -> Manifest:
    """Write the bundle of `path` to `folder`. Weights keep the dtypes that they have in the file.

    Raises BrokenCheckpoint if the file cannot be used, ModelUnavailable if its merges cannot be
    had.
    """
    config, weights = read_checkpoint(path)
    published = published_with_sha256(sha256)
    manifest = Manifest(
        name=published.name if published else path.name,
        config=config,
        preprocess=Preprocess(config.vision.image_size).to_dict(),
        source_sha256=sha256,
        description=published.description if published else f"converted from {path.name}",
    )
    return save_bundle(folder, weights, merges_for(path, config.text.vocab_size, cache), manifest)
