"""What a user calls a model → the folder of its bundle on disk, fetched and converted if need be.

In: a name, a weights file or a folder, and the cache. Out: a path. Loads no model; torch is
imported only to convert.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from clipsearch.clip.cache import ModelCache, sha256_of
from clipsearch.clip.download import fetch, in_turn, part_of
from clipsearch.clip.intact import require_intact
from clipsearch.clip.manifest import WEIGHTS_FILE, is_bundle
from clipsearch.clip.merges import given_merges, own_merges
from clipsearch.clip.published import PUBLISHED_MODELS, PublishedModel
from clipsearch.clip.recipe import Recipe
from clipsearch.clip.registry import MINI, MINI_FOLDER, model_names
from clipsearch.clip.source import find_source, identify, recipe_of
from clipsearch.errors import ModelError, ModelUnavailable, UnknownModel


def find_model(name_or_path: str | Path, cache: ModelCache) -> Path:
    """The folder of a bundle, for a name of the registry, a bundle's folder, a weights file or a
    folder of open_clip or transformers.

    Its weights are as they were written. Raises UnknownModel, ModelUnavailable, ChecksumMismatch or
    BrokenCheckpoint.
    """
    folder = _found(name_or_path, cache)
    require_intact(folder, cache.folder)
    return folder


def _found(name_or_path: str | Path, cache: ModelCache) -> Path:
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


def download_model(name: str, cache: ModelCache) -> Path:
    """Have a model of the registry in the cache. Raises UnknownModel and what `find_model` does."""
    return _mini() if name == MINI else _fetched(_named(name), cache)


def remove_model(name: str, cache: ModelCache) -> int:
    """Delete a downloaded model, or what has arrived of it. Returns the bytes that this frees.

    The pin of a model without a published SHA-256 stays: the next download has to match it.
    Raises UnknownModel, ModelUnavailable if nothing of it is here, ModelError if it cannot be
    deleted or is the bundled one.
    """
    if name == MINI:
        raise ModelError("the model mini is part of clipsearch and cannot be removed")
    published = _named(name)
    folder = published.folder(cache.folder)
    checkpoint = cache.folder / published.file_name
    with _lock(folder, cache):
        leftovers = [path for path in (checkpoint, part_of(checkpoint)) if path.is_file()]
        if not folder.is_dir() and not leftovers:
            raise ModelUnavailable(
                f"the model {published.name} is not in {cache.folder}, so there is nothing to"
                " remove: `clipsearch models` shows what is here"
            )
        try:
            return sum(map(_delete, [folder, *leftovers]))
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise ModelError(
                f"the model {published.name} cannot be removed ({reason}): check the permissions"
                f" of {cache.folder}"
            ) from error


def _delete(path: Path) -> int:
    if not path.is_dir():
        size_bytes = path.stat().st_size if path.exists() else 0
        path.unlink(missing_ok=True)
        return size_bytes
    # Under another name first: half a bundle must never look like one.
    aside = path.with_name(f".{path.name}-removed")
    if aside.exists():  # of a removal that was killed
        shutil.rmtree(aside)
    path.rename(aside)
    size_bytes = sum(file.stat().st_size for file in aside.rglob("*") if file.is_file())
    shutil.rmtree(aside)
    return size_bytes


def _named(name: str) -> PublishedModel:
    published = _published(name)
    if published is None:
        raise UnknownModel(
            f"there is no model {name!r} to fetch: choose one of {', '.join(model_names())}"
        )
    return published


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
    with _lock(folder, cache):  # others wait, and then find it done
        if not is_bundle(folder):
            what = f"the model {published.name}"
            # What lay there before, as in the reference package's own cache, is not ours to delete.
            was_there = (cache.folder / published.file_name).exists()
            checkpoint = fetch(published.checkpoint, published.file_name, what, cache)
            sha256 = published.checkpoint.sha256 or sha256_of(checkpoint)
            recipe = recipe_of(published)
            _convert(checkpoint, folder, sha256, cache, recipe, published.name)
            if not was_there:
                checkpoint.unlink()
    return folder


def _converted(path: Path, cache: ModelCache) -> Path:
    """The bundle made from weights, which are known by their bytes, whatever their name."""
    source = find_source(path)
    sha256, published, recipe = identify(source)
    named = given_merges(cache)  # looked at first, because it says when it is wrong
    vocab = own_merges(source.weights) or named
    key = sha256[:16] + (f"-{sha256_of(vocab)[:8]}" if vocab else "")
    folder = published.folder(cache.folder) if published else cache.folder / "files" / key
    if is_bundle(folder):
        return folder
    with _lock(folder, cache):
        if not is_bundle(folder):
            _convert(source.weights, folder, sha256, cache, recipe, source.name)
    return folder


@contextmanager
def _lock(folder: Path, cache: ModelCache) -> Iterator[None]:
    """One process at a time makes or removes a bundle."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock = in_turn(folder.with_name(folder.name + ".lock"), cache)
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


def _convert(
    path: Path, folder: Path, sha256: str, cache: ModelCache, recipe: Recipe | None, name: str
) -> None:
    # Imported here, because whoever finds a bundle ready must not wait for torch.
    from clipsearch.clip.convert import convert

    convert(path, folder, sha256, cache, recipe, name)
