"""`python -m clipsearch` is `clipsearch`."""

from __future__ import annotations

import sys

from clipsearch.cli.app import main

if __name__ == "__main__":
    sys.exit(main())
