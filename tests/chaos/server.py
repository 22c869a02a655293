"""Processes that stay: python -m tests.chaos.server LEDGER … reads orders, one JSON line each.

An order is the arguments of a `clipsearch` command. The answer is its exit code and what it said
on standard error. Spares the start of an interpreter where hundreds of runs are wanted.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import sys
import time
from pathlib import Path
from typing import Any

from tests.chaos import child, plants
from tests.chaos.encoder import HoldingEncoder
from tests.chaos.ledger import LedgerWriter


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("ledger", type=Path)
    parser.add_argument("--plant", choices=sorted(plants.PLANTS))
    given = parser.parse_args()
    encoder = HoldingEncoder()
    ledger = LedgerWriter(given.ledger)
    run = child.prepare(ledger, child.PhaseByte(None), 12, given.plant, encoder)
    answer({"ready": True})
    for line in sys.stdin:
        order = json.loads(line)
        encoder.gate = Path(order["gate"]) if order["gate"] else None
        ledger.forget()
        errors, output = io.StringIO(), io.TextIOWrapper(io.BytesIO())
        while time.monotonic_ns() < order["start_ns"]:
            pass  # so that all begin at once
        with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(output):
            code = run(order["arguments"])
        answer({"code": code, "errors": errors.getvalue()})


def answer(what: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
