"""Vectors made elsewhere are found like others, and their files are never missed."""

from __future__ import annotations

import hashlib
import json
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from clipsearch.catalog import Catalog
from clipsearch.errors import CatalogError, FolderError, MissingExtra, ModelMismatch
from clipsearch.filters import Filter
from clipsearch.indexer.given import ROWS_AT_ONCE, ImportReport, common_folder
from clipsearch.library import Library
from clipsearch.vectors import FloatArray, normalise
from tests.conftest import Paint
from tests.fakes import ColourEncoder

ELSEWHERE = Path("/nowhere/at/all")


def some_vectors(n: int, seed: int = 0) -> FloatArray:
    dimension = ColourEncoder().dimension
    return normalise(np.random.default_rng(seed).random((n, dimension)) + 0.01)


def names(n: int) -> list[str]:
    return [f"/nowhere/at/all/{number % 3}/{number}.jpg" for number in range(n)]


def found(library: Library, vector: FloatArray, k: int = 1) -> list[str]:
    return [str(hit.path) for hit in library.query(vector, k=k)]


def test_given_vectors_are_found_under_their_paths(library: Library) -> None:
    vectors = some_vectors(50)
    report = library.add_vectors(names(50), 3 * vectors.astype(np.float16))
    assert report.to_dict() == {"added": 50, "updated": 0, "known": 0, "notes": []}
    for number in (0, 7, 49):
        assert found(library, vectors[number]) == [names(50)[number]]
    assert library.status().n_images == 50


def test_more_than_one_transaction_and_twice_gives_the_same(library: Library) -> None:
    n = ROWS_AT_ONCE + 10
    vectors = some_vectors(n)
    assert library.add_vectors(names(n), vectors).added == n
    again = library.add_vectors(names(n), vectors[::-1])
    assert (again.added, again.updated) == (0, n)
    assert found(library, vectors[3]) == [names(n)[n - 4]]
    assert library.status().n_vectors == n


def test_a_later_index_does_not_miss_files_that_were_never_seen(
    library: Library, photos: Path, paint: Paint
) -> None:
    paint("red.png", "red")
    library.add_vectors([photos / "away.jpg", photos / "deep/gone.jpg"], some_vectors(2))
    assert library.index(photos).missing == 0
    assert library.index(photos).missing == 0
    status = library.status()
    assert (status.n_images, status.n_missing) == (3, 0)


def test_a_file_that_turns_up_is_encoded_and_from_then_on_like_any_other(
    library: Library, photos: Path, paint: Paint
) -> None:
    path = photos / "blue.png"
    paint("red.png", "red")
    library.add_vectors([path], some_vectors(1))
    paint("blue.png", "blue")
    assert library.index(photos).updated == 1
    assert [hit.path for hit in library.query("blue", k=1)] == [path]
    path.unlink()
    assert library.index(photos).missing == 1


def test_the_librarys_own_vector_stays(library: Library, photos: Path, paint: Paint) -> None:
    red = paint("red.png", "red")
    library.index(photos)
    report = library.add_vectors([red, photos / "new.jpg"], some_vectors(2))
    assert report == ImportReport(added=1, known=1)
    (hit,) = library.query("red", k=1)
    assert hit.path == red and hit.score > 0.99


def test_roots_inside_are_taken_over(library: Library, photos: Path, paint: Paint) -> None:
    paint("red.png", "red")
    library.index(photos)
    library.add_vectors([photos.parent / "other/x.jpg"], some_vectors(1))
    assert library.index(photos).unchanged == 1
    assert library.status().n_images == 2


def test_relative_paths_need_a_root(library: Library, tmp_path: Path) -> None:
    with pytest.raises(FolderError, match=r"'a/b.jpg' does not say where it starts"):
        library.add_vectors(["a/b.jpg"], some_vectors(1))
    library.add_vectors(["a/../b.jpg"], some_vectors(1), root=tmp_path)
    assert found(library, some_vectors(1)[0]) == [str(tmp_path / "b.jpg")]


def test_what_is_known_of_a_picture_is_kept(library: Library) -> None:
    library.add_vectors(names(2), some_vectors(2), [{"width": 640, "height": 480}, {}])
    record = library._opened().image_at(names(1)[0].encode())
    assert record is not None and (record.width, record.height) == (640, 480)
    with pytest.raises(CatalogError, match="'caption' cannot be kept"):
        library.add_vectors(["/nowhere/x.jpg"], some_vectors(1), [{"caption": "a dog"}])


