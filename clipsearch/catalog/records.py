"""What the catalog hands out: its rows as frozen dataclasses. Knows nothing of SQL."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from clipsearch.vectors import FloatArray, HalfArray, IdArray

ImageState = Literal["present", "missing", "unreadable"]


@dataclass(frozen=True)
class ModelRecord:
    """The model that a library's vectors come from. `model_id` is 0 until it is stored."""

    name: str
    sha256: str
    dimension: int
    preprocessing: Mapping[str, object] = field(default_factory=dict)  # must go through JSON
    activation: str = ""
    dtype: str = "float32"  # what it computed in; vectors are stored as float16 whatever it was
    model_id: int = 0
    bundle_path: bytes | None = None  # the folder that it was loaded from, absolute

    @property
    def fingerprint(self) -> tuple[str, int, str, str]:
        """What decides whether two models make the same vectors: not name, place and precision."""
        # Through JSON, so that a tuple and the list that it became in the database are the same.
        preprocessing = json.dumps(self.preprocessing, sort_keys=True)
        return self.sha256, self.dimension, preprocessing, self.activation


@dataclass(frozen=True, slots=True)
class FolderRecord:
    """A root that was indexed. `path_bytes` is absolute, as `os.fsencode` gives it."""

    folder_id: int
    path_bytes: bytes

    @property
    def path(self) -> Path:
        return Path(os.fsdecode(self.path_bytes))


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """One file that the library knows. Paths are bytes, separated by `/`.

    The hash is None where not even the bytes could be read; `reason` says why. An unreadable image
    has a size in pixels only if it was refused for it.
    """

    image_id: int
    folder_id: int
    folder_path: bytes  # absolute
    relative_path: bytes  # to the folder
    size: int  # bytes
    mtime_ns: int
    content_hash: bytes | None
    width: int | None  # upright pixels of the original
    height: int | None
    taken_at: str | None
    state: ImageState
    reason: str | None
    ctime_ns: int | None = None  # None: read by a version that did not ask
    unsure_since_ns: int | None = None  # None: another content would show in size or dates
    decoder: str | None = None  # which one could not decode it
    format: str | None = None  # of the content, in small letters: jpeg, png, ...
    camera: str | None = None
    lens: str | None = None
    latitude: float | None = None  # degrees north
    longitude: float | None = None  # degrees east
    orientation: int | None = None  # how EXIF says to turn it, 1 to 8
    zone: str | None = None  # of taken_at: "+02:00"
    details: int | None = None  # by which version these were read; None: not at all

    @property
    def is_unseen(self) -> bool:
        """Whether its vector was given and its file never looked into: it cannot be missed."""
        return self.content_hash is None and self.reason is None

    @property
    def path_bytes(self) -> bytes:
        return os.path.join(self.folder_path, self.relative_path)

    @property
    def path(self) -> Path:
        return Path(os.fsdecode(self.path_bytes))


@dataclass(frozen=True, slots=True)
class Failure:
    """What could not be used below a root, and why."""

    folder_path: bytes  # absolute
    relative_path: bytes  # to the folder
    reason: str

    @property
    def path(self) -> Path:
        return Path(os.fsdecode(os.path.join(self.folder_path, self.relative_path)))


@dataclass(frozen=True, slots=True)
class SavedQuery:
    """A query that has a name; `text` is in the query language, `created` ISO 8601, UTC."""

    name: str
    text: str
    created: str | None


@dataclass(frozen=True, slots=True)
class Counts:
    """How many images are in each state, how many vectors there are of every model, and how many
    problems with what is no image."""

    present: int
    missing: int
    unreadable: int
    vectors: int
    problems: int = 0

    @property
    def images(self) -> int:
        return self.present + self.missing + self.unreadable


@dataclass(frozen=True, slots=True)
class VectorBatch:
    """Stored vectors `[n, dim]`, float16 or the same in float32, with their ids `[n]`, ascending by
    `vector_ids`."""

    vector_ids: IdArray
    image_ids: IdArray
    vectors: HalfArray | FloatArray

    def __len__(self) -> int:
        return len(self.image_ids)

    def up_to(self, vector_id: int) -> VectorBatch:
        """Those that are not newer than a revision."""
        n = int(np.searchsorted(self.vector_ids, vector_id, side="right"))
        return VectorBatch(self.vector_ids[:n], self.image_ids[:n], self.vectors[:n])


@dataclass(frozen=True)
class VectorSample:
    """Vectors `[n, dim]` from all over a library, and about how many it has."""

    vectors: FloatArray
    n_vectors: int
