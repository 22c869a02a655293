"""The table of published models: where each lies, the SHA-256 that proves it, cost and quality.

In: nothing. Out: plain facts. Knows nothing of the disk and fetches nothing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from clipsearch.clip.config import OPENAI_CONFIGS, ClipConfig

MIB = 1024 * 1024
HALF = {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}


@dataclass(frozen=True)
class RemoteFile:
    """A file on the web. `size_bytes` is only expected, and may be off by a little.

    `sha256`, in hex, is enforced. None means that nobody has published one: see `download`.
    """

    url: str
    sha256: str | None
    size_bytes: int


@dataclass(frozen=True)
class Quality:
    """Zero-shot figures in per cent, as the open_clip project measured them.

    ImageNet-1k: top-1 accuracy. COCO (5,000 pictures) and Flickr (1,000): how often the first hit
    is right, for a caption that looks for its picture and for a picture that looks for a caption.
    """

    imagenet: float
    coco_by_words: float
    coco_by_picture: float
    flickr_by_words: float
    flickr_by_picture: float


@dataclass(frozen=True)
class PublishedModel:
    """A model of the registry and the checkpoint that it is made from.

    What the shapes of the weights cannot tell is said here: activation (in `config`) and, where
    they are not OpenAI's, values of `Preprocess.to_dict`. `gflops` is the work for one picture.
    """

    name: str
    description: str
    config: ClipConfig
    checkpoint: RemoteFile
    quality: Quality
    gflops: float
    licence: str = "MIT"
    preprocess: dict[str, Any] = field(default_factory=dict)

    @property
    def folder_name(self) -> str:
        """The name as a folder's, such as `ViT-B-32`."""
        return re.sub("[/@]", "-", self.name)

    @property
    def file_name(self) -> str:
        """The checkpoint's name in the cache and on a mirror, such as `ViT-B-32.pt`.

        On a hub, the weights of every model bear the same name; here each has its own.
        """
        return self.folder_name + "." + self.checkpoint.url.rpartition(".")[2]

    def folder(self, cache_dir: Path) -> Path:
        """Where its bundle lies once it has been downloaded and converted."""
        return cache_dir / self.folder_name


_OPENAI_HOST = "https://openaipublic.azureedge.net/clip/models"
_HUB = "https://huggingface.co/laion"

# In the order of the reference package's `available_models()`. SHA-256; MiB of tensors; GFLOPs;
# then the figures in the order of Quality.
_OPENAI: dict[str, tuple[str, float, float, Sequence[float]]] = {
    "RN50": (
        "afeb0e10f9e5a86da6080e35cf09123aca3b358a0c3e3b6c78a7b63bc04b6762",
        243.4,
        12.2,
        (59.8, 28.5, 48.8, 57.4, 80.0),
    ),
    "RN101": (
        "8fa8567bab74a42d41c5915025a8e4538c3bdbe8804a470a72f30b0d94fab599",
        277.5,
        19.5,
        (62.3, 30.7, 49.8, 58.0, 79.0),
    ),
    "RN50x4": (
        "7e526bd135e493cef0776de27d5f42653e6b4c8bf9e0f653bb11773263205fdd",
        401.6,
        42.6,
        (66.3, 33.4, 53.0, 62.6, 82.1),
    ),
    "RN50x16": (
        "52378b407f34354e150460fe41077663dd5b39c54cd0bfd2b27167a4a06ec9aa",
        629.5,
        149.4,
        (70.7, 35.4, 55.4, 65.3, 85.7),
    ),
    "RN50x64": (
        "be1cfb55d75a9666199fb2206c106743da0f6468c9d327f3e0d0a543a9919d9c",
        1289.4,
        529.1,
        (73.9, 35.2, 58.4, 69.0, 86.9),
    ),
    "ViT-B/32": (
        "40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af",
        337.1,
        8.8,
        (63.3, 30.4, 50.1, 58.8, 78.9),
    ),
    "ViT-B/16": (
        "5806e77cd80f8b59890b7e101eabd078d9fb84e6937f9e85e4ecb61988df416f",
        334.1,
        35.1,
        (68.3, 33.1, 52.4, 62.2, 82.2),
    ),
    "ViT-L/14": (
        "b8cca3fd41ae0c99ba7e8951adf17d267cdb84cd88be6f7c2e0eca1737a03836",
        888.9,
        162.0,
        (75.5, 36.5, 56.3, 65.0, 85.2),
    ),
    "ViT-L/14@336px": (
        "3035c92b350959924f9f00213499208652fc7ea050643e8b385c2dac08641f02",
        890.1,
        381.9,
        (76.6, 37.1, 57.9, 66.9, 87.7),
    ),
}


def _openai(name: str) -> PublishedModel:
    sha256, mib, gflops, figures = _OPENAI[name]
    url = f"{_OPENAI_HOST}/{sha256}/{re.sub('[/@]', '-', name)}.pt"
    tower = "ResNet" if name.startswith("RN") else "vision transformer"
    return PublishedModel(
        name,
        f"OpenAI's CLIP with a {tower}, for photographs; English",
        OPENAI_CONFIGS[name],
        # The files hold about one MiB of code beside their tensors.
        RemoteFile(url, sha256, round((mib + 1) * MIB)),
        Quality(*figures),
        gflops,
    )


