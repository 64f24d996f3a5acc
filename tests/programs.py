"""Programs in processes of their own that no test leaves behind."""

from __future__ import annotations

import subprocess
from contextlib import contextmanager


@contextmanager
def started(command, **options):
    """`subprocess.Popen` that ends the program when the test fails.

    Popen's own context would wait for it, for ever if it waits for what the test did not come to.
    """
    with subprocess.Popen([*map(str, command)], **options) as process:
        try:
            yield process
        except BaseException:
            process.kill()
            raise
