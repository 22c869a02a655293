"""`clipsearch demo`: index the bundled pictures with the bundled model and show some queries."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clipsearch.cli import render
from clipsearch.cli.options import ExitCode, JsonOption, LibraryOption, given_sheet
from clipsearch.errors import FolderError

if TYPE_CHECKING:
    from clipsearch.library import Hit, Library

MODEL = "mini"
CAPTIONS = "captions.json"
QUERIES = (
    "a red apple",
    "a cow on a blue background",
    "three bats in the desert",
    "a cat next to a birthday cake",
    "a monkey above an avocado",
)
PICTURE = "0274.jpg"  # three airplanes; where the collection is another, its first picture
N_HITS = 5
REMARK = (
    "The collection that comes with clipsearch, searched with the bundled model mini. "
    "The text under a picture says what was drawn; the search has seen only the pictures."
)
PACKAGE = Path(__file__).resolve().parents[1]
# In the wheel the pictures are inside the package, in a checkout they are beside it.
FOLDERS = (PACKAGE / "_demo", PACKAGE.parent / "data" / "demo")


@dataclass(frozen=True)
class Shown:
    """One query of the demo and its hits; the probe is words or a picture."""

    probe: str | Path
    hits: list[Hit]

    @property
    def title(self) -> str:
        return f"like {self.probe.name}" if isinstance(self.probe, Path) else self.probe


def demo(
    sheet: Annotated[
        Path,
        typer.Option(
            "--sheet",
            metavar="FILE",
            parser=given_sheet,
            help="Where to write the contact sheet, .html or .png.",
        ),
    ] = Path("clipsearch-demo.html"),
    library: LibraryOption = None,
    as_json: JsonOption = False,
) -> int:
    """Search the bundled pictures with the bundled model."""
    from clipsearch.library import Library

    folder = collection()
    captions = read_captions(folder)
    with Library(library or demo_library(folder), model=MODEL) as opened:
        with render.progress() as show:
            report = opened.index(folder, on_progress=show)
        shown = run_queries(opened, folder)
    write_page(sheet, shown, captions)
    if as_json:
        render.json_object(to_json(shown, sheet))
        return ExitCode.DONE
    n_pictures = report.added + report.updated + report.moved + report.returned + report.unchanged
    render.text(f"{n_pictures:,} pictures in {folder}, searched with the model {MODEL}")
    for one in shown:
        render.text("")
        render.text(one.title)
        render.columns([row(hit, captions) for hit in one.hits])
    render.text(f"\nThe same with the pictures: {sheet.absolute()}")
    return ExitCode.DONE


def collection() -> Path:
    """Find the bundled pictures. Raises FolderError if this installation came without them."""
    for folder in FOLDERS:
        if folder.is_dir():
            return folder
    raise FolderError(
        "this installation came without the demo's pictures: index a folder of your own with "
        "clipsearch index PATH --model mini"
    )


def demo_library(folder: Path) -> Path:
    """Name a library in the cache that belongs to these pictures and this model alone."""
    from clipsearch.settings import Settings

    weights = PACKAGE / "clip" / MODEL / "model.json"
    identity = bytes(folder) + (weights.read_bytes() if weights.is_file() else b"")
    return Settings.load().cache_dir / f"demo-{hashlib.sha256(identity).hexdigest()[:12]}"


def read_captions(folder: Path) -> dict[str, str]:
    """What was drawn, by file name; empty where the file is not there."""
    try:
        pictures = json.loads((folder / CAPTIONS).read_text(encoding="utf-8"))["pictures"]
    except FileNotFoundError:
        return {}
    return {name: picture["caption"] for name, picture in pictures.items()}


def run_queries(library: Library, folder: Path) -> list[Shown]:
    picture = folder / PICTURE
    if not picture.is_file():
        picture = min(folder.rglob("*.jpg"))
    probes: Sequence[str | Path] = (*QUERIES, picture)
    return [Shown(probe, library.query(probe, k=N_HITS)) for probe in probes]


def row(hit: Hit, captions: Mapping[str, str]) -> tuple[str, str, str]:
    return f"{hit.score:8.3f}", hit.path.name, captions.get(hit.path.name, "")


def to_json(shown: Sequence[Shown], sheet: Path) -> dict[str, object]:
    queries = [
        {"query": str(one.probe), "model": MODEL, "hits": [hit.to_dict() for hit in one.hits]}
        for one in shown
    ]
    return {"queries": queries, "sheet": sheet.absolute()}


def write_page(file: Path, shown: Sequence[Shown], captions: Mapping[str, str]) -> None:
    from clipsearch.cli.sheet import SheetQuery, write_sheet

    queries = [SheetQuery.of(one.probe, one.hits, captions) for one in shown]
    write_sheet(file, "clipsearch demo", REMARK, queries)