@dataclass(frozen=True)
class _Hub:
    """A file of one revision on the hub: what a revision holds never changes."""

    repository: str
    revision: str
    file: str
    sha256: str | None
    size_bytes: int

    @property
    def remote(self) -> RemoteFile:
        url = f"{_HUB}/{self.repository}/resolve/{self.revision}/{self.file}"
        return RemoteFile(url, self.sha256, self.size_bytes)


def _open(base: str, data: str, hub: _Hub, quality: Quality, image_px: int = 224) -> PublishedModel:
    """A model of OpenAI's sizes that others trained: the exact GELU instead of QuickGELU."""
    openai = _openai(base)
    config = replace(
        openai.config,
        vision=replace(openai.config.vision, image_size=image_px),
        activation="gelu",
    )
    side = f"-{image_px}" if image_px != 224 else ""
    name, _, corpus = data.partition("=")
    return PublishedModel(
        f"{base}{side}-{name}",
        f"open_clip's vision transformer trained on {corpus}, for photographs; English",
        config,
        hub.remote,
        quality,
        11.5 if side else openai.gflops,
        # The one that was not trained with OpenAI's mean and deviation.
        preprocess=HALF if (base, name) == ("ViT-L/14", "laion2b") else {},
    )


_LAION = "laion2b=LAION-2B"
_DATACOMP = "datacomp=DataComp-1B"

_OPEN_MODELS = (
    _open(
        "ViT-B/32",
        _LAION,
        _Hub(
            "CLIP-ViT-B-32-laion2B-s34B-b79K",
            "1a25a446712ba5ee05982a381eed697ef9b435cf",
            "open_clip_model.safetensors",
            "ac4f8c4b88af6d963118cbf40ad93176d092abbedfcb752601ae1866352656e6",
            605_143_316,
        ),
        Quality(66.6, 39.3, 56.3, 66.8, 84.1),
    ),
    _open(
        "ViT-B/32",
        _DATACOMP,
        _Hub(
            "CLIP-ViT-B-32-DataComp.XL-s13B-b90K",
            "f0e2ffa09cbadab3db6a261ec1ec56407ce42912",
            "open_clip_model.safetensors",
            "3c00043509d2e3f35ec62bd85a643a393883dcda624d8208d034cc390c708297",
            605_143_316,
        ),
        Quality(69.2, 37.1, 53.5, 61.1, 79.0),
    ),
    _open(
        "ViT-B/32",
        _DATACOMP,
        _Hub(
            "CLIP-ViT-B-32-256x256-DataComp-s34B-b86K",
            "4afec35ffe57a943d569ff7ee888061830164da8",
            "open_clip_model.safetensors",
            "92c26d60d3200ed5ed040dff31a8d19f8140648da8007216c25744c478deef27",
            605_189_364,
        ),
        Quality(72.8, 39.9, 57.9, 64.9, 84.8),
        image_px=256,
    ),
    _open(
        "ViT-B/16",
        _LAION,
        _Hub(
            "CLIP-ViT-B-16-laion2B-s34B-b88K",
            "7288da5a0d6f0b51c4a2b27c624837a9236d0112",
            "open_clip_model.safetensors",
            None,
            598_517_000,
        ),
        Quality(70.2, 42.3, 59.4, 69.8, 86.3),
    ),
    _open(
        "ViT-B/16",
        _DATACOMP,
        _Hub(
            "CLIP-ViT-B-16-DataComp.XL-s13B-b90K",
            # The main branch has only a pickle; this is the hub's own conversion of it.
            "05fa70d888b3dcddcaeb5906c71e35e736bc8d42",
            "open_clip_pytorch_model.safetensors",
            "783dcd825e1a3532faa77a2537bbc041353779a7579d904e547a61d5aa18ac24",
            598_517_000,
        ),
        Quality(73.5, 40.2, 57.4, 67.6, 85.1),
    ),
    _open(
        "ViT-L/14",
        _LAION,
        _Hub(
            "CLIP-ViT-L-14-laion2B-s32B-b82K",
            "1627032197142fbe2a7cfec626f4ced3ae60d07a",
            "open_clip_pytorch_model.safetensors",
            "7d129ed747e0ed53e82dfcc140382b51be66b56e6a9bdc3258afd2846e3bb019",
            1_710_517_748,
        ),
        Quality(75.2, 46.5, 63.4, 75.5, 89.5),
    ),
    _open(
        "ViT-L/14",
        _DATACOMP,
        _Hub(
            "CLIP-ViT-L-14-DataComp.XL-s13B-b90K",
            "84c9828e63dc9a9351d1fe637c346d4c1c4db341",
            "open_clip_pytorch_model.bin",
            "6509f07e6fc0da68f8e1ee881bf90803f0b053d2f7ed2013cc7c3a49ac4dd3db",
            1_710_600_000,
        ),
        Quality(79.2, 45.7, 63.3, 73.4, 89.0),
    ),
)

PUBLISHED_MODELS: dict[str, PublishedModel] = {
    model.name: model for model in (*map(_openai, _OPENAI), *_OPEN_MODELS)
}
