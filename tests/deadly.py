"""Records that kill the process that takes them."""

from __future__ import annotations

import multiprocessing
import os
import signal
from pathlib import Path


class Deadly:
    """Stands for a record; what it kills is a process beside Ray's own worker, or that worker.

    Args:
        record: What it is otherwise.
        once: A file: the worker is killed where it is not there yet, and nothing afterwards.
    """

    def __init__(self, record, once: Path | None = None):
        self.record, self.once = record, once

    def __getattr__(self, name):
        return getattr(self.record, name)

    def __reduce__(self):
        return arrive, (self.record, self.once)


def arrive(record, once):
    """What a process does that takes such a record from a pipe or from Ray."""
    if once is None:
        if multiprocessing.parent_process() is None:
            return Deadly(record)
    else:
        try:
            once.touch(exist_ok=False)
        except FileExistsError:
            return record
    os.kill(os.getpid(), signal.SIGKILL)
    return record
