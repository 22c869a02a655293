"""A weights file, or a folder of open_clip or transformers → what has to be read of it.

In: a path that a user named. Out: the file with the weights and the recipe for them. Reads configs,
but no weights; imports no torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from clipsearch.clip.manifest import WEIGHTS_FILE
from clipsearch.clip.published import PUBLISHED_MODELS, PublishedModel
from clipsearch.clip.recipe import OPEN_CLIP_CONFIG, TRANSFORMERS_CONFIG, Recipe, read_recipe
from clipsearch.clip.registry import published_with_sha256
from clipsearch.clip.shards import INDEX_SUFFIX, digest_of
from clipsearch.errors import BrokenCheckpoint, ChecksumMismatch, UnknownModel

OPEN_CLIP_WEIGHTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
TRANSFORMERS_WEIGHTS = (WEIGHTS_FILE, "pytorch_model.bin")


@dataclass(frozen=True)
class Source:
    """`name` is what people will see. Without a `config` OpenAI's ways are assumed."""

    weights: Path
    name: str
    config: Path | None

    def recipe(self) -> Recipe | None:
        """What the config says, None without one. Raises BrokenCheckpoint.

        A file with open_clip's own name needs its config: which activation such a model was
        trained with cannot be guessed.
        """
        if self.config is not None:
            return read_recipe(self.config)
        if self.weights.name.removesuffix(INDEX_SUFFIX) in OPEN_CLIP_WEIGHTS:
            raise BrokenCheckpoint(
                f"{self.weights} comes without its config: put {OPEN_CLIP_CONFIG} from the same"
                " place beside it"
            )
        return None


def find_source(path: Path) -> Source:
    """What to read for `path`, a file or folder that exists. Raises UnknownModel."""
    if not path.is_dir():
        return Source(path, path.name, _config_beside(path))
    name = path.resolve().name
    families = ((OPEN_CLIP_CONFIG, OPEN_CLIP_WEIGHTS), (TRANSFORMERS_CONFIG, TRANSFORMERS_WEIGHTS))
    for config, weights in families:
        candidates = [path / f"{file}{end}" for file in weights for end in ("", INDEX_SUFFIX)]
        present = (file for file in candidates if file.is_file())
        if (path / config).is_file() and (file := next(present, None)):
            return Source(file, name, path / config)
    raise UnknownModel(
        f"the folder {path} holds no model: it needs model.safetensors, merges.txt.gz and"
        " model.json, or config.json and model.safetensors as transformers writes them, or"
        " open_clip_config.json and open_clip_model.safetensors"
    )


def identify(source: Source) -> tuple[str, PublishedModel | None, Recipe | None]:
    """What a library knows these weights by, their entry in the registry, and their recipe.

    The bytes of a published file say more than a config that lies beside it. Raises
    BrokenCheckpoint if the config cannot be used, or is missing and needed.
    """
    sha256 = digest_of(source.weights)
    published = published_with_sha256(sha256)
    if published is not None:
        return sha256, published, recipe_of(published)
    _refuse_damaged(source.weights, sha256)
    recipe = source.recipe()
    return (recipe.identity(sha256) if recipe else sha256), None, recipe


def recipe_of(published: PublishedModel) -> Recipe:
    """The recipe that the registry knows."""
    config = published.config
    heads = config.vision.heads, config.text.heads
    return Recipe(config.activation, *heads, preprocess=published.preprocess)


def _refuse_damaged(path: Path, sha256: str) -> None:
    """A file with the name of a published one must be it: parsers do not notice a flipped bit."""
    for model in PUBLISHED_MODELS.values():
        wanted = model.checkpoint.sha256
        if path.name == model.file_name and wanted is not None:
            raise ChecksumMismatch(
                f"{path} bears the name of the model {model.name}, but its SHA-256 is"
                f" {sha256[:12]}… where {wanted[:12]}… was published: get it again, or give it"
                " another name if these are weights of your own"
            )


def _config_beside(path: Path) -> Path | None:
    """The config of the file's family in its folder. Any program may have a `config.json`."""
    is_transformers = path.name.removesuffix(INDEX_SUFFIX) in TRANSFORMERS_WEIGHTS
    name = TRANSFORMERS_CONFIG if is_transformers else OPEN_CLIP_CONFIG
    config = path.with_name(name)
    return config if config.is_file() else None
