"""The models that have a name, the bundled one and the published ones, and which are here.

In: a name and the cache folder. Out: plain facts. Fetches nothing and knows nothing of torch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from clipsearch.clip.manifest import MERGES_FILE, WEIGHTS_FILE, is_bundle, read_manifest
from clipsearch.clip.published import PUBLISHED_MODELS, PublishedModel, Quality, RemoteFile
from clipsearch.settings import Settings

DEFAULT_MODEL: str = Settings.model
MINI = "mini"
MINI_FOLDER = Path(__file__).parent / "mini"


@dataclass(frozen=True)
class ModelInfo:
    """A line of `clipsearch models`. `size_bytes` is that of the download or the bundled files.

    `gflops` is the work for one picture. `sha256` and `url` are the checkpoint's, None for the
    bundled model; an absent SHA-256 has not been published. `quality` is unknown for a model that
    nobody has measured on photographs.
    """

    name: str
    description: str
    size_bytes: int
    dimension: int
    input_px: int
    is_downloaded: bool
    is_default: bool
    licence: str
    url: str | None = None
    sha256: str | None = None
    gflops: float | None = None
    quality: Quality | None = None


# OpenAI's list of merges, which every model with 49,408 tokens shares.
CLIP_VOCAB_SIZE = 49408
CLIP_MERGES_FILE = "bpe_simple_vocab_16e6.txt.gz"
CLIP_MERGES = RemoteFile(
    url="https://raw.githubusercontent.com/openai/CLIP/main/clip/" + CLIP_MERGES_FILE,
    sha256="924691ac288e54409236115652ad4aa250f48203de50a9e4722a6ecd48d6804a",
    size_bytes=1_356_917,
)


def model_names() -> list[str]:
    """Every name that `--model` takes, the bundled model first."""
    return [MINI, *PUBLISHED_MODELS]


def published_with_sha256(sha256: str) -> PublishedModel | None:
    """The published model whose checkpoint has this SHA-256, whatever its file is called now."""
    matches = (model for model in PUBLISHED_MODELS.values() if model.checkpoint.sha256 == sha256)
    return next(matches, None)


def list_models(cache_dir: Path) -> list[ModelInfo]:
    """What can be loaded by name, the bundled model first. Looks at the disk only."""
    return [*_mini_info(), *(_info(model, cache_dir) for model in PUBLISHED_MODELS.values())]


def _mini_info() -> Iterator[ModelInfo]:
    if not is_bundle(MINI_FOLDER):
        return  # a checkout in which it has not been trained yet
    manifest = read_manifest(MINI_FOLDER)
    size_bytes = sum((MINI_FOLDER / name).stat().st_size for name in (WEIGHTS_FILE, MERGES_FILE))
    yield ModelInfo(
        name=MINI,
        description=manifest.description,
        size_bytes=size_bytes,
        dimension=manifest.config.embed_dim,
        input_px=manifest.config.vision.image_size,
        is_downloaded=True,
        is_default=MINI == DEFAULT_MODEL,
        licence="Apache-2.0",
    )


def _info(model: PublishedModel, cache_dir: Path) -> ModelInfo:
    return ModelInfo(
        name=model.name,
        description=model.description,
        size_bytes=model.checkpoint.size_bytes,
        dimension=model.config.embed_dim,
        input_px=model.config.vision.image_size,
        is_downloaded=is_bundle(model.folder(cache_dir)),
        is_default=model.name == DEFAULT_MODEL,
        licence=model.licence,
        url=model.checkpoint.url,
        sha256=model.checkpoint.sha256,
        gflops=model.gflops,
        quality=model.quality,
    )