@pytest.mark.parametrize(
    ("n_paths", "vectors", "error", "message"),
    [
        (2, some_vectors(3), CatalogError, "2 paths do not fit"),
        (3, some_vectors(3)[0], CatalogError, "3 paths do not fit"),
        (2, np.ones((2, 77)), ModelMismatch, "77 numbers, those of the library's model"),
        (2, np.zeros_like(some_vectors(2)), CatalogError, "has no direction: leave it out"),
        (2, np.full_like(some_vectors(2), np.nan), CatalogError, "has no direction"),
    ],
)
def test_what_does_not_fit_is_refused(
    library: Library, n_paths: int, vectors: FloatArray, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        library.add_vectors(names(n_paths), vectors)


def test_a_path_may_be_given_only_once(library: Library) -> None:
    with pytest.raises(CatalogError, match=r"a\.jpg is given twice"):
        library.add_vectors(["/n/a.jpg", "/n/b/../a.jpg"], some_vectors(2))


@pytest.mark.parametrize(
    ("paths", "folder"),
    [
        ([b"/a/b/1", b"/a/b/2"], b"/a/b"),
        ([b"/a/b/1", b"/a/bc/2"], b"/a"),
        ([b"/a/b/c/1", b"/a/b/2"], b"/a/b"),
        ([b"/a/1", b"/b/1"], b"/"),
        ([], b"/"),
    ],
)
def test_the_root_is_the_innermost_folder_of_all(paths: list[bytes], folder: bytes) -> None:
    assert common_folder(paths) == folder


def write(folder: Path, name: str, vectors: FloatArray, paths: list[str]) -> None:
    folder.mkdir(exist_ok=True)
    np.save(folder / f"{name}.npy", vectors)
    (folder / f"{name}.txt").write_text("\n".join(paths) + "\n")


def test_a_folder_of_files_is_taken_in_in_the_order_of_their_numbers(
    library: Library, tmp_path: Path
) -> None:
    vectors = some_vectors(30)
    write(tmp_path / "e", "part_10", vectors[20:], names(30)[20:])
    write(tmp_path / "e", "part_9", vectors[:20].astype(np.float16), names(30)[:20])
    assert library.import_folder(tmp_path / "e").added == 30
    assert found(library, vectors[25]) == [names(30)[25]]


def test_one_list_of_paths_for_one_file(library: Library, tmp_path: Path) -> None:
    np.save(tmp_path / "vectors.npy", some_vectors(3))
    (tmp_path / "paths.json").write_text(json.dumps(["a.jpg", "b.jpg", "c.jpg"]))
    assert library.import_folder(tmp_path, root="/pictures").added == 3
    assert found(library, some_vectors(3)[1]) == ["/pictures/b.jpg"]


def test_clip_retrievals_layout(library: Library, tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    vectors = some_vectors(20)
    for folder in ("img_emb", "metadata"):
        (tmp_path / folder).mkdir()
    for part in range(2):
        rows = slice(10 * part, 10 * part + 10)
        np.save(tmp_path / f"img_emb/img_emb_{part}.npy", vectors[rows].astype(np.float16))
        table = pyarrow.table({"image_path": names(20)[rows], "caption": ["x"] * 10})
        parquet.write_table(table, tmp_path / f"metadata/metadata_{part}.parquet")
    assert library.import_folder(tmp_path).added == 20
    assert found(library, vectors[13]) == [names(20)[13]]


def test_metadata_without_pyarrow_names_the_extra(
    library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    for name, content in (("img_emb/img_emb_0.npy", None), ("metadata/metadata_0.parquet", b"")):
        (tmp_path / name).parent.mkdir()
        np.save(tmp_path / name, some_vectors(2)) if content is None else (
            tmp_path / name
        ).write_bytes(content)
    with pytest.raises(MissingExtra, match=r"clipsearch\[parquet\]"):
        library.import_folder(tmp_path)


def test_nothing_is_written_if_a_list_does_not_fit(library: Library, tmp_path: Path) -> None:
    write(tmp_path / "e", "a1", some_vectors(3), names(3))
    write(tmp_path / "e", "a2", some_vectors(3), names(2))
    with pytest.raises(FolderError, match=r"a2\.txt has 2 paths, but a2\.npy has 3 vectors"):
        library.import_folder(tmp_path / "e")
    assert not library.path.exists()


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "has no embeddings"),
        ({"a.npy": b"x"}, r"add a\.txt or a\.json or paths\.txt or paths\.json beside it"),
        ({"a.npy": b"x", "b.npy": b"x"}, r"add a\.txt or a\.json beside it"),
        ({"a.npy": b"\x93NUMPY", "a.txt": b""}, "cannot be read as a table of numbers"),
        ({"a.npy": b"", "a.txt": b""}, "cannot be read as a table of numbers"),
    ],
)
def test_a_folder_of_something_else_is_refused(
    library: Library, tmp_path: Path, files: dict[str, bytes], message: str
) -> None:
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(FolderError, match=message):
        library.import_folder(tmp_path)


