"""The ids of a filter are those of a plain look at every row, in both kinds of catalog."""

from __future__ import annotations

import math
import os
import random
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clipsearch.catalog import Catalog, ImageRecord, QuickCatalog, matching
from clipsearch.filters import Filter, Near
from tests.catalog.conftest import MODEL, AddImage

ROOTS = (b"/home/u/Trips", b"/home/u/Trips/2023/inner", b"/d\xff/100%", b"/", b"/x_y")
NAMES = (b"trips", b"Trips", b"2023", b"100%", b"100", b"a_b", b"axb", b"\xff\xfe", b"b\\c", b"\n")
NAMES += ("é".encode(), "É".encode(), b"e\xcc\x81", b"inner", b"0", b"*", b"'", b"#", b".jpg")
CAMERAS = ("Canon EOS 5D", "CANON eos 5d", "FUJIFILM X100V", "100%_x", "Ölympus", None)
TYPES = ("jpeg", "png", "webp", "tiff", None)


def matches(record: ImageRecord, wanted: Filter) -> bool:
    """What a filter means, one row at a time."""
    facts: tuple[tuple[Any, Any], ...] = (
        (wanted.folders, lambda: any(is_in(record, folder) for folder in wanted.folders)),
        (wanted.after, lambda: record.taken_at is not None and record.taken_at >= wanted.after),
        (wanted.before, lambda: record.taken_at is not None and record.taken_at < wanted.before),
        (wanted.cameras, lambda: has_part(record.camera, wanted.cameras)),
        (wanted.lenses, lambda: has_part(record.lens, wanted.lenses)),
        (wanted.types, lambda: record.format in wanted.types),
        (wanted.min_width, lambda: (record.width or 0) >= wanted.min_width),
        (wanted.min_height, lambda: (record.height or 0) >= wanted.min_height),
        (wanted.shape, lambda: shape_of(record) == wanted.shape),
        (wanted.near, lambda: is_near(record, wanted.near)),
    )
    return record.state == "present" and all(holds() for asked, holds in facts if asked)


def is_in(record: ImageRecord, folder: str) -> bool:
    *above, _ = record.path_bytes.split(b"/")
    if folder.startswith("/"):
        return record.path_bytes.startswith(os.fsencode(folder).rstrip(b"/") + b"/")
    parts = os.fsencode(folder).lower().split(b"/")
    names = [name.lower() for name in above]
    return any(names[n : n + len(parts)] == parts for n in range(len(names)))


def has_part(text: str | None, parts: Iterable[str]) -> bool:
    folded = (text or "").encode().lower()
    return text is not None and any(part.encode().lower() in folded for part in parts)


def shape_of(record: ImageRecord) -> str | None:
    if record.width is None or record.height is None:
        return None
    if record.width == record.height:
        return "square"
    return "landscape" if record.width > record.height else "portrait"


def is_near(record: ImageRecord, near: Near | None) -> bool:
    if near is None or record.latitude is None or record.longitude is None:
        return False
    return km(near.latitude, near.longitude, record.latitude, record.longitude) <= near.km


def km(*degrees: float) -> float:
    """By the angle between two vectors, which is another formula than the catalog's."""
    here, east_of_here, there, east_of_there = (math.radians(each) for each in degrees)
    a, b = unit(here, east_of_here), unit(there, east_of_there)
    return 6371.0088 * math.atan2(float(np.linalg.norm(np.cross(a, b))), float(a @ b))


def unit(north: float, east: float) -> Any:
    flat = math.cos(north)
    return np.array([flat * math.cos(east), flat * math.sin(east), math.sin(north)])


def random_place(rnd: random.Random) -> tuple[float, float]:
    if rnd.random() < 0.4:
        return rnd.choice((-90, 90, -89.9, 89.5, 0)), rnd.choice((-180, 180, 179.9, -179.8, 0))
    return rnd.uniform(-90, 90), rnd.uniform(-180, 180)


def maybe(rnd: random.Random, share: float, value: Any) -> Any:
    return value if rnd.random() < share else None


def random_details(rnd: random.Random) -> dict[str, Any]:
    latitude, longitude = random_place(rnd) if rnd.random() < 0.6 else (None, None)
    moment = f"{rnd.randint(2019, 2024)}-{rnd.randint(1, 12):02}-{rnd.randint(1, 28):02}T12:30:00"
    details = {
        "width": maybe(rnd, 0.9, rnd.choice((1, 100, 200, 300))),
        "height": maybe(rnd, 0.9, rnd.choice((1, 100, 200, 300))),
        "taken_at": maybe(rnd, 0.8, moment),
        "camera": rnd.choice(CAMERAS),
        "lens": rnd.choice(CAMERAS),
        "format": rnd.choice(TYPES),
        "latitude": latitude,
        "longitude": longitude,
    }
    return details | rnd.choice(({}, {}, {}, {"state": "unreadable", "reason": "broken"}))


