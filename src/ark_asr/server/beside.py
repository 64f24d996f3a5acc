"""A server beside the terminal: started, asked about and stopped by its port.

The server holds a lock on its pid file for as long as it lives, so a number that is left over from
an earlier life is never taken for a process of ours.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TextIO

from ark_asr.errors import OptionError

_PATIENCE = 0.1
_LOOK = 0.01  # seconds; a look at the lock takes less
_START_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Place:
    """Where the files of the server at one port are.

    Attributes:
        folder: All of them, unless the others say otherwise.
        port: It tells servers apart.
        pid: File of the pid.
        log: File of what it says.
    """

    folder: Path
    port: int
    pid: Path | None = None
    log: Path | None = None

    @property
    def pid_file(self) -> Path:
        """The number of its process."""
        return self.pid or self.folder / f"serve-{self.port}.pid"

    @property
    def log_file(self) -> Path:
        """What it says; a new start appends."""
        return self.log or self.folder / f"serve-{self.port}.log"

    @property
    def arguments_file(self) -> Path:
        """What it was started with, for a restart."""
        return self.folder / f"serve-{self.port}.json"


def running(place: Place) -> int | None:
    """The process that serves there, if one does."""
    lock = _posix()
    try:
        file = place.pid_file.open("r", encoding="ascii")
    except FileNotFoundError:
        return None
    with file:
        try:
            lock.flock(file, lock.LOCK_SH | lock.LOCK_NB)
        except BlockingIOError:
            return int(file.read() or 0) or None
        return None


def last_arguments(place: Place) -> list[str]:
    """Those of the latest start; none if there was none."""
    try:
        found = json.loads(place.arguments_file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return [str(argument) for argument in found]


def start(
    place: Place, arguments: Sequence[str], environment: Mapping[str, str] | None = None
) -> int:
    """Start a server with the arguments of ``ark-asr serve``, and wait until it listens.

    Args:
        place: Where its files are.
        arguments: Without the port.
        environment: Its variables; ``None`` for those of this process.

    Returns:
        Its process; that of the one that is there already, if one is.

    Raises:
        OptionError: It did not start; with the last line of its log.
    """
    if (pid := running(place)) is not None:
        return pid
    for file in (place.arguments_file, place.pid_file, place.log_file):
        file.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "ark_asr", "serve", *arguments]
    command += ["--port", str(place.port), "--pid-file", str(place.pid_file)]
    with place.log_file.open("ab") as log:
        process = subprocess.Popen(  # noqa: S603 - our own program
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            env=environment,
        )  # fmt: skip
    patience = time.monotonic() + _START_SECONDS
    # Until the server has written its number, the file may hold that of an earlier life.
    while (pid := running(place)) != process.pid:
        if process.poll() is not None or time.monotonic() > patience:
            if pid is not None:  # another start was quicker
                return pid
            lines = place.log_file.read_text(encoding="utf-8", errors="replace").splitlines()
            last = lines[-1].removeprefix("ark-asr: ") if lines else "it said nothing"
            raise OptionError(f"the server did not start: {last}")
        time.sleep(_PATIENCE)
    unfinished = place.arguments_file.with_suffix(".tmp")
    unfinished.write_text(json.dumps(list(arguments)), encoding="utf-8")
    unfinished.replace(place.arguments_file)
    return pid


def stop(place: Place, seconds: float) -> int | None:
    """Ask the server to finish, and end it if it takes longer than that.

    Returns:
        Its process, or ``None`` if there was none.
    """
    pid = running(place)
    if pid is None:
        return None
    with suppress(ProcessLookupError):  # it has ended by itself meanwhile
        os.kill(pid, signal.SIGTERM)
    patience = time.monotonic() + seconds
    while running(place) == pid:
        if time.monotonic() > patience:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            patience = float("inf")
        time.sleep(_PATIENCE)
    place.pid_file.unlink(missing_ok=True)
    return pid


@contextmanager
def locked(pid_file: Path) -> Iterator[Callable[[], None]]:
    """Around a server's life: nobody else can lock the file meanwhile.

    Yields:
        What writes the number of the process into it; to be called when clients can connect.

    Raises:
        OptionError: Another server has it, or it cannot be written.
    """
    lock = _posix()
    try:
        file = pid_file.open("a+", encoding="ascii")
    except OSError as error:
        raise OptionError(f"{pid_file}: cannot be written ({error.strerror})") from None
    with file:
        while not _taken(lock, file):
            time.sleep(_LOOK)
        file.truncate(0)

        def announce() -> None:
            file.write(str(os.getpid()))
            file.flush()

        yield announce


def _taken(lock: ModuleType, file: TextIO) -> bool:
    """Whether the lock is ours now; not when somebody has it who looks whether a server does.

    Raises:
        OptionError: Another server has it.
    """
    try:
        lock.flock(file, lock.LOCK_EX | lock.LOCK_NB)
    except BlockingIOError:
        try:
            lock.flock(file, lock.LOCK_SH | lock.LOCK_NB)
        except BlockingIOError:
            raise OptionError(f"{file.name}: is that of a server that is running") from None
        lock.flock(file, lock.LOCK_UN)
        return False
    return True


def _posix() -> ModuleType:
    try:
        import fcntl
    except ModuleNotFoundError:
        raise OptionError(
            "start, stop and status need a POSIX system; use plain `ark-asr serve`"
        ) from None
    return fcntl
