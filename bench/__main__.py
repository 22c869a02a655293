"""`python -m bench [NAME …]`: run the measurements, all or those named; print each as JSON, and put
it into results.json and the README's table."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

from bench import adding, building, cold, decoding, encode, indexing, memory, scaling, table, warm

MEASUREMENTS: dict[str, Callable[[], dict[str, Any]]] = {
    "encode": encode.run,
    "decode": decoding.run,
    "index": indexing.run,
    "cold": cold.run,
    "warm": warm.run,
    "add": adding.run,
    "build": building.run,
    "memory": memory.run,
    "scaling": scaling.run,
}


def main(names: list[str]) -> int:
    """Run them and return the exit code."""
    unknown = [name for name in names if name not in MEASUREMENTS]
    if unknown:
        print(
            f"bench: no measurement is called {unknown[0]!r}; there are: {', '.join(MEASUREMENTS)}",
            file=sys.stderr,
        )
        return 2
    for name in names or MEASUREMENTS:
        result = MEASUREMENTS[name]()
        print(json.dumps(result, indent=1), flush=True)
        table.keep(name, result)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
