"""What a user calls a model → the folder of its bundle on disk, fetched and converted if need be.

In: a name, a weights file or a folder, and the cache. Out: a path. Loads no model; torch is
imported only to convert.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from clipsearch.clip.download import ModelCache, fetch, sha256_of
from clipsearch.clip.manifest import WEIGHTS_FILE, is_bundle
from clipsearch.clip.merges import given_merges
from clipsearch.clip.registry import (
    MINI,
    MINI_FOLDER,
    PUBLISHED_MODELS,
    PublishedModel,
    model_names,
)
from clipsearch.clip.source import find_source, identify
from clipsearch.errors import ModelError, ModelUnavailable, UnknownModel


def find_model(name_or_path: str | Path, cache: ModelCache) -> Path:
    """The folder of a bundle, for a name of the registry, a bundle's folder, a weights file or a
    folder of open_clip or transformers.

    Raises UnknownModel, ModelUnavailable, ChecksumMismatch or BrokenCheckpoint.
    """
    name = str(name_or_path)
    if name == MINI:
        return _mini()
    published = _published(name)
    if published is not None:
        return _fetched(published, cache)
    path = Path(name_or_path).expanduser()
    if name and is_bundle(path):
        return path
    if path.name == WEIGHTS_FILE and is_bundle(path.parent):
        return path.parent
    if name and (path.is_file() or path.is_dir()):
        return _converted(path, cache)
    raise UnknownModel(
        f"there is no model {name!r}: choose one of {', '.join(model_names())}, or a file or"
        " folder that exists"
    )


def _mini() -> Path:
    if not is_bundle(MINI_FOLDER):
        raise ModelUnavailable(
            f"the bundled model mini is not in {MINI_FOLDER.parent}: install clipsearch again,"
            " train it with"
            " `make train-mini`, or choose another with `--model`"
        )
    return MINI_FOLDER


def _published(name: str) -> PublishedModel | None:
    """The registry's model of that name. "vit-b-32" means ViT-B/32 too, unless it is a file."""
    if name in PUBLISHED_MODELS:
        return PUBLISHED_MODELS[name]
    if Path(name).exists():
        return None
    plain = _plain(name)
    return next((model for model in PUBLISHED_MODELS.values() if _plain(model.name) == plain), None)


def _plain(name: str) -> str:
    return re.sub("[_/@ ]", "-", name).lower()


def _fetched(published: PublishedModel, cache: ModelCache) -> Path:
    folder = published.folder(cache.folder)
    if is_bundle(folder):
        return folder
    with _lock(folder):  # others wait, and then find it done
        if not is_bundle(folder):
            what = f"the model {published.name}"
            checkpoint = fetch(published.checkpoint, published.file_name, what, cache)
            _convert(checkpoint, folder, published.checkpoint.sha256, cache)
            checkpoint.unlink()
    return folder


def _converted(path: Path, cache: ModelCache) -> Path:
    """The bundle made from weights, which are known by their bytes, whatever their name."""
    source = find_source(path)
    sha256, published, recipe = identify(source)
    vocab = given_merges(cache)
    key = sha256[:16] + (f"-{sha256_of(vocab)[:8]}" if vocab else "")
    folder = published.folder(cache.folder) if published else cache.folder / "files" / key
    if is_bundle(folder):
        return folder
    with _lock(folder):
        if not is_bundle(folder):
            # Imported here, because whoever finds a bundle ready must not wait for torch.
            from clipsearch.clip.convert import convert

            convert(source.weights, folder, sha256, cache, recipe, source.name)
    return folder


@contextmanager
def _lock(folder: Path) -> Iterator[None]:
    lock = FileLock(folder.with_name(folder.name + ".lock"))
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ModelError(
            f"models cannot be kept in {folder.parent} ({reason}): choose another cache folder "
            "with CLIPSEARCH_CACHE"
        ) from error
    try:
        yield
    finally:
        lock.release()


def _convert(path: Path, folder: Path, sha256: str, cache: ModelCache) -> None:
    # Imported here, because whoever finds a bundle ready must not wait for torch.
    from clipsearch.clip.convert import convert

    convert(path, folder, sha256, cache)
