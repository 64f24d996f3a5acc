"""Drivers that write to standard error by themselves."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def drivers_quiet() -> Iterator[None]:
    """Drop what libraries below Python write there; what Python writes still appears.

    ALSA and PortAudio report a device that is pulled out in several lines of their own, in the
    middle of the captions. What there is to say about it, this program says in one.
    """
    sys.stderr.flush()
    before, kept = sys.stderr, os.dup(2)
    with open(kept, "w", encoding=before.encoding, errors="backslashreplace", buffering=1) as own:  # noqa: PTH123 - a descriptor
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 2)
        os.close(null)
        if _is_descriptor_2(before):
            sys.stderr = own
        try:
            yield
        finally:
            own.flush()
            os.dup2(kept, 2)
            sys.stderr = before


def _is_descriptor_2(stream: object) -> bool:
    try:
        return bool(stream.fileno() == 2)  # type: ignore[attr-defined]
    except (AttributeError, OSError):
        return False
