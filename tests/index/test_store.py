"""An index file is read whole and right, or not at all and with a reason."""

from __future__ import annotations

import os
import struct
from dataclasses import replace
from pathlib import Path

import faiss
import numpy as np
import pytest

from clipsearch.errors import VectorIndexError
from clipsearch.index import (
    ExactIndex,
    GenerationHeader,
    Refusal,
    RefusalReason,
    generation_path,
    generations,
    open_index,
    prune_generations,
    read_header,
    store,
    write_generation,
)
from clipsearch.index.exact import ExactWriter
from clipsearch.index.store import OPENING_BYTES, Sink
from clipsearch.vectors import FloatArray, normalise

MODEL = "ab" * 32
DIMENSION = 8
LIBRARY = "8f7c1d0e-0000-4000-8000-000000000001"


def header_of(n: int = 20, generation: int = 1) -> GenerationHeader:
    return GenerationHeader(
        generation=generation,
        count=n,
        dimension=DIMENSION,
        library_uuid=LIBRARY,
        model_sha256=MODEL,
        recipe="exact",
        through_vector_id=1234,
    )


def vectors_of(n: int) -> FloatArray:
    return normalise(np.random.default_rng(n).standard_normal((n, DIMENSION)))


def written(folder: Path, generation: int = 1, n: int = 20) -> Path:
    def write(sink: Sink) -> GenerationHeader:
        writer = ExactWriter(DIMENSION, sink.write)
        writer.add(np.arange(n), vectors_of(n))
        writer.finish()
        return header_of(n, generation)

    return write_generation(folder, generation, write)


def read(
    folder: Path, model: str = MODEL, library: str = LIBRARY
) -> tuple[int | None, list[Refusal]]:
    """The generation that was read and what was passed over."""
    refusals: list[Refusal] = []
    found = open_index(folder, library_uuid=library, model_sha256=model, on_refusal=refusals.append)
    return (found[0].generation if found else None), refusals


def reason(folder: Path, model: str = MODEL) -> RefusalReason:
    """Why the only file of a folder is refused."""
    generation, refusals = read(folder, model)
    assert generation is None and len(refusals) == 1
    assert refusals[0].path == generation_path(folder, 1) and refusals[0].detail
    return refusals[0].reason


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = written(tmp_path / "index")
    assert path == tmp_path / "index" / "base-1.idx"
    found = open_index(
        tmp_path / "index", library_uuid=LIBRARY, model_sha256=MODEL, on_refusal=pytest.fail
    )
    assert found is not None
    header, loaded = found
    assert header == header_of() and isinstance(loaded, ExactIndex)
    assert loaded.propose(vectors_of(20)[7], 1).ids.tolist() == [7]


def test_an_empty_index_is_written_and_read(tmp_path: Path) -> None:
    written(tmp_path, n=0)
    assert read(tmp_path) == (1, [])


def test_no_folder_and_no_file_are_nothing_and_no_refusal(tmp_path: Path) -> None:
    assert read(tmp_path / "missing") == (None, [])
    (tmp_path / "base-x.idx").touch()
    (tmp_path / "base-1.idx.old").touch()
    assert read(tmp_path) == (None, [])
    assert generations(tmp_path) == []


def test_the_newest_by_number_is_read(tmp_path: Path) -> None:
    for generation in (9, 10, 2):
        written(tmp_path, generation)
    assert generations(tmp_path) == [2, 9, 10]
    assert read(tmp_path) == (10, [])


def test_a_damaged_newest_falls_back_to_the_one_before(tmp_path: Path) -> None:
    written(tmp_path, 1)
    written(tmp_path, 2).write_bytes(b"")
    generation, refusals = read(tmp_path)
    assert generation == 1
    assert [(r.path.name, r.reason) for r in refusals] == [("base-2.idx", "truncated")]


def test_cut_off_at_any_place_it_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, n=3)
    whole = path.read_bytes()
    for length in [*range(0, OPENING_BYTES, 61), *range(OPENING_BYTES - 40, len(whole))]:
        path.write_bytes(whole[:length])
        assert reason(tmp_path) is RefusalReason.TRUNCATED, length


def test_any_flipped_bit_is_noticed(tmp_path: Path) -> None:
    path = written(tmp_path, n=3)
    whole = path.read_bytes()
    places = [*range(600), *range(600, OPENING_BYTES, 97), *range(OPENING_BYTES - 40, len(whole))]
    for place in places:
        damaged = bytearray(whole)
        damaged[place] ^= 1 << place % 8
        path.write_bytes(damaged)
        assert reason(tmp_path) is not RefusalReason.OTHER_MODEL, place


@pytest.mark.parametrize("extra", [b"\0", b"junk" * 100])
def test_bytes_at_the_end_are_noticed(tmp_path: Path, extra: bytes) -> None:
    path = written(tmp_path)
    path.write_bytes(path.read_bytes() + extra)
    assert reason(tmp_path) is RefusalReason.DAMAGED


@pytest.mark.parametrize("content", [b"SQLite format 3\0" * 100, b"\x93NUMPY\x01\0" + b"\0" * 200])
def test_a_foreign_file_is_called_so(tmp_path: Path, content: bytes) -> None:
    generation_path(tmp_path, 1).write_bytes(content)
    assert reason(tmp_path) is RefusalReason.FOREIGN


def test_an_index_that_faiss_wrote_itself_is_foreign(tmp_path: Path) -> None:
    faiss.write_index(faiss.IndexFlatIP(8), str(generation_path(tmp_path, 1)))
    assert reason(tmp_path) is RefusalReason.FOREIGN


def test_an_index_of_another_model_is_refused(tmp_path: Path) -> None:
    written(tmp_path)
    assert reason(tmp_path, model="cd" * 32) is RefusalReason.OTHER_MODEL


