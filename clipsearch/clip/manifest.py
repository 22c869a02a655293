"""What a bundle says about itself: `model.json` ↔ a Manifest.

A bundle is a folder with the three files named here.
Knows nothing of torch, so that listing models stays quick.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clipsearch.clip.config import ClipConfig
from clipsearch.errors import BrokenCheckpoint

WEIGHTS_FILE = "model.safetensors"
MERGES_FILE = "merges.txt.gz"
MANIFEST_FILE = "model.json"

FORMAT = 1


@dataclass(frozen=True)
class Manifest:
    """`source_sha256` identifies the model: the hex digest of the file that its weights came from.

    `weights_sha256` is that of the weights file beside it. `preprocess` is what
    `Preprocess.from_dict` takes. `dtype` is that of the stored matrices; they load as float32. The
    digests and `dtype` may be left empty until the bundle is saved.
    """

    name: str
    config: ClipConfig
    preprocess: dict[str, Any]
    source_sha256: str = ""
    dtype: str = ""
    description: str = ""
    weights_sha256: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON-able values."""
        return {
            "format": FORMAT,
            "name": self.name,
            "description": self.description,
            "source_sha256": self.source_sha256,
            "weights_sha256": self.weights_sha256,
            "dtype": self.dtype,
            "config": self.config.to_dict(),
            "preprocess": self.preprocess,
        }


def is_bundle(folder: Path) -> bool:
    """Whether the three files are there. They appear together, by a rename."""
    return all((folder / name).is_file() for name in (WEIGHTS_FILE, MERGES_FILE, MANIFEST_FILE))


def read_manifest(folder: Path) -> Manifest:
    """Read `folder/model.json`. Raises BrokenCheckpoint if it is absent, damaged or too new."""
    path = folder / MANIFEST_FILE
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if values["format"] != FORMAT:
            raise BrokenCheckpoint(
                f"{path} has format {values['format']!r} and this version reads {FORMAT}: update"
                " clipsearch"
            )
        return Manifest(
            name=str(values["name"]),
            config=ClipConfig.from_dict(values["config"]),
            preprocess=dict(values["preprocess"]),
            source_sha256=str(values["source_sha256"]),
            dtype=str(values["dtype"]),
            description=str(values.get("description", "")),
            weights_sha256=str(values.get("weights_sha256", "")),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BrokenCheckpoint(
            f"{path} cannot be read ({error}): delete the folder and fetch or convert the model"
            " again"
        ) from error
