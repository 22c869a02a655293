"""The models that have a name: what they are, where they lie, and the SHA-256 that proves it.

In: a name and the cache folder. Out: plain facts. Fetches nothing and knows nothing of torch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from clipsearch.clip.config import OPENAI_CONFIGS, ClipConfig
from clipsearch.clip.manifest import MERGES_FILE, WEIGHTS_FILE, is_bundle, read_manifest
from clipsearch.settings import Settings

DEFAULT_MODEL: str = Settings.model
MINI = "mini"
MINI_FOLDER = Path(__file__).parent / "mini"

MIB = 1024 * 1024


@dataclass(frozen=True)
class RemoteFile:
    """A file on the web. `size_bytes` is only expected; `sha256`, in hex, is enforced."""

    url: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True)
class PublishedModel:
    """A model of the registry and the checkpoint that it is made from."""

    name: str
    description: str
    config: ClipConfig
    checkpoint: RemoteFile

    @property
    def file_name(self) -> str:
        """The checkpoint's own name, such as `ViT-B-32.pt`."""
        return self.checkpoint.url.rpartition("/")[2]

    def folder(self, cache_dir: Path) -> Path:
        """Where its bundle lies once it has been downloaded and converted."""
        return cache_dir / Path(self.file_name).stem


@dataclass(frozen=True)
class ModelInfo:
    """A line of `clipsearch models`. `size_bytes` is that of the download or the bundled files."""

    name: str
    description: str
    size_bytes: int
    dimension: int
    input_px: int
    is_downloaded: bool
    is_default: bool


# OpenAI's list of merges, which every model with 49,408 tokens shares.
CLIP_VOCAB_SIZE = 49408
CLIP_MERGES_FILE = "bpe_simple_vocab_16e6.txt.gz"
CLIP_MERGES = RemoteFile(
    url="https://raw.githubusercontent.com/openai/CLIP/main/clip/" + CLIP_MERGES_FILE,
    sha256="924691ac288e54409236115652ad4aa250f48203de50a9e4722a6ecd48d6804a",
    size_bytes=1_356_917,
)

_OPENAI_HOST = "https://openaipublic.azureedge.net/clip/models"


def _openai(name: str, file_name: str, sha256: str, mib: float) -> PublishedModel:
    # The files hold about one MiB of code beside their tensors, whose size this is.
    size_bytes = round((mib + 1) * MIB)
    checkpoint = RemoteFile(f"{_OPENAI_HOST}/{sha256}/{file_name}", sha256, size_bytes)
    tower = "ResNet" if name.startswith("RN") else "vision transformer"
    description = f"OpenAI's CLIP with a {tower}, for photographs; English"
    return PublishedModel(name, description, OPENAI_CONFIGS[name], checkpoint)


# In the order of the reference package's `available_models()`.
_OPENAI_MODELS = (
    _openai(
        "RN50",
        "RN50.pt",
        "afeb0e10f9e5a86da6080e35cf09123aca3b358a0c3e3b6c78a7b63bc04b6762",
        243.4,
    ),
    _openai(
        "RN101",
        "RN101.pt",
        "8fa8567bab74a42d41c5915025a8e4538c3bdbe8804a470a72f30b0d94fab599",
        277.5,
    ),
    _openai(
        "RN50x4",
        "RN50x4.pt",
        "7e526bd135e493cef0776de27d5f42653e6b4c8bf9e0f653bb11773263205fdd",
        401.6,
    ),
    _openai(
        "RN50x16",
        "RN50x16.pt",
        "52378b407f34354e150460fe41077663dd5b39c54cd0bfd2b27167a4a06ec9aa",
        629.5,
    ),
    _openai(
        "RN50x64",
        "RN50x64.pt",
        "be1cfb55d75a9666199fb2206c106743da0f6468c9d327f3e0d0a543a9919d9c",
        1289.4,
    ),
    _openai(
        "ViT-B/32",
        "ViT-B-32.pt",
        "40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af",
        337.1,
    ),
    _openai(
        "ViT-B/16",
        "ViT-B-16.pt",
        "5806e77cd80f8b59890b7e101eabd078d9fb84e6937f9e85e4ecb61988df416f",
        334.1,
    ),
    _openai(
        "ViT-L/14",
        "ViT-L-14.pt",
        "b8cca3fd41ae0c99ba7e8951adf17d267cdb84cd88be6f7c2e0eca1737a03836",
        888.9,
    ),
    _openai(
        "ViT-L/14@336px",
        "ViT-L-14-336px.pt",
        "3035c92b350959924f9f00213499208652fc7ea050643e8b385c2dac08641f02",
        890.1,
    ),
)

PUBLISHED_MODELS: dict[str, PublishedModel] = {model.name: model for model in _OPENAI_MODELS}


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
    )