def random_name(rnd: random.Random, n_parts: int) -> bytes:
    return b"/".join(rnd.choice(NAMES) for _ in range(n_parts))


def random_folder(rnd: random.Random) -> str:
    if rnd.random() < 0.4:
        below = rnd.choice((b"", b"/" + random_name(rnd, rnd.randint(1, 2))))
        return os.fsdecode(b"/" + (rnd.choice((*ROOTS, b"/home/u", b"/home")) + below).strip(b"/"))
    name = random_name(rnd, rnd.randint(1, 2))
    return os.fsdecode(rnd.choice((name, name, b"U/trips/" + name, b"100%/" + name, b"home")))


def random_filter(rnd: random.Random) -> Filter:
    after, before = sorted(rnd.sample(range(2019, 2026), 2))
    some = {
        "folders": tuple(random_folder(rnd) for _ in range(rnd.randint(1, 3))),
        "after": rnd.choice((f"{after}-01-01T00:00:00", f"{after}-06-14T12:30:00")),
        "before": f"{before}-01-01T00:00:00",
        "cameras": rnd.choice((("x100",), ("canon", "FUJI"), ("100%_",), ("öLYM", "e"), ("_",))),
        "lenses": rnd.choice((("5D",), ("%",))),
        "types": tuple(rnd.sample(("jpeg", "png", "webp", "gif"), 2)),
        "min_width": rnd.choice((1, 150, 300)),
        "min_height": rnd.choice((1, 150, 300)),
        "shape": rnd.choice(("landscape", "portrait", "square")),
        "near": Near(*random_place(rnd), rnd.choice((1, 30, 500, 5000, 12000, 30000))),
    }
    chosen = rnd.sample(list(some), rnd.choice((1, 1, 1, 2, 3)))
    return Filter(**{name: some[name] for name in chosen})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def garden(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Catalog]:
    """A catalog of 3,000 images with odd names and facts, in every state."""
    rnd = random.Random(11)
    path = tmp_path_factory.mktemp("garden") / "catalog.sqlite3"
    with Catalog.open(path, create=True) as catalog:
        catalog.set_model(MODEL)
        with catalog.begin() as write:
            ids = []
            for n in range(3000):
                root = write.add_folder(rnd.choice(ROOTS)).folder_id
                name = random_name(rnd, rnd.randint(0, 3)) + b"/%d.jpg" % n
                details = random_details(rnd)
                ids.append(write.add_image(root, name.lstrip(b"/"), 1, 1, b"%d" % n, **details))
            write.mark_missing(rnd.sample(ids, 300))
            write.forget(rnd.sample(ids, 50))
        yield catalog


def both(catalog: Catalog, wanted: Filter) -> list[int]:
    """The answer, if both kinds of catalog give the same."""
    asked = QuickCatalog.open(catalog.path)
    assert asked is not None
    found = catalog.matching_ids(wanted)
    with asked.snapshot() as state:
        for _ in range(2):  # found out, and remembered
            assert state.matching_ids(wanted).tolist() == found.tolist()
    asked.close()
    assert found.dtype == np.int64
    return found.tolist()


def test_a_thousand_random_filters_find_what_a_look_at_every_row_finds(garden: Catalog) -> None:
    rows = [r for folder in garden.folders() for r in garden.images(folder.folder_id)]
    rows.sort(key=lambda record: record.image_id)
    rnd, sizes = random.Random(5), []
    for _ in range(1000):
        wanted = random_filter(rnd)
        found = garden.matching_ids(wanted).tolist()
        assert found == [r.image_id for r in rows if matches(r, wanted)], wanted
        sizes.append(len(found))
    # They tell one kind of image from another: few find nothing, and few find all.
    assert sum(size > 0 for size in sizes) > 600 and len(set(sizes)) > 200


def test_the_quick_catalog_finds_the_same(garden: Catalog) -> None:
    rnd = random.Random(6)
    for _ in range(60):
        both(garden, random_filter(rnd))
    assert both(garden, Filter()) == sorted(
        r.image_id
        for folder in garden.folders()
        for r in garden.images(folder.folder_id)
        if r.state == "present"
    )


