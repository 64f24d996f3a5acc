"""Who writes an output: one process at a time. A lock ends with its process, however that ends."""

from __future__ import annotations

import contextlib
import os
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from ark_asr.errors import OptionError

_HAS_LOCKS = find_spec("fcntl") is not None  # not on Windows
_NAME = ".lock"
_TRIES = 9


def lock(descriptor: int, name: str) -> None:
    """Lock an open file, where there are locks.

    Args:
        descriptor: Of the file, open to be written, because NFS locks no other.
        name: What the user calls it.

    Raises:
        OptionError: Another process has it.
    """
    if not _HAS_LOCKS:
        return
    fcntl = import_module("fcntl")
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise OptionError(f"{name}: another run is writing it") from None
    except OSError:  # a file system without locks
        return


class FolderLock:
    """A folder of this machine that one process writes; there is a file ``.lock`` in it meanwhile.

    Args:
        folder: Is made. Where that file cannot be written, nothing is locked.

    Raises:
        OptionError: Another process has it.
    """

    def __init__(self, folder: str) -> None:
        self._path = Path(folder, _NAME)
        self._file: int | None = None
        for _ in range(_TRIES if _HAS_LOCKS else 0):
            try:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666)
            except FileNotFoundError:  # another process has just deleted the folder
                continue
            except OSError:  # whoever writes there will say so
                return
            with contextlib.ExitStack() as unless_it_is_ours:
                unless_it_is_ours.callback(os.close, file)
                lock(file, folder)
                # Another process may have deleted it between the opening and the lock.
                with contextlib.suppress(FileNotFoundError):
                    if os.path.samestat(os.fstat(file), self._path.stat()):
                        self._file = file
                        unless_it_is_ours.pop_all()
                        return

    def close(self) -> None:
        """Let go of the folder."""
        if self._file is None:
            return
        with contextlib.suppress(OSError):
            self._path.unlink()  # while it is locked: nobody else's is there yet
        os.close(self._file)
        self._file = None
