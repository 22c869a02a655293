"""The folder where models are kept, and how to get what is not there. Fetches nothing itself."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from clipsearch.settings import Settings

if TYPE_CHECKING:
    from clipsearch.clip.published import RemoteFile
    from clipsearch.clip.transfer import Download


@dataclass(frozen=True)
class ModelCache:
    """The folder where fetched and converted models are kept, and how to get what is not there.

    `mirror` is the address of a folder from which to fetch instead of the published addresses.
    `vocab` are the merges to convert with, for models that have none beside them.
    """

    folder: Path
    offline: bool = False
    on_progress: Callable[[Download], None] | None = None
    mirror: str | None = None
    vocab: Path | None = None

    @classmethod
    def of(
        cls, settings: Settings, on_progress: Callable[[Download], None] | None = None
    ) -> ModelCache:
        """The cache that the settings describe."""
        return cls(
            settings.cache_dir,
            settings.offline,
            on_progress,
            mirror=settings.model_url,
            vocab=settings.vocab,
        )

    def address(self, remote: RemoteFile, file_name: str) -> str:
        """Where to fetch a file from: a mirror has them all in one folder."""
        return f"{self.mirror.rstrip('/')}/{file_name}" if self.mirror else remote.url


def sha256_of(path: Path) -> str:
    """The SHA-256 of a whole file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
