"""What a library answers, held against a plain look at the files it was made of."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clipsearch.filters import Filter, Near
from clipsearch.library import Hits, Library
from clipsearch.probes import Query, TextProbe
from clipsearch.query import search as searching
from clipsearch.vectors import FloatArray, normalise
from tests.catalog.test_matching import km
from tests.fakes import ColourEncoder
from tests.images.test_metadata import exif_with
from tests.query.test_search import kind

__all__ = ["kind"]  # a fixture

N_QUERIES = 1000
FOLDERS = ("Trips/2023", "Trips/2024/sea", "home", "home/trips", "ä b")
MODELS = ("X100V", "EOS 5D", "Ölympus")
TYPES = {"jpg": "jpeg", "png": "png", "webp": "webp", "tif": "tiff", "gif": "gif", "bmp": "bmp"}
WITH_EXIF = ("jpg", "png", "webp", "tif")


@dataclass(frozen=True)
class Shot:
    """What is true of a file, whatever the library says."""

    path: Path
    size: tuple[int, int]  # as a viewer shows it
    taken_at: str | None = None
    model: str = ""
    place: tuple[float, float] | None = None


def shoot(rnd: random.Random, path: Path) -> Shot:
    """A small picture, with what a camera would write about it where its format takes that."""
    path.parent.mkdir(parents=True, exist_ok=True)
    size = rnd.choice(((8, 12), (12, 8), (10, 10), (20, 12)))
    # Few colours, so that many pictures score alike and their ids decide.
    picture = Image.new("RGB", size, tuple(rnd.choice((0, 90, 255)) for _ in range(3)))
    if path.suffix[1:] not in WITH_EXIF or rnd.random() < 0.2:
        picture.save(path)
        return Shot(path, size)
    moment = f"{rnd.randint(2020, 2023)}-{rnd.randint(1, 12):02}-{rnd.randint(1, 28):02}T12:30:05"
    model, (north, east) = rnd.choice(MODELS), (rnd.randint(-80, 80), rnd.randint(-179, 179))
    turn = rnd.choice((1, 3, 6, 8))
    written = moment.replace("-", ":").replace("T", " ")
    gps = {1: "NS"[north < 0], 2: (abs(north), 0.0, 0.0), 3: "EW"[east < 0], 4: (abs(east), 0, 0)}
    exif = exif_with({0x9003: written}, {0x0110: model.encode(), 0x0112: turn}, gps)
    picture.save(path, exif=exif)
    return Shot(path, size[::-1] if turn > 4 else size, moment, model, (north, east))


def matches(shot: Shot, wanted: Filter) -> bool:
    """What a filter means, by the facts of a file."""
    width, height = shot.size
    shapes = {"landscape": width > height, "portrait": width < height, "square": width == height}
    model = shot.model.encode().lower()
    return all(
        (
            not wanted.folders or any(is_in(shot.path, each) for each in wanted.folders),
            wanted.after is None or (shot.taken_at or "") >= wanted.after,
            wanted.before is None or (shot.taken_at or "9999") < wanted.before,
            not wanted.cameras or any(c.encode().lower() in model for c in wanted.cameras),
            not wanted.types or TYPES[shot.path.suffix[1:]] in wanted.types,
            width >= wanted.min_width and height >= wanted.min_height,
            wanted.shape is None or shapes[wanted.shape],
            wanted.near is None or is_near(shot, wanted.near),
        )
    )


def is_in(path: Path, folder: str) -> bool:
    if folder.startswith("/"):
        return Path(folder) in path.parents
    return f"/{folder.lower()}/" in f"{path.parent}/".lower()


def is_near(shot: Shot, near: Near) -> bool:
    return shot.place is not None and km(near.latitude, near.longitude, *shot.place) <= near.km


def random_filter(rnd: random.Random, photos: Path) -> Filter:
    after = rnd.randint(2019, 2023)
    some = {
        "folders": rnd.sample(("trips", "trips/2023", "sea", "HOME", "ä b", f"{photos}/home"), 2),
        "after": f"{after}-0{rnd.randint(1, 9)}",
        "before": f"{after + rnd.randint(1, 3)}-10-09T12:30",
        "cameras": rnd.choice((("x100",), ("eos", "öLYM"), ("5D",))),
        "types": rnd.sample(list(TYPES), 2),
        "min_width": rnd.choice((9, 11, 20)),
        "min_height": rnd.choice((9, 11, 20)),
        "shape": rnd.choice(("landscape", "portrait", "square")),
        "near": Near(rnd.randint(-90, 90), rnd.randint(-180, 180), rnd.choice((900, 5000, 15000))),
    }
    chosen = rnd.sample(list(some), rnd.choice((0, 1, 1, 1, 2, 3)))
    return Filter(**{name: some[name] for name in chosen})  # type: ignore[arg-type]


@dataclass
class Album:
    """A library, and the files that are in it and on the disk."""

    library: Library
    shots: list[Shot]
    photos: Path

    def best(self, vector: FloatArray, wanted: Filter) -> list[tuple[int, float]]:
        """Ids and scores of all that a filter allows, by looking at one after the other."""
        allowed = [at for at, shot in enumerate(self.shots) if matches(shot, wanted)]
        cosines = self.vectors[allowed] @ vector.astype(np.float64)
        return sorted(
            ((self.ids[at], float(cosine)) for at, cosine in zip(allowed, cosines, strict=True)),
            key=lambda each: (-round(each[1], 9), each[0]),
        )

    def look_up(self) -> None:
        """Which row each file has, and its vector."""
        with self.library._catalog.snapshot() as state:
            model = state.model()
            assert model is not None
            base = self.library._files.base(state, model)
            assert base is not None and 0 < len(base.index) < len(self.shots)
            every = np.arange(1, 2000)
            id_of = {path: image_id for image_id, path in state.paths_of(every).items()}
            self.ids = [id_of[shot.path] for shot in self.shots]
            found, vectors = state.vectors_of(model.model_id, np.array(sorted(self.ids)))
        wide = vectors.astype(np.float64)
        wide /= np.linalg.norm(wide, axis=1, keepdims=True)
        self.vectors = wide[np.searchsorted(found, self.ids)]


@pytest.fixture
def album(tmp_path: Path, kind: str) -> Iterator[Album]:
    """Real pictures: most in the index, some newer, changed, missing or forgotten."""
    rnd, photos = random.Random(8), tmp_path / "photos"
    names = [f"{rnd.choice(FOLDERS)}/{n}.{rnd.choice(list(TYPES))}" for n in range(220)]
    shots = [shoot(rnd, photos / name) for name in names[:160]]
    with Library(tmp_path / "library", encoder=ColourEncoder()) as library:
        library.index(photos, index_recipe=kind)
        for shot in shots[:20]:
            shot.path.unlink()
        library.forget(*(shot.path for shot in shots[20:30]))
        for shot in shots[20:30]:
            shot.path.unlink()
        changed = [shoot(rnd, shot.path) for shot in shots[30:40]]
        newer = [shoot(rnd, photos / name) for name in names[160:]]
        library.index(photos)
        made = Album(library, changed + shots[40:] + newer, photos)
        made.look_up()
        yield made


def in_words(wanted: Filter) -> str:
    return Query((TextProbe("x"),), wanted).text.removeprefix("x").strip()


def page(best: Sequence[tuple[int, float]], k: int, offset: int) -> Sequence[tuple[int, float]]:
    return best[offset : offset + k]


def check(found: Hits, expected: Sequence[tuple[int, float]]) -> None:
    assert [hit.image_id for hit in found] == [image_id for image_id, _ in expected]
    np.testing.assert_allclose(found.scores, [score for _, score in expected], atol=1e-6)


def test_filtered_pages_are_those_of_brute_force(
    album: Album, monkeypatch: pytest.MonkeyPatch
) -> None:
    rnd, random_numbers = random.Random(9), np.random.default_rng(10)
    n_found = []
    for n, vector in enumerate(normalise(random_numbers.normal(size=(N_QUERIES, 4)))):
        # By comparing all, as few as these are, and by the index itself.
        monkeypatch.setattr(searching, "FEW", rnd.choice((10, 4096)))
        wanted, k = random_filter(rnd, album.photos), rnd.choice((1, 3, 10, 40))
        offset = rnd.choice((0, 0, 2, 33))
        filters = wanted if n % 2 else in_words(wanted)
        found = album.library.query(vector, k, filters=filters, offset=offset, exact=n % 5 == 0)
        check(found, page(album.best(vector, wanted), k, offset))
        n_found.append(len(found))
    assert sum(n == 0 for n in n_found) < N_QUERIES / 2 and max(n_found) == 40


def test_a_hit_is_as_sure_whatever_page_and_filter_shows_it(album: Album) -> None:
    rnd = random.Random(11)
    for probe in ("red", "yellow - blue", np.array([0.1, 0.9, 0.2, 0.1])):
        whole = {hit.image_id: hit for hit in album.library.query(probe, k=500)}
        assert len(whole) == len(album.shots)
        for _ in range(30):
            wanted, offset = random_filter(rnd, album.photos), rnd.choice((0, 1, 9))
            exact = rnd.random() < 0.5
            found = album.library.query(probe, 5, filters=wanted, offset=offset, exact=exact)
            assert all(hit == whole[hit.image_id] for hit in found)


def test_filtered_matches_are_those_of_all_that_pass(album: Album) -> None:
    rnd = random.Random(12)
    for probe in ("red", "blue", np.array([0.1, 0.9, 0.2, 0.1])):
        ids = [hit.image_id for hit in album.library.query(probe, k=500, only_matches=True)]
        for _ in range(20):
            wanted = random_filter(rnd, album.photos)
            passed = {image_id for image_id, _ in album.best(np.ones(4, np.float32), wanted)}
            pages = [
                hit.image_id
                for at in range(0, 60, 4)
                for hit in album.library.query(
                    probe, 4, filters=wanted, offset=at, only_matches=True
                )
            ]
            assert pages == [image_id for image_id in ids if image_id in passed][:60]
