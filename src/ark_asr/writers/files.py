"""Putting a file on disk, whole or not at all."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

# What file systems allow, in bytes.
LONGEST_NAME = 255


def write_atomic(path: str | Path, content: str | bytes) -> None:
    """Write text (as UTF-8) or bytes; on any error or Ctrl-C what was there before stays.

    The content goes to a hidden file in the same folder, which is then renamed. Line ends are
    written as they are.

    Raises:
        OSError: The folder is missing or not writable, or the disk is full.
    """
    path = Path(path)
    data = content.encode() if isinstance(content, str) else content
    part = hidden(path, f"{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def hidden(path: Path, ending: str) -> Path:
    """``.NAME.ENDING`` in the same folder; a hash of the name where that would be too long."""
    name = f".{path.name}.{ending}"
    if len(os.fsencode(name)) > LONGEST_NAME:
        digest = hashlib.sha256(os.fsencode(path.name)).hexdigest()
        name = f".{digest}.{ending}"
    return path.with_name(name)
