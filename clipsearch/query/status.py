"""What a library holds, in numbers.

In: the catalog and the index files. Out: a Status. Loads no model.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from clipsearch.care.place import warnings_about
from clipsearch.query.base import BaseFiles, Coverage

if TYPE_CHECKING:
    from clipsearch.catalog import CatalogReads


@dataclass(frozen=True)
class FolderStatus:
    """A root and how many present images it has."""

    path: Path
    n_images: int


@dataclass(frozen=True)
class Status:
    """What a library holds. Model, digest and dimension are None before the first indexing.

    `precision` is what the model computed in when the library was made.
    """

    path: Path
    model: str | None
    model_sha256: str | None
    dimension: int | None
    precision: str | None
    n_images: int
    n_missing: int
    n_unreadable: int
    n_problems: int  # with what is no image: folders, links, pipes
    n_vectors: int
    folders: tuple[FolderStatus, ...]
    catalog_bytes: int
    index: Coverage
    warnings: tuple[str, ...] = ()  # about where it lies

    def to_dict(self) -> dict[str, object]:
        """The status as JSON-able values; a path that is not UTF-8 keeps its surrogates."""
        folders = [{"path": str(f.path), "n_images": f.n_images} for f in self.folders]
        return asdict(self) | {"path": str(self.path), "folders": folders}


def library_status(path: Path, catalog: CatalogReads, files: BaseFiles) -> Status:
    """Count what the library at `path` holds."""
    model, counts, n_images = catalog.model(), catalog.counts(), catalog.folder_counts()
    folders = [FolderStatus(f.path, n_images[f.folder_id]) for f in catalog.folders()]
    return Status(
        path=path,
        model=model.name if model else None,
        model_sha256=model.sha256 if model else None,
        dimension=model.dimension if model else None,
        precision=model.dtype if model else None,
        n_images=counts.present,
        n_missing=counts.missing,
        n_unreadable=counts.unreadable,
        n_problems=counts.problems,
        n_vectors=catalog.vector_count(model.model_id) if model else 0,
        # A root that another one has taken over stays behind empty.
        folders=tuple(folder for folder in folders if folder.n_images),
        catalog_bytes=_bytes_on_disk(catalog.path),
        index=files.coverage(catalog, model) if model else Coverage("none", 0, 0, 0),
        warnings=tuple(warnings_about(path)),
    )


def _bytes_on_disk(database: Path) -> int:
    """The size of an SQLite file with what it keeps beside itself."""
    beside = [database.with_name(database.name + ending) for ending in ("", "-wal", "-shm")]
    return sum(path.stat().st_size for path in beside if path.exists())
