"""A new process for each upload: forked where that is possible, else started."""

from __future__ import annotations

import atexit
import multiprocessing
import os
import pickle
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Protocol, TypeVar

from ark_asr.server.problems import Problem
from ark_asr.server.stem import FAILED, FORK, MESSAGE, live

_Order = TypeVar("_Order")
# Windows cannot; on macOS the system's libraries may crash in a fork, which is why Python starts
# processes anew there, too: https://docs.python.org/3/library/multiprocessing.html
FORKS = sys.platform not in ("darwin", "win32")
_PATIENCE = 10.0  # seconds for the stem to end, of which it needs a hundredth


class Child(Protocol):
    """A process that was started here.

    Attributes:
        pid: Its number.
    """

    @property
    def pid(self) -> int | None:  # noqa: D102 - said above
        ...

    def end(self) -> None:
        """Kill it, if it is there; may be called again, and is before the pipe is closed."""
        ...


def start(target: Callable[[Connection, _Order], None], order: _Order) -> tuple[Connection, Child]:
    """A process that runs ``target`` with its end of a pipe, and ``order``.

    Args:
        target: A function of a module, not one within another.
        order: Something that can be pickled.

    Returns:
        The other end of the pipe, and the process.

    Raises:
        Problem: 503: the system has no room for another process.
    """
    told = pickle.dumps((target, order))
    try:
        ours, child = _begun()
    except (EOFError, OSError):
        message = "there is no room for another process now; try again later"
        raise Problem(503, message, None, "overloaded", {"Retry-After": "10"}) from None
    with suppress(ConnectionError):  # it is gone already, which shows when it is listened to
        ours.send_bytes(told)
    return ours, child


def _begun() -> tuple[Connection, Child]:
    ours, theirs = multiprocessing.Pipe()
    try:
        with theirs:
            return ours, _forks.child(ours, theirs) if FORKS else _spawned(theirs)
    except BaseException:
        ours.close()
        raise


def warm_up() -> None:
    """Have ready what can be: the first upload need not wait."""
    if FORKS:
        _forks.stem()


class _Stem:
    """The server's end of the process that others are forked from."""

    def __init__(self) -> None:
        self._control, theirs = socket.socketpair()
        self._one_at_a_time = threading.Lock()
        # It must find the same modules as this process, and none that lie about in a folder.
        code = (
            f"import sys; sys.path[:] = {[str(one) for one in sys.path]!r}; import socket; "
            "from ark_asr.server.stem import serve; "
            f"serve(socket.socket(fileno={theirs.fileno()}))"
        )
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 - our own program
                [sys.executable, "-c", code],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                # One thread hears one upload; more of NumPy's would be stopped at each fork.
                env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
            )
        self._answer()

    def fork(self, pipe: Connection) -> int:
        """A process that has this end of a pipe; `FAILED` if there can be none.

        Raises:
            EOFError, ConnectionError: The stem is gone.
        """
        with self._one_at_a_time:
            self._check_open()
            socket.send_fds(self._control, [MESSAGE.pack(FORK)], [pipe.fileno()])
            return self._answer()

    def end(self, pid: int) -> None:
        """End a process that was forked here.

        Raises:
            EOFError, OSError: The stem is gone.
        """
        with self._one_at_a_time:
            self._check_open()
            self._control.sendall(MESSAGE.pack(pid))
            self._answer()

    def close(self) -> None:
        """End it, and all that were forked from it."""
        with suppress(OSError):  # it may be gone; whoever waits for its answer need not any more
            self._control.shutdown(socket.SHUT_RDWR)
        with self._one_at_a_time:
            self._control.close()
        try:
            self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _check_open(self) -> None:
        # Somebody else may have found first that it was gone, and closed this.
        if self._control.fileno() < 0:
            raise EOFError("the process that decoders are forked from has been given up")

    def _answer(self) -> int:
        message = self._control.recv(MESSAGE.size, socket.MSG_WAITALL)
        if len(message) < MESSAGE.size:
            raise EOFError("the process that decoders are forked from has ended")
        (pid,) = MESSAGE.unpack(message)
        return int(pid)


class _Forked:
    def __init__(self, stem: _Stem, pid: int, pipe: Connection) -> None:
        self.pid = pid
        self._stem = stem
        self._pipe = pipe

    def end(self) -> None:
        try:
            self._stem.end(self.pid)
        except (EOFError, OSError):
            # Nobody keeps its number any more; but as long as it has the other end of the pipe,
            # which nobody else has, it is there, and the number is its own.
            if self._holds_pipe():
                os.kill(self.pid, signal.SIGKILL)

    def _holds_pipe(self) -> bool:
        if self._pipe.closed:
            return False
        poll = select.poll()
        poll.register(self._pipe, 0)  # it always tells whether the other end is closed
        return not poll.poll(0)


class _Forks:
    """The stem of this process, for all its servers; a new one if it was killed."""

    def __init__(self) -> None:
        self._stem: _Stem | None = None
        self._lock = threading.Lock()
        atexit.register(self._close)

    def stem(self) -> _Stem:
        with self._lock:
            if self._stem is None:
                self._stem = _Stem()
            return self._stem

    def child(self, ours: Connection, theirs: Connection) -> Child:
        stem = self.stem()
        try:
            pid = stem.fork(theirs)
        except (EOFError, ConnectionError):
            self._forget(stem)
            stem = self.stem()
            pid = stem.fork(theirs)
        if pid == FAILED:
            raise BlockingIOError("no process could be forked")
        return _Forked(stem, pid, ours)

    def _forget(self, stem: _Stem) -> None:
        with self._lock:
            if self._stem is stem:
                self._stem = None
                stem.close()

    def _close(self) -> None:
        if self._stem is not None:
            self._stem.close()


_forks = _Forks()


class _Spawned:
    def __init__(self, process: multiprocessing.process.BaseProcess) -> None:
        self.pid = process.pid
        self._process = process

    def end(self) -> None:
        self._process.kill()
        self._process.join()


def _live_alone(pipe: Connection) -> None:
    # As in the stem: running requests may finish after Ctrl-C, and need this process.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    live(pipe)


def _spawned(theirs: Connection) -> Child:
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=_live_alone, args=(theirs,), daemon=True)
    process.start()
    return _Spawned(process)