def test_ids_are_found_in_portions_too(garden: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = [Filter(shape="square"), Filter(near=Near(10, 20, 9000)), Filter(folders=("trips",))]
    whole = [garden.matching_ids(each).tolist() for each in wanted]
    monkeypatch.setattr(matching, "IDS_AT_ONCE", 100)
    assert [garden.matching_ids(each).tolist() for each in wanted] == whole


@pytest.mark.parametrize(
    ("folder", "expected"),
    [
        ("trips", [1, 2, 3]),
        ("TRIPS", [1, 2, 3]),
        ("trip", []),
        ("rips", []),
        ("trips/2023", [1]),
        ("trips/2024", [2]),
        ("u/trips/2023", [1]),
        ("home/u", [1, 2, 3]),
        ("home/u/trips/2023/a", [1]),
        ("2023", [1, 4]),
        ("2023/a", [1]),
        ("/home/u", [1, 2, 3]),
        ("/home/u/trips", [1, 2, 3]),
        ("/home/u/trips/", [1, 2, 3]),
        ("/home/u/trips/2023", [1]),
        ("/home/u/trips/20", []),
        ("/home/u/TRIPS", []),
        ("/2023", []),
        ("/", [1, 2, 3, 4]),
        ("3.jpg", []),
        ("100%", [4]),
        ("100_", []),
        ("\udcff\\", [4]),
    ],
)
def test_folders_are_whole_names_in_the_path(
    catalog: Catalog, add: AddImage, folder: str, expected: list[int]
) -> None:
    with catalog.begin() as batch:
        for name in (b"2023/a/1.jpg", b"2024/2.jpg", b"3.jpg"):
            add(batch, name, folder=b"/home/u/trips")
        add(batch, b"100%/\xff\\/4.jpg", folder=b"/other/2023")
    assert both(catalog, Filter(folders=(folder,))) == expected


def test_a_place_is_found_by_a_link_to_it(catalog: Catalog, add: AddImage, tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "pictures")
    with catalog.begin() as batch:
        add(batch, b"1.jpg", folder=os.fsencode((tmp_path / "pictures").resolve()))
    assert both(catalog, Filter(folders=(str(tmp_path / "link"),))) == [1]


def test_many_folders_are_not_too_many(catalog: Catalog, add: AddImage) -> None:
    with catalog.begin() as batch:
        add(batch, b"a/1.jpg")
    wanted = Filter(folders=(*(f"n{n}" for n in range(3000)), "/pictures/a"))
    assert both(catalog, wanted) == [1]


@pytest.mark.parametrize(
    ("near", "expected"),
    [
        (Near(0, 179.9, 50), [1, 2]),  # across the date line
        (Near(0, -180, 50), [1, 2]),
        (Near(0, 180, 5), []),
        (Near(89.9, 90, 30), [3, 4]),  # across the pole
        (Near(-90, 0, 100), []),
        (Near(0, 0, 20_100), [1, 2, 3, 4, 5]),  # the whole earth
        (Near(48.8584, 2.2945, 0.1), [5]),
        (Near(48.8584, 2.2945, 0.001), []),
    ],
)
def test_near_knows_the_date_line_and_the_poles(
    catalog: Catalog, add: AddImage, near: Near, expected: list[int]
) -> None:
    places = [(0, 179.8), (0, -179.8), (89.9, -90), (90, 0), (48.8583, 2.2944)]
    with catalog.begin() as batch:
        for n, (latitude, longitude) in enumerate(places):
            add(batch, b"%d" % n, latitude=float(latitude), longitude=float(longitude))
        add(batch, b"nowhere")
    assert both(catalog, Filter(near=near)) == expected


def test_a_remembered_answer_is_of_the_latest_state(catalog: Catalog, add: AddImage) -> None:
    asked = QuickCatalog.open(catalog.path)
    assert asked is not None
    for n in range(1, 9):  # more filters than are remembered
        with catalog.begin() as batch:
            add(batch, b"%d" % n, width=n)
        with asked.snapshot() as state:
            for width in range(1, 7):
                expected = list(range(width, n + 1))
                assert state.matching_ids(Filter(min_width=width)).tolist() == expected
    asked.close()


def test_an_empty_catalog_has_nothing_that_matches(catalog: Catalog) -> None:
    for wanted in (Filter(), Filter(folders=("a", "/b")), Filter(near=Near(0, 0, 1))):
        assert both(catalog, wanted) == []
