"""Standard input, output and error, whatever this program was started with."""

from __future__ import annotations

import io
import os
import sys


def ready_streams() -> None:
    """Make up for standard streams that are closed, and for an encoding that lacks characters.

    A stream that is closed is none at all for Python, and the next file that is opened gets its
    number. What the encoding of standard output lacks is spelled out, as standard error does: one
    character must not cost the text of an hour. What is not for a terminal has the line ends of
    files: Windows would put a CR before each LF, also where one is already (CSV).
    """
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            null = os.open(os.devnull, os.O_RDWR)
            setattr(sys, name, os.fdopen(null, "r" if name == "stdin" else "w"))
    if isinstance(sys.stdout, io.TextIOWrapper):
        newline = None if sys.stdout.isatty() else "\n"
        sys.stdout.reconfigure(errors="backslashreplace", newline=newline)
