"""Ask libraries that may be damaged: python -m tests.chaos.prober, orders one JSON line each.

A process of its own, because what is judged is also whether it survives.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from clipsearch.errors import ClipsearchError
from clipsearch.library import Library
from tests.chaos import plants
from tests.chaos.encoder import HashEncoder
from tests.chaos.questions import own_findings, plain
from tests.chaos.server import answer


def probe(library: Path, questions: list[Any]) -> dict[str, Any]:
    """What a library answers, or the error that it refuses with; and what its own check finds."""
    told: dict[str, Any] = {"hits": [], "refused": None}
    try:
        with Library(library, create=False, encoder=HashEncoder()) as opened:
            for vector, k in questions:
                told["hits"].append(plain(opened.query(np.array(vector, dtype=np.float32), k)))
    except ClipsearchError as error:
        told["refused"] = str(error)
    try:
        with Library(library, create=False, encoder=HashEncoder()) as opened:
            told["found"] = own_findings(opened)
    except ClipsearchError as error:
        told["found"] = [str(error)]
    return told


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--plant", choices=sorted(plants.PLANTS))
    given = parser.parse_args()
    if given.plant is not None:
        plants.PLANTS[given.plant]()
    for line in sys.stdin:
        order = json.loads(line)
        answer(probe(Path(order["library"]), order["questions"]))


if __name__ == "__main__":
    main()
