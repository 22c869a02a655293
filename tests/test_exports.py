"""The public names: all there, sorted, and none of them loads what it does not need."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import clipsearch


def test_every_public_name_is_there_and_the_list_is_sorted() -> None:
    assert clipsearch.__all__ == sorted(clipsearch.__all__)
    for name in set(clipsearch.__all__) - {"__version__"}:
        assert getattr(clipsearch, name) is not None
    assert set(clipsearch.__all__) <= set(dir(clipsearch))


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    assert not hasattr(clipsearch, "Librarian")


def test_importing_loads_nothing_heavy() -> None:
    code = (
        "import sys, clipsearch; clipsearch.Library, clipsearch.Query, clipsearch.Settings\n"
        "heavy = {'torch', 'torchvision', 'faiss', 'PIL', 'sqlalchemy'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[1])
