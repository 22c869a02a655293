"""`python -m clipsearch` is `clipsearch`."""

from __future__ import annotations

import sys


def main() -> int:
    """Run the command line; Ctrl-C is quiet even while its modules are being loaded."""
    try:
        from clipsearch.cli.app import main as run

        return run()
    except KeyboardInterrupt:
        return 130  # cli.options.ExitCode.INTERRUPTED, which may not be loaded yet


if __name__ == "__main__":
    sys.exit(main())
