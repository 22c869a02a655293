"""Turn a query into ranked hits.

In: probes and an encoder, or a vector; the catalog; perhaps an index. Out: Hits, best first.
Knows nothing of terminals. A query in words loads neither Pillow nor FAISS through this file.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from clipsearch.errors import ImageError, QueryError
from clipsearch.probes import ImageProbe, Query, TextProbe, VectorProbe
from clipsearch.query.base import Base, QueryReads
from clipsearch.vectors import FloatArray, IdArray, normalise, weighted_sum, widened

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clipsearch.catalog import CatalogReads
    from clipsearch.index.base import Proposal

# So few are compared exactly, whatever the index: that is faster than looking for them in it.
FEW = 4096
# How far a product with a stored vector can be off the cosine, twice and with something to spare:
# float16 leaves a length of 1 within 2 ** -11.
STORED_ERROR = 2e-3
# So many hits are looked for at least; index/recall.py measures with as many.
LEAST_DEPTH = 16
# So many candidates are compared before the first look at whether that is enough.
_FIRST_LOOK = 64


@dataclass(frozen=True)
class Hit:
    """One result. `score` is the cosine similarity, -1 to 1."""

    image_id: int
    path: Path
    score: float


class ProbeEncoder(Protocol):
    """What asking needs of a model; vectors are of unit length, `[n, dim]`."""

    @property
    def dimension(self) -> int: ...
    @property
    def input_px(self) -> int: ...
    @property
    def preprocess(self) -> Callable[[Any], NDArray[np.uint8]]: ...
    def encode_pixels(self, pixels: NDArray[np.uint8]) -> FloatArray: ...
    def encode_texts(self, texts: Sequence[str]) -> FloatArray: ...


def query_vector(query: Query, encoder: ProbeEncoder, max_pixels: int | None) -> FloatArray:
    """Encode the probes and add them up: a unit vector `[dim]`.

    Raises QueryError for a picture that cannot be read and for probes that cancel each other out.
    """
    texts = [probe.text for probe in query.probes if isinstance(probe, TextProbe)]
    paths = [probe.path for probe in query.probes if isinstance(probe, ImageProbe)]
    text_vectors = iter(encoder.encode_texts(texts) if texts else ())
    image_vectors = iter(_encode_files(paths, encoder, max_pixels) if paths else ())
    vectors: list[FloatArray] = []
    for probe in query.probes:
        if isinstance(probe, VectorProbe):
            vectors.append(_given_vector(probe, encoder.dimension))
        else:
            vectors.append(next(text_vectors if isinstance(probe, TextProbe) else image_vectors))
    try:
        return weighted_sum(vectors, [probe.weight for probe in query.probes])
    except ValueError:
        raise QueryError("the parts of the query cancel each other out: change one") from None


def image_vector(image: Any, encoder: ProbeEncoder) -> FloatArray:
    """A PIL picture of any mode → its unit vector `[dim]`."""
    from clipsearch.pillow import upright_rgb

    vector: FloatArray = encoder.encode_pixels(encoder.preprocess(upright_rgb(image))[None])[0]
    return vector


def probed_images(query: Query, catalog: CatalogReads) -> IdArray:
    """The images that the query's own picture files are: nobody looks for what he holds in hand.

    A copy under another name is another file, and worth finding. Raises QueryError for a picture
    that cannot be opened.
    """
    found: set[int] = set()
    for probe in query.probes:
        if not isinstance(probe, ImageProbe):
            continue
        from clipsearch.images import open_picture

        path = _reachable(probe.path)
        try:
            open_picture(path).close()  # a slip of the pen should not wait for the model to load
        except ImageError as error:
            raise _unusable(error) from error
        # Once as the user reaches it and once without links, as roots are recorded.
        for place in {os.path.abspath(path), os.path.realpath(path)}:
            record = catalog.image_at(os.fsencode(place))
            found |= {record.image_id} if record else set()
    return np.array(sorted(found), dtype=np.int64)


@dataclass(frozen=True)
class Space:
    """Where to search: one state of the catalog, and an index of a part of it, if there is one."""

    catalog: QueryReads
    model_id: int
    base: Base | None = None


def search(
    vector: FloatArray,
    space: Space,
    k: int,
    leave_out: IdArray | None = None,
    allowed: IdArray | None = None,
) -> list[Hit]:
    """The k nearest present images of a unit vector `[dim]`, by exact score and then by id.

    Only of `allowed` if it is given; fewer than k come back only if there are no more.
    """
    out = np.empty(0, dtype=np.int64) if leave_out is None else leave_out
    if allowed is not None and allowed.size <= FEW:
        candidates = np.setdiff1d(allowed, np.union1d(out, space.catalog.absent_ids()))
        ids, scores = _compared(vector, space, candidates)
    else:
        # Five hits are the first five of fifteen, because as many are looked for.
        depth = max(LEAST_DEPTH, 1 << (k - 1).bit_length())
        tail = np.setdiff1d(_from_tail(vector, space, depth + len(out), allowed), out)
        proposal = _from_base(vector, space, depth, out, allowed)
        ids, scores = _nearest(vector, space, depth, proposal, tail)
    best = np.lexsort((ids, -scores))[:k]
    paths = space.catalog.paths_of(ids[best])
    return [
        Hit(int(ids[n]), paths[int(ids[n])], float(scores[n])) for n in best if int(ids[n]) in paths
    ]


def exact_scores(vectors: FloatArray, vector: FloatArray) -> NDArray[np.float64]:
    """Cosines `[n]` of vectors `[n, dim]` with a unit vector `[dim]`.

    Summed row by row, as einsum does, not as a matrix product, whose last digits depend on the
    other rows: equal vectors get equal scores, whatever else is scored.
    """
    wide = vectors.astype(np.float64)
    lengths = np.sqrt(np.einsum("ij,ij->i", wide, wide))
    scores = np.einsum("ij,j->i", wide, vector.astype(np.float64)) / lengths
    clipped: NDArray[np.float64] = np.clip(scores, -1.0, 1.0)
    return clipped


def _encode_files(
    paths: Sequence[Path], encoder: ProbeEncoder, max_pixels: int | None
) -> FloatArray:
    from clipsearch.images import MAX_PIXELS, decode

    pixels = []
    for path in paths:
        # As the indexer reads it, so that a picture and its copy in the library have one vector.
        try:
            decoded = decode(_reachable(path), encoder.input_px, max_pixels or MAX_PIXELS)
        except ImageError as error:
            raise _unusable(error) from error
        pixels.append(encoder.preprocess(decoded.image))
    return encoder.encode_pixels(np.stack(pixels))


def _reachable(path: Path) -> Path:
    try:
        return path.expanduser()
    except RuntimeError:  # ~ of a user without a home folder
        raise QueryError(f"there is no home folder for {path}: give a full path") from None


def _unusable(error: ImageError) -> QueryError:
    return QueryError(f"the picture to look for cannot be used: {error}")


def _given_vector(probe: VectorProbe, dimension: int) -> FloatArray:
    if probe.vector.shape != (dimension,):
        raise QueryError(
            f"the vector has the shape {list(probe.vector.shape)}, but the library's model makes "
            f"[{dimension}]: use vectors of the same model"
        )
    try:
        return normalise(probe.vector)
    except ValueError as error:
        raise QueryError(f"the vector cannot be used: {error}") from None


def _compared(
    vector: FloatArray, space: Space, candidates: IdArray
) -> tuple[IdArray, NDArray[np.float64]]:
    """Those of the ids that have a vector, ascending, and their exact scores."""
    ids, vectors = space.catalog.vectors_of(space.model_id, np.sort(candidates))
    return ids, exact_scores(vectors, vector)


def _nearest(
    vector: FloatArray, space: Space, k: int, proposal: Proposal | None, tail: IdArray
) -> tuple[IdArray, NDArray[np.float64]]:
    """Ids and exact scores, among them the k best of what the index proposes and of the tail.

    Looks at the likeliest first, and no further than one could still be among the best.
    """
    ids, scores = _compared(vector, space, tail)
    if proposal is None:
        return ids, scores
    start, end = 0, _FIRST_LOOK
    while start < len(proposal):
        more_ids, more_scores = _compared(vector, space, proposal.ids[start:end])
        ids, scores = np.concatenate([ids, more_ids]), np.concatenate([scores, more_scores])
        start, end = end, 2 * end
        if scores.size >= k:
            kth = np.partition(scores, -k)[-k]
            n_possible = int(np.count_nonzero(proposal.at_most >= kth))
            end = min(end, n_possible)
            if start >= n_possible:
                break
    return ids, scores


def _from_base(
    vector: FloatArray, space: Space, k: int, leave_out: IdArray, allowed: IdArray | None
) -> Proposal | None:
    """What the index proposes, among it the k best that it holds."""
    if space.base is None or not len(space.base.index):
        return None
    dead = space.catalog.dead_ids(space.model_id, space.base.through_vector_id)
    excluded = np.union1d(dead, leave_out) if leave_out.size else dead
    return space.base.index.propose(vector, k, allowed, excluded)


def _from_tail(vector: FloatArray, space: Space, k: int, allowed: IdArray | None) -> IdArray:
    """Ids newer than the index, among them all of the k best."""
    kept_ids, kept_scores = np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float32)
    for ids, scores in _tail_scores(vector, space):
        is_wanted = slice(None) if allowed is None else np.isin(ids, allowed)
        kept_ids = np.concatenate([kept_ids, ids[is_wanted]])
        kept_scores = np.concatenate([kept_scores, scores[is_wanted]])
        if len(kept_scores) > k:
            kth = np.partition(kept_scores, -k)[-k]
            is_kept = kept_scores >= kth - STORED_ERROR
            kept_ids, kept_scores = kept_ids[is_kept], kept_scores[is_kept]
    return kept_ids


def _tail_scores(vector: FloatArray, space: Space) -> Iterator[tuple[IdArray, FloatArray]]:
    """Ids and scores of the newer vectors, as float16 and a matrix product give them."""
    after = space.base.through_vector_id if space.base else 0
    for batch in space.catalog.vector_batches(space.model_id, after_vector_id=after):
        is_wide = batch.vectors.dtype == np.float32
        scores: FloatArray = (batch.vectors if is_wide else widened(batch.vectors)) @ vector
        yield batch.image_ids, scores