def test_a_table_of_objects_is_not_unpickled(library: Library, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([{}], dtype=object), allow_pickle=True)
    (tmp_path / "a.txt").write_text("/x\n")
    with pytest.raises(FolderError, match="cannot be read as a table of numbers"):
        library.import_folder(tmp_path)


def test_another_model_leaves_what_it_cannot_encode_missing_until_it_is_imported(
    library: Library, photos: Path, paint: Paint
) -> None:
    paint("red.png", "red")
    library.index(photos)
    library.add_vectors([photos / "away.jpg"], some_vectors(1))
    other = ColourEncoder()
    other.model_sha256 = hashlib.sha256(b"other").hexdigest()
    report = library.reindex(other)
    assert (report.n_encoded, report.missing) == (1, 1) and "import vectors" in report.notes[0]
    assert library.check().is_clean and len(library.query("red", k=9)) == 1
    assert library.add_vectors([photos / "away.jpg"], some_vectors(1)).updated == 1
    assert library.check().is_clean and len(library.query("red", k=9)) == 2


def test_what_is_known_of_given_pictures_is_kept(library: Library) -> None:
    described = [
        {
            "width": 30,
            "height": 20,
            "taken_at": "2023-06-01 12:30:00+02:00",
            "camera": "X100V \udcff",
            "lens": "XF 23mm",
            "latitude": np.float32(48.5),
            "longitude": -2,
            "orientation": 6,
            "format": "JPEG",
        },
        {"taken_at": datetime(2020, 1, 2, 3, 4, 5, 6), "zone": "+01:00"},
        {"camera": None, "latitude": None},
    ]
    library.add_vectors(names(3), some_vectors(3), described)
    with Catalog.open(library.path / "catalog.sqlite3") as catalog:
        a, b, c = sorted(catalog.images(1), key=lambda record: record.image_id)
        assert catalog.matching_ids(Filter(cameras=("x100",), after="2023")).tolist() == [1]
    assert (a.taken_at, a.zone) == ("2023-06-01T12:30:00", "+02:00")
    assert (a.camera, a.lens, a.format) == ("X100V \\udcff", "XF 23mm", "jpeg")
    assert (a.latitude, a.longitude, a.orientation) == (48.5, -2.0, 6)
    assert (b.taken_at, b.zone) == ("2020-01-02T03:04:05", "+01:00")
    assert (c.camera, c.latitude, c.details) == (None, None, None)


@pytest.mark.parametrize(
    ("detail", "said"),
    [
        ({"rating": 5}, "'rating' cannot be kept"),
        ({"latitude": 90.5}, "latitude 90.5 cannot be kept: give a number from -90 to 90"),
        ({"longitude": "2"}, "longitude '2' cannot be kept"),
        ({"width": 10**30}, "give a number from 1 to 999999999"),
        ({"height": -5}, "height -5 cannot be kept"),
        ({"camera": ["X100V"]}, "give it as text"),
        ({"orientation": float("nan")}, "orientation nan cannot be kept"),
        ({"taken_at": "yesterday"}, "date 'yesterday' cannot be kept: write it like"),
    ],
)
def test_details_that_make_no_sense_are_refused(
    library: Library, detail: dict[str, object], said: str
) -> None:
    with pytest.raises(CatalogError, match=said):
        library.add_vectors(names(1), some_vectors(1), [detail])
