"""Gather the catalog's vectors into an index file, when enough of them are in none.

In: the catalog and the index files. Out: perhaps a new file, without which queries are only slower.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from clipsearch.errors import VectorIndexError
from clipsearch.indexer.report import Tally
from clipsearch.query.base import BaseFiles, Coverage
from clipsearch.vectors import normalise

if TYPE_CHECKING:
    from clipsearch.catalog import Catalog, CatalogReads, ModelRecord

# Below this an exact scan of the catalog is faster than loading FAISS. Above, the file is written
# anew when what is outside it, or dead inside it, makes up a tenth of it.
MERGE_FROM = 10_000
MERGE_SHARE = 0.1


def is_merge_due(covered: Coverage, merge_from: int = MERGE_FROM) -> bool:
    """Whether the vectors outside the file and the dead ones in it are worth a new one."""
    return covered.n_tail + covered.n_dead > _borne(covered.n_base, merge_from)


def can_be_due(
    catalog: CatalogReads, model: ModelRecord, files: BaseFiles, merge_from: int = MERGE_FROM
) -> bool:
    """Whether `is_merge_due` can hold. Mostly it cannot, and this takes time for the newest vectors
    only, where the exact numbers take a look at the whole library."""
    header = files.header(catalog, model)
    n_base, through = (header.count, header.through_vector_id) if header else (0, 0)
    limit = _borne(n_base, merge_from) + 1
    return catalog.changes_at_most(model.model_id, through, limit) == limit


def merge_if_due(catalog: Catalog, model: ModelRecord, files: BaseFiles, tally: Tally) -> None:
    """Merge if it is worth it. A disk that does not take the file costs a note, not the run.

    Only for the one writer.
    """
    if can_be_due(catalog, model, files) and is_merge_due(files.coverage(catalog, model)):
        try:
            merge(catalog, model, files)
        except VectorIndexError as error:
            tally.notes.append(str(error))


def drop_unusable(catalog: CatalogReads, model: ModelRecord, files: BaseFiles) -> None:
    """Remove index files that are not of this state of the catalog, before it goes on.

    Only for the one writer. After a return to an older copy of the catalog, a file of the time
    after the copy would pass for one of its own as soon as as many vectors have been written again.
    """
    if files.has_files() and files.header(catalog, model) is None:
        from clipsearch.index import prune_generations

        prune_generations(files.folder, keep=())


def merge(catalog: Catalog, model: ModelRecord, files: BaseFiles) -> Path:
    """Write all vectors into a new file and remove the older ones.

    Only for the one writer. Raises VectorIndexError if the disk does not take the file.
    """
    from clipsearch.index import (
        FaissIndex,
        GenerationHeader,
        generations,
        prune_generations,
        write_generation,
    )

    index, through = FaissIndex(model.dimension), 0
    for batch in catalog.vector_batches(model.model_id):
        # float16 has left the unit length a little; of unit length again, products are cosines.
        index.add(batch.image_ids, normalise(batch.vectors))
        through = int(batch.vector_ids[-1])
    generation = max(generations(files.folder), default=0) + 1
    header = GenerationHeader(
        generation=generation,
        count=len(index),
        dimension=model.dimension,
        library_uuid=catalog.uuid,
        model_sha256=model.sha256,
        recipe=index.recipe,
        through_vector_id=through,
    )
    path = write_generation(files.folder, index, header)
    prune_generations(files.folder, keep=(generation,))
    if generations(files.folder) == [generation]:  # and no older file that might be used again
        with catalog.begin() as write:
            write.clear_forgotten()
    return path


def _borne(n_base: int, merge_from: int) -> int:
    """So many changes since an index file of that many vectors are no reason for a new one."""
    return max(merge_from, int(MERGE_SHARE * n_base))
