"""Build the wheel, install it away from the checkout, and use it there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
MAX_MINI_BYTES = 12_000_000


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    options = ["--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    run([sys.executable, "-m", "build", *options], folder)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs' folder of a new environment that has the wheel and only borrows its needs."""
    folder = tmp_path_factory.mktemp("environment")
    run([sys.executable, "-m", "venv", "--without-pip", str(folder / "env")], folder)
    programs = folder / "env" / ("Scripts" if os.name == "nt" else "bin")
    python = str(programs / "python")
    install = ["install", "--quiet", "--no-deps", "--no-index", str(wheel)]
    run([sys.executable, "-m", "pip", "--python", python, *install], folder)
    # A path in a .pth file is searched last, and .pth files in it are not read: an editable
    # clipsearch among the borrowed packages stays out of sight.
    purelib = run([python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], folder)
    borrowed = sorted({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")})
    Path(purelib.strip(), "borrowed.pth").write_text("\n".join(borrowed), encoding="utf-8")
    return programs


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A folder outside the checkout with three pictures in it."""
    (tmp_path / "pictures").mkdir()
    for colour in ("red", "green", "blue"):
        Image.new("RGB", (96, 80), colour).save(tmp_path / "pictures" / f"{colour}.jpg")
    return tmp_path


def run(command: list[str], folder: Path) -> str:
    """Run a program in a folder that is its home too, and return what it wrote."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("CLIPSEARCH_", "XDG_", "PYTHON", "COV_"))
    }
    environment["HOME"] = str(folder)
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "leaked" not in done.stderr  # as what torch brings says of an end that is cut short
    return done.stdout


def test_the_wheel_carries_migrations_types_pictures_and_the_model(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        sizes = {info.filename: info.file_size for info in archive.infolist()}
    assert {"clipsearch/py.typed", "clipsearch/_alembic/env.py"} <= sizes.keys()
    assert any(name.startswith("clipsearch/_alembic/versions/") for name in sizes)
    assert any(name.startswith("clipsearch/_demo/") for name in sizes)
    mini = {name: size for name, size in sizes.items() if name.startswith("clipsearch/clip/mini/")}
    assert {Path(name).name for name in mini} >= {
        "model.safetensors",
        "merges.txt.gz",
        "model.json",
    }
    assert sum(mini.values()) <= MAX_MINI_BYTES


def test_the_wheel_brings_no_other_top_level_names(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        tops = {name.split("/")[0] for name in archive.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"clipsearch"}


def test_the_installed_package_indexes_and_finds(installed: Path, elsewhere: Path) -> None:
    clipsearch = str(installed / "clipsearch")
    shared = ["--library", "library", "--json"]
    indexed = run([clipsearch, "index", "pictures", "--model", "mini", *shared], elsewhere)
    assert json.loads(indexed)["added"] == 3
    found = json.loads(run([clipsearch, "query", "red", "--all", "-k", "2", *shared], elsewhere))
    assert len(found["hits"]) == 2
    assert found["model"] == "mini"
    assert all(Path(hit["path"]).is_file() for hit in found["hits"])


def test_the_installed_package_runs_itself_and_finds_its_own_pictures(
    installed: Path, elsewhere: Path
) -> None:
    program = (
        "import clipsearch.cli.demo as demo; print(demo.__file__, demo.collection(), sep='\\n')"
    )
    for place in run([str(installed / "python"), "-c", program], elsewhere).splitlines():
        assert place.startswith(str(installed.parent))
