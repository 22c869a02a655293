"""`python -m clipsearch` is `clipsearch`."""

from __future__ import annotations

import gc
import sys

from clipsearch.cli.signals import Signals


def main() -> int:
    """Run the command line; Ctrl-C is quiet even while its modules are being loaded."""
    signals = Signals()
    try:
        signals.install()
        # Nearly all that is made while starting stays to the end: to look through it for garbage
        # after every few hundred objects, as Python would, takes a tenth of a short query.
        gc.set_threshold(50_000)
        from clipsearch.cli.app import main as run

        code = run()
        signals.let_go()
    except KeyboardInterrupt:
        code = 130  # cli.options.ExitCode.INTERRUPTED, which may not be loaded yet
    except Exception:
        # A module that was interrupted while it was loaded says so in many ways.
        if signals.exit_code is None:
            raise
        code = signals.exit_code
    if "torch" not in sys.modules:  # it counts what is left at the end, and complains
        gc.freeze()  # nor is it looked through at the end, for another tenth
    return code if signals.exit_code is None else signals.exit_code


if __name__ == "__main__":
    sys.exit(main())
