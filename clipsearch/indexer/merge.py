"""Gather the catalog's vectors into an index file, when enough of them are in none.

In: the catalog and the index files. Out: perhaps a new file, without which queries are only slower.
Needs no write lock: it reads page by page, and what changes meanwhile is newer than the file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from clipsearch.errors import LibraryLocked, VectorIndexError
from clipsearch.indexer.lock import merge_lock
from clipsearch.indexer.report import Tally
from clipsearch.query.base import BaseFiles, Coverage
from clipsearch.vectors import FloatArray, IdArray, unit_again, widened

if TYPE_CHECKING:
    from clipsearch.catalog import Catalog, CatalogReads, ModelRecord, VectorBatch
    from clipsearch.index import GenerationHeader
    from clipsearch.index.build import Batches
    from clipsearch.index.store import Publishing

# Below this an exact scan of the catalog is fast. Above, the file is written anew when what is
# outside it, or dead inside it, makes up a fiftieth of it: the tail is scanned by every query.
MERGE_FROM = 10_000
MERGE_SHARE = 0.02
# An approximate index fits the vectors that it was trained for. It goes on as it is until there are
# twice as many.
RETRAIN_GROWTH = 2
# Vectors read in one short transaction: 16 MB at 512 dimensions. After each page numpy's threads
# wait for more by spinning, in the way of those of FAISS: pages of 4,096 take half as long again.
PAGE = 16_384

OnMerged = Callable[[int, int], None]  # told how many of how many vectors are done


def is_merge_due(covered: Coverage, wanted: str = "auto", merge_from: int = MERGE_FROM) -> bool:
    """Whether the vectors outside the file and the dead ones in it are worth a new one.

    Also if the file is of another kind than the user wants, however small the library is.
    """
    if wanted not in ("auto", covered.recipe) and covered.n_base + covered.n_tail:
        return True
    return covered.n_tail + covered.n_dead > _borne(covered.n_base, merge_from)


def can_be_due(
    catalog: CatalogReads, model: ModelRecord, files: BaseFiles, merge_from: int = MERGE_FROM
) -> bool:
    """Whether `is_merge_due` can hold. Mostly it cannot, and this takes time for the newest vectors
    only, where the exact numbers take a look at the whole library."""
    header = files.header(catalog, model)
    recipe, wanted = (header.recipe if header else "none"), catalog.index_recipe
    if wanted not in ("auto", recipe):
        return True
    n_base, through = (header.count, header.through_vector_id) if header else (0, 0)
    limit = _borne(n_base, merge_from) + 1
    return catalog.changes_at_most(model.model_id, through, limit) == limit


def drop_unusable(catalog: CatalogReads, model: ModelRecord, files: BaseFiles) -> None:
    """Remove index files that are not of this state of the catalog, before it goes on.

    Only for the one writer. After a return to an older copy of the catalog, a file of the time
    after the copy would pass for one of its own as soon as as many vectors have been written again.
    """
    if files.has_files() and files.header(catalog, model) is None:
        from clipsearch.index import prune_generations

        prune_generations(files.folder, keep=())


def use_recipe(catalog: Catalog, recipe: str | None) -> None:
    """Remember which kind of index the user wants, if he has said it. Only for the one writer."""
    if recipe is not None and recipe != catalog.index_recipe:
        with catalog.begin() as write:
            write.set_index_recipe(recipe)


def merge_if_due(catalog: Catalog, model: ModelRecord, files: BaseFiles, tally: Tally) -> None:
    """Write a new index file if it is worth it and no other process is about it.

    A disk that does not take it costs a note, not the run.
    """
    if not can_be_due(catalog, model, files):
        return
    if not is_merge_due(files.coverage(catalog, model), catalog.index_recipe):
        return
    with merge_lock(files.folder.parent) as is_mine:
        if is_mine:
            try:
                merge(catalog, model, files, tally.tell_merged)
            except (VectorIndexError, LibraryLocked) as error:
                tally.notes.append(str(error))


def merge(
    catalog: Catalog, model: ModelRecord, files: BaseFiles, on_merged: OnMerged | None = None
) -> Path:
    """Write all vectors into a new file and remove the older ones.

    One at a time; others may read and write the catalog meanwhile. Interrupted, it leaves the old
    file in use. Raises VectorIndexError if the disk does not take the new one, or if the library
    has changed its model meanwhile.
    """
    from clipsearch.index import GenerationHeader, choose_recipe, generations

    # Before any page is read: who is forgotten later may be in the file, and stays among the dead.
    forgotten = catalog.forgotten_ids()
    old, count = files.header(catalog, model), catalog.vector_count(model.model_id)
    header = GenerationHeader(
        generation=max(generations(files.folder), default=0) + 1,
        count=count,
        dimension=model.dimension,
        library_uuid=catalog.uuid,
        model_sha256=model.sha256,
        recipe=choose_recipe(count, model.dimension, catalog.index_recipe if count else "auto"),
        through_vector_id=catalog.revision(),
    )
    pages = _Pages(catalog, model, header.through_vector_id, count, on_merged)

    def publishing() -> AbstractContextManager[None]:
        return _replacing(catalog, model, files.folder, header, forgotten)

    if old is not None and _can_be_extended(old, header):
        return _extended(files.folder, pages, old, header, publishing)
    return _built(files.folder, pages, header, publishing)


@contextmanager
def _replacing(
    catalog: Catalog, model: ModelRecord, folder: Path, header: GenerationHeader, forgotten: IdArray
) -> Iterator[None]:
    """The moment in which a file gets its name and the older ones go.

    Inside a transaction, so that the library cannot change its model at the same time: the file
    would pass for one of the new model's if only the preprocessing is another.
    """
    from clipsearch.index import generations, prune_generations

    with catalog.begin() as write:
        if (write.uuid, write.model()) != (header.library_uuid, model) or (
            write.revision() < header.through_vector_id
        ):
            raise VectorIndexError(
                f"the library in {folder.parent} has become another one while its index file was "
                "put together: index again, and it gets one"
            )
        yield
        prune_generations(folder, keep=(header.generation,), leftovers=True)
        if generations(folder) == [header.generation]:  # no older file that might be used again
            write.clear_forgotten(forgotten)


def _can_be_extended(old: GenerationHeader, header: GenerationHeader) -> bool:
    is_trained = 0 < header.count <= RETRAIN_GROWTH * old.n_trained
    return is_trained and old.recipe == header.recipe


def _extended(
    folder: Path,
    pages: _Pages,
    old: GenerationHeader,
    header: GenerationHeader,
    publishing: Publishing,
) -> Path:
    from clipsearch.index import Change, extend

    gone = pages.catalog.dead_ids(pages.model_id, old.through_vector_id)
    change = Change(gone, lambda: pages.batches(old.through_vector_id))
    try:
        return extend(folder, change, old, header, publishing)
    except VectorIndexError:  # the old file is damaged; if it is the disk, this fails as well
        return _built(folder, pages, header, publishing)


def _built(folder: Path, pages: _Pages, header: GenerationHeader, publishing: Publishing) -> Path:
    from clipsearch.index import Source, build

    source = Source(header.count, pages.sample, pages.batches)
    return build(folder, source, header, publishing)


class _Pages:
    """The catalog's vectors up to a revision, each page in a transaction of its own.

    An image that comes back or changes meanwhile gets a vector newer than the revision, and one
    that goes is dead: so pages of different moments make up a file that is right.
    """

    def __init__(
        self,
        catalog: CatalogReads,
        model: ModelRecord,
        through: int,
        n_total: int,
        on_merged: OnMerged | None,
    ) -> None:
        self.catalog, self.through = catalog, through
        self.model_id, self.dimension = model.model_id, model.dimension
        self.n_total, self.on_merged = n_total, on_merged

    def sample(self, n: int) -> FloatArray:
        """About n unit vectors at random, or all where there are fewer: `[m, dim]`."""
        self._tell(0)
        ids = self.catalog.ids_with_vector(self.model_id)
        draw = np.random.default_rng(0)
        chosen = ids if ids.size <= n else np.sort(draw.choice(ids, n, replace=False))
        found: FloatArray = np.empty((chosen.size, self.dimension), dtype=np.float32)
        n_found = 0
        for start in range(0, chosen.size, PAGE):
            _, vectors = self.catalog.vectors_of(self.model_id, chosen[start : start + PAGE])
            found[n_found : n_found + len(vectors)] = unit_again(vectors)
            n_found += len(vectors)
        found = found[:n_found]
        draw.shuffle(found)  # in the order of the ids, the first hundred would be of one folder
        return found

    def batches(self, after: int = 0) -> Batches:
        n_done = 0
        for page in self._pages(after):
            # float16 has left the unit length a little; of unit length again, products are cosines.
            yield page.image_ids, unit_again(widened(page.vectors))
            n_done += len(page)
            self._tell(n_done)

    def _pages(self, after: int) -> Iterator[VectorBatch]:
        while after < self.through:
            with closing(self.catalog.vector_batches(self.model_id, after, PAGE)) as some:
                page = next(some, None)
            if page is None:
                return
            after = int(page.vector_ids[-1])
            yield page.up_to(self.through)

    def _tell(self, n_done: int) -> None:
        if self.on_merged is not None:
            self.on_merged(n_done, max(self.n_total, n_done))


def _borne(n_base: int, merge_from: int) -> int:
    """So many changes since an index file of that many vectors are no reason for a new one."""
    return max(merge_from, int(MERGE_SHARE * n_base))
