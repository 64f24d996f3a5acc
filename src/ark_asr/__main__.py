"""The program ``ark-asr``, which ``python -m ark_asr`` is, too."""

from __future__ import annotations

import sys


def main() -> None:
    """The command line, where Ctrl-C ends quietly also while it is still being imported."""
    try:
        from ark_asr.cli import main as program

        program()
    except KeyboardInterrupt:
        sys.exit(130)  # `cli.outcome.INTERRUPTED`, which may not have been imported yet


if __name__ == "__main__":
    main()
