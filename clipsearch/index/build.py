"""Build index files from vectors that come in batches, in memory that does not grow with them, and
open what was built.

In: a Source. Out: an index file; an index. Knows nothing of the catalog.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from clipsearch.errors import VectorIndexError
from clipsearch.index.base import VectorIndex
from clipsearch.index.exact import ExactIndex, ExactWriter
from clipsearch.index.recipes import EXACT
from clipsearch.index.refusal import Refusal
from clipsearch.index.store import (
    GenerationHeader,
    Identity,
    Payload,
    Publishing,
    Sink,
    load_generation,
    read_generation,
    write_generation,
)
from clipsearch.index.verified import Verified
from clipsearch.vectors import FloatArray, IdArray

if TYPE_CHECKING:
    from clipsearch.index.ivf import IvfIndex

Batches = Iterator[tuple[IdArray, FloatArray]]  # new ids `[n]` with unit vectors `[n, dim]`


@dataclass(frozen=True)
class Source:
    """Where vectors come from: about `count` of them, `sample(m)` m of them at random, or all."""

    count: int
    sample: Callable[[int], FloatArray]
    batches: Callable[[], Batches]


@dataclass(frozen=True)
class Change:
    """What has happened since an index file was built: ids that went, and vectors that came."""

    gone: IdArray
    batches: Callable[[], Batches]


def build(
    folder: Path, source: Source, header: GenerationHeader, publishing: Publishing = nullcontext
) -> Path:
    """Write a new index file by the header's recipe; its counts and measurements are filled in.

    It gets its name inside `publishing()`. Raises VectorIndexError.
    """
    write = _write_exact if header.recipe == EXACT else _write_ivf
    return write_generation(
        folder, header.generation, lambda sink: write(sink, source, header), publishing
    )


def extend(
    folder: Path,
    change: Change,
    old: GenerationHeader,
    header: GenerationHeader,
    publishing: Publishing = nullcontext,
) -> Path:
    """Write the approximate index of another header with some changes, trained as it was.

    Takes time for the changes and for a copy of the file, not for every vector. Raises
    VectorIndexError, also if the file has gone or is damaged.
    """
    found = read_generation(
        folder, _to_change, library_uuid=old.library_uuid, model_sha256=old.model_sha256
    )
    if found is None or found[0] != old:
        raise VectorIndexError(f"index file {old.generation} cannot be built on; build it anew")
    index = found[1]
    index.remove(change.gone)
    for ids, vectors in change.batches():
        index.add(ids, vectors)

    def write(sink: Sink) -> GenerationHeader:
        index.write(sink.write)
        return replace(
            header,
            count=len(index),
            n_probes=old.n_probes,
            n_candidates=old.n_candidates,
            margin=old.margin,
            n_trained=old.n_trained,
            recall=old.recall,
            recall_unlike=old.recall_unlike,
        )

    return write_generation(folder, header.generation, write, publishing)


def open_index(
    folder: Path,
    *,
    library_uuid: str,
    model_sha256: str,
    verified: Verified | None = None,
    on_refusal: Callable[[Refusal], None] | None = None,
) -> tuple[GenerationHeader, VectorIndex] | None:
    """The newest sound index of this library and model with its header; see read_generation."""
    return read_generation(
        folder,
        load,
        library_uuid=library_uuid,
        model_sha256=model_sha256,
        verified=verified,
        on_refusal=on_refusal,
    )


def open_one(folder: Path, expected: Identity) -> tuple[GenerationHeader, VectorIndex] | Refusal:
    """One index file, read whole, or why it is not used. Raises FileNotFoundError."""
    return load_generation(folder, expected, load)


def load(header: GenerationHeader, payload: Payload) -> VectorIndex:
    """The index in a file's content, which stays where it is. Raises VectorIndexError."""
    if header.recipe == EXACT:
        return ExactIndex.from_payload(payload, header.count, header.dimension)
    return _ivf(header, payload, to_change=False)


def _to_change(header: GenerationHeader, payload: Payload) -> IvfIndex:
    return _ivf(header, payload, to_change=True)


def _ivf(header: GenerationHeader, payload: Payload, *, to_change: bool) -> IvfIndex:
    from clipsearch.index.ivf import RECIPE, Effort, IvfIndex

    if header.recipe != RECIPE:
        raise VectorIndexError(f'"{header.recipe}" is a recipe of another version')
    effort = Effort(header.n_probes, header.n_candidates, header.margin)
    index = IvfIndex.from_payload(payload, effort, to_change=to_change)
    if (len(index), index.dimension) != (header.count, header.dimension):
        raise VectorIndexError(f"{len(index)} vectors where the header says {header.count}")
    return index


def _write_exact(sink: Sink, source: Source, header: GenerationHeader) -> GenerationHeader:
    writer = ExactWriter(header.dimension, sink.write)
    for ids, vectors in source.batches():
        writer.add(ids, vectors)
    writer.finish()
    return replace(header, count=len(writer))


def _write_ivf(sink: Sink, source: Source, header: GenerationHeader) -> GenerationHeader:
    from clipsearch.index.ivf import POINTS_PER_LIST, IvfIndex, list_count
    from clipsearch.index.recall import Examination

    n_lists = list_count(source.count)
    sample = source.sample(POINTS_PER_LIST * n_lists)
    index, examination = IvfIndex.trained(sample, n_lists), Examination(sample)
    del sample  # a few hundred megabytes that are not needed any more
    for ids, vectors in source.batches():
        index.add(ids, vectors)
        examination.see(ids, vectors)
    measured = examination.least_effort(index)
    index.write(sink.write)
    return replace(
        header,
        count=len(index),
        n_probes=measured.effort.n_probes,
        n_candidates=measured.effort.n_candidates,
        margin=measured.effort.margin,
        n_trained=len(index),
        recall=measured.recall,
        recall_unlike=measured.recall_unlike,
    )
