"""Where a folder belongs: to a root that is known, to a new one, or around others."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipsearch.catalog import FolderRecord
from clipsearch.errors import FolderError
from clipsearch.images import ImageFile, Signature
from clipsearch.indexer.scan import outermost, place, side_by_side

ROOTS = [FolderRecord(1, b"/a/b"), FolderRecord(2, b"/c")]


def test_a_known_root_is_itself() -> None:
    found = place(Path("/a/b"), ROOTS)
    assert (found.record, found.subtree) == (ROOTS[0], b"")


def test_a_folder_inside_a_root_is_a_subtree_of_it() -> None:
    found = place(Path("/a/b/c/d"), ROOTS)
    assert (found.root, found.subtree) == (b"/a/b", b"c/d")


def test_a_name_that_only_begins_alike_is_a_new_root() -> None:
    found = place(Path("/a/bc"), ROOTS)
    assert (found.record, found.root, found.inner) == (None, b"/a/bc", ())


@pytest.mark.parametrize("folder", ["/a", "/"])
def test_a_folder_around_roots_takes_them_in(folder: str) -> None:
    found = place(Path(folder), ROOTS)
    assert found.record is None
    assert found.inner == (tuple(ROOTS) if folder == "/" else (ROOTS[0],))


def test_the_outermost_of_overlapping_roots_is_used() -> None:
    roots = [*ROOTS, FolderRecord(3, b"/a")]
    assert place(Path("/a/b/c"), roots).record == roots[2]


def test_outermost_drops_repetitions_links_and_inner_folders(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "c").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "c")
    folders: list[str | Path] = [
        tmp_path / "a" / "b",
        tmp_path / "a",
        tmp_path / "link",
        str(tmp_path / "c"),
    ]
    assert outermost(folders) == [tmp_path / "a", tmp_path / "c"]


@pytest.mark.parametrize("folder", ["nowhere", "nul\0", "loop"])
def test_a_folder_that_is_not_there_is_named(tmp_path: Path, folder: str) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(FolderError, match="there is no folder"):
        outermost([tmp_path / folder])


@given(st.sets(st.binary(max_size=3)), st.sets(st.binary(max_size=3)))
def test_files_and_records_meet_at_equal_paths(on_disk: set[bytes], known: set[bytes]) -> None:
    files = [ImageFile(Path("/"), path, Signature(0, 0, 0)) for path in sorted(on_disk)]
    records = [(path, path) for path in sorted(known)]  # a record that is its own path
    pairs = list(side_by_side(iter(files), iter(records)))  # type: ignore[arg-type]
    met = [(file.relative_path if file else None, record) for file, record in pairs]
    everything = sorted(on_disk | known)
    assert met == [
        (path if path in on_disk else None, path if path in known else None) for path in everything
    ]