def test_an_index_of_another_library_is_refused_though_its_model_is_the_same(
    tmp_path: Path,
) -> None:
    written(tmp_path)
    generation, refusals = read(tmp_path, library="another")
    assert generation is None and refusals[0].reason is RefusalReason.OTHER_LIBRARY


def test_the_header_of_the_newest_file_can_be_read_alone(tmp_path: Path) -> None:
    written(tmp_path, 1)
    path = written(tmp_path, 2, n=30)
    damaged = bytearray(path.read_bytes())
    damaged[-1] ^= 1  # in the content, at which nobody looks
    path.write_bytes(damaged)
    header = read_header(tmp_path, library_uuid=LIBRARY, model_sha256=MODEL)
    assert header == header_of(30, 2)


@pytest.mark.parametrize("length", [0, 10, 40, -1])
def test_the_header_of_a_file_cut_off_is_passed_over(tmp_path: Path, length: int) -> None:
    written(tmp_path, 1)
    path = written(tmp_path, 2)
    path.write_bytes(path.read_bytes()[:length])
    header = read_header(tmp_path, library_uuid=LIBRARY, model_sha256=MODEL)
    assert header is not None and header.generation == 1


def test_there_is_no_header_where_no_file_is_ours(tmp_path: Path) -> None:
    assert read_header(tmp_path / "none", library_uuid=LIBRARY, model_sha256=MODEL) is None
    written(tmp_path)
    assert read_header(tmp_path, library_uuid="another", model_sha256=MODEL) is None
    assert read_header(tmp_path, library_uuid=LIBRARY, model_sha256="cd" * 32) is None


def test_a_renamed_file_is_refused(tmp_path: Path) -> None:
    written(tmp_path, 7).rename(generation_path(tmp_path, 1))
    assert reason(tmp_path) is RefusalReason.DAMAGED


def test_a_newer_format_is_left_to_newer_versions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as newer:
        newer.setattr(store, "FORMAT", 3)
        written(tmp_path)
    assert reason(tmp_path) is RefusalReason.NEWER_FORMAT


def test_an_older_format_is_built_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as older:
        older.setattr(store, "FORMAT", 1)
        written(tmp_path)
    assert reason(tmp_path) is RefusalReason.OLDER_FORMAT


def test_a_huge_header_asks_for_no_memory(tmp_path: Path) -> None:
    path = written(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[:12] + struct.pack("<I", 2**32 - 1) + whole[16:])
    assert reason(tmp_path) is RefusalReason.DAMAGED


@pytest.mark.parametrize("recipe", ["exact", "ivf-rabitq", "of another version"])
def test_a_right_digest_over_wrong_content_is_refused(tmp_path: Path, recipe: str) -> None:
    def write(sink: Sink) -> GenerationHeader:
        sink.write(b"IxMpnonsense")
        return replace(header_of(), recipe=recipe)

    write_generation(tmp_path, 1, write)
    assert reason(tmp_path) is RefusalReason.DAMAGED


def test_pipes_folders_and_dangling_links_do_not_stop_a_reader(tmp_path: Path) -> None:
    written(tmp_path, 1)
    os.mkfifo(generation_path(tmp_path, 2))
    generation_path(tmp_path, 3).mkdir()
    generation_path(tmp_path, 4).symlink_to(tmp_path / "gone")
    generation, refusals = read(tmp_path)
    assert generation == 1
    assert {r.reason for r in refusals} == {RefusalReason.FOREIGN}


def test_whoever_is_interrupted_while_writing_leaves_nothing(tmp_path: Path) -> None:
    def write(sink: Sink) -> GenerationHeader:
        sink.write(b"a beginning")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_generation(tmp_path, 1, write)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path)
    before = path.read_bytes()

    def no_space(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(VectorIndexError, match=r"base-1\.idx could not be written \(no space"):
        written(tmp_path, n=30)
    assert [p.name for p in tmp_path.iterdir()] == ["base-1.idx"]
    assert path.read_bytes() == before


def test_content_is_on_disk_before_its_name_and_the_name_before_the_return(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    real_sync, real_replace = os.fsync, os.replace

    def sync(descriptor: int) -> None:
        steps.append("folder" if os.path.isdir(f"/proc/self/fd/{descriptor}") else "file")
        real_sync(descriptor)

    def rename(source: Path, target: Path) -> None:
        steps.append("rename")
        real_replace(source, target)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(os, "replace", rename)
    written(tmp_path)
    assert steps == ["file", "rename", "folder"]


def test_pruning_removes_other_generations_and_leftovers_only(tmp_path: Path) -> None:
    for generation in (1, 2, 3):
        written(tmp_path, generation)
    (tmp_path / ".base-4.idx.99999.tmp").write_bytes(b"half")
    (tmp_path / "notes.txt").touch()
    assert len(prune_generations(tmp_path, keep=[2, 3])) == 1  # somebody may be writing
    removed = prune_generations(tmp_path, keep=[3], leftovers=True)
    assert sorted(p.name for p in removed) == [".base-4.idx.99999.tmp", "base-2.idx"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["base-3.idx", "notes.txt"]
    assert read(tmp_path) == (3, [])
    assert prune_generations(tmp_path / "missing", keep=[]) == []


def test_a_reader_that_loses_its_file_to_a_writer_reads_the_newer_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(tmp_path, 1)
    listed = generations(tmp_path)
    written(tmp_path, 2)
    prune_generations(tmp_path, keep=[2])
    real, first = generations, [listed]
    monkeypatch.setattr(store, "generations", lambda f: first.pop() if first else real(f))
    assert read(tmp_path) == (2, [])
