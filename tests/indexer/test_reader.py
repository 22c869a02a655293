"""One file: its bytes are read once, and hash and pixels are of the same ones."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from clipsearch.images import content_hash, signature
from clipsearch.indexer.frames import Found, Setup
from clipsearch.indexer.reader import FileReader
from tests.conftest import Paint
from tests.indexer.hostile import RAISE, HostileEncoder

SETUP = Setup(HostileEncoder().preprocess, 8, 10**6, 512, 30, 1 << 20)


def read(path: Path, setup: Setup = SETUP, even_if_known: bool = False) -> Found:
    return FileReader(setup, lambda _: None)(path, even_if_known)


def test_a_picture_becomes_pixels_and_facts(paint: Paint) -> None:
    path = paint("red.png", size=(30, 20))
    found = read(path)
    assert (found.width, found.height, found.reason) == (30, 20, None)
    assert found.content_hash == content_hash(path)
    assert (found.size, found.mtime_ns) == signature(path.stat())
    assert found.pixels is not None and np.all(found.pixels == (255, 0, 0))


def test_known_contents_are_not_decoded_unless_it_is_asked_for(paint: Paint) -> None:
    path = paint("red.png")
    setup = replace(SETUP, known=frozenset([content_hash(path)]))
    assert read(path, setup) == Found(*signature(path.stat()), content_hash(path))
    assert read(path, setup, even_if_known=True).pixels is not None


def test_the_content_is_told_before_it_is_decoded(paint: Paint) -> None:
    told: list[Found] = []
    found = FileReader(SETUP, told.append)(paint("red.png"))
    assert told == [replace(found, pixels=None, width=None, height=None)]


def test_a_file_that_vanished_needs_no_record(tmp_path: Path) -> None:
    found = read(tmp_path / "gone.png")
    assert found.vanished and found.reason == "the file vanished before it was read"


def test_a_file_that_changes_while_it_is_read_is_read_again(paint: Paint) -> None:
    path = paint("red.png", "red")
    times: list[Found] = []

    def change_once(found: Found) -> None:
        if not times:
            paint("red.png", "blue", size=(99, 99))
        times.append(found)

    found = FileReader(SETUP, change_once)(path)
    assert len(times) == 2 and (found.width, found.reason) == (99, None)
    assert found.content_hash == content_hash(path) and found.size == path.stat().st_size


def test_hash_and_pixels_are_of_the_same_bytes_even_if_the_file_changes_unseen(
    paint: Paint,
) -> None:
    path = paint("red.bmp", "red")
    before, digest = path.stat(), content_hash(path)
    blue = paint("blue.bmp", "blue").read_bytes()
    assert len(blue) == before.st_size

    def change_unseen(_: Found) -> None:
        path.write_bytes(blue)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    found = FileReader(SETUP, change_unseen)(path)
    assert found.content_hash == digest
    assert found.pixels is not None and np.all(found.pixels == (255, 0, 0))


def test_a_file_that_never_keeps_still_is_given_up(paint: Paint) -> None:
    path = paint("red.png")

    def grow(_: Found) -> None:
        with path.open("ab") as file:
            file.write(b"more")

    found = FileReader(SETUP, grow)(path)
    assert found.reason == "the file changed while it was read" and not found.content_hash


def test_a_broken_file_is_found_with_a_reason_and_its_hash(photos: Path) -> None:
    path = photos / "broken.png"
    path.write_bytes(b"no picture")
    found = read(path)
    assert found.reason and found.reason.startswith("broken.png is not a picture")
    assert found.content_hash == content_hash(path)


def test_a_pipe_in_place_of_a_file_does_not_hold_up_the_run(photos: Path) -> None:
    os.mkfifo(photos / "pipe.png")
    assert "regular file" in (read(photos / "pipe.png").reason or "")


def test_too_large_a_file_is_not_even_read(paint: Paint) -> None:
    path = paint("red.png")
    os.truncate(path, SETUP.file_bytes + 1)
    found = read(path)
    assert found.reason == (
        "red.png needs more than 512 MB to decode; make it smaller, or raise "
        "CLIPSEARCH_DECODE_MEMORY"
    )
    assert not found.content_hash


def test_too_large_a_picture_has_its_size_beside_the_reason(paint: Paint) -> None:
    found = read(paint("red.png", size=(30, 20)), replace(SETUP, max_pixels=599))
    assert (found.width, found.height) == (30, 20) and found.pixels is None
    assert "30 x 20 = 600 pixels, more than the limit of 599" in (found.reason or "")


def test_what_preprocessing_raises_is_a_reason(paint: Paint) -> None:
    found = read(paint("red.png", size=(RAISE, 20)))
    assert found.reason == "red.png cannot be made ready for the model (a size of 0)"


def test_only_the_first_picture_of_many_is_decoded(photos: Path) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    path = photos / "a.gif"
    frames[0].save(path, save_all=True, append_images=frames[1:] * 50)
    found = read(path)
    assert found.pixels is not None and np.all(found.pixels == (255, 0, 0))
