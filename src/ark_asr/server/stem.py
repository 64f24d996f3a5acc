"""The process that those who touch uploads are forked from; it touches none itself.

What it has loaded, and used once, nobody who is forked from it has to load: of a short upload that
was three quarters of the work. The server asks it over a socket, one request at a time.
"""

from __future__ import annotations

import gc
import os
import pickle
import signal
import socket
import struct
import traceback
import warnings
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Final

# A request: with one end of a pipe, `FORK` for a process that has it; else the one to be ended.
# The answer is the process, or `FAILED`; the first of all says that everything is loaded.
MESSAGE: Final = struct.Struct("<q")
FORK: Final = 0
FAILED: Final = -1
# First byte of the last thing that a process says which met an error that nobody expects.
BROKEN: Final = b"!"
_TOLD: Final = 1 << 14  # bytes of where that was


def serve(control: socket.socket) -> None:
    """Fork processes and end them until the server is gone, and then with all that are left."""
    # A terminal sends Ctrl-C to all; the server lets running requests finish, which need theirs.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _load()
    children: set[int] = set()
    with suppress(OSError):
        control.sendall(MESSAGE.pack(FORK))
        while True:
            message, pipes, _, _ = socket.recv_fds(control, MESSAGE.size, 1, socket.MSG_WAITALL)
            if len(message) < MESSAGE.size:
                break
            (pid,) = MESSAGE.unpack(message)
            if pipes:
                pid = _fork(control, pipes[0])
                children.add(pid)
            elif pid in children:  # nobody else has waited for it, so the number is still its own
                children.remove(pid)
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
            control.sendall(MESSAGE.pack(pid))
    for pid in children - {FAILED}:
        os.kill(pid, signal.SIGKILL)


def _load() -> None:
    """Do once what is then done for everybody."""
    import resource  # noqa: F401 - `Bounds` needs it

    from ark_asr.server.ear import rehearse

    rehearse()
    # A collection would touch, and so copy, the memory of everything that is here already.
    gc.collect()
    gc.freeze()


def _fork(control: socket.socket, pipe: int) -> int:
    try:
        with warnings.catch_warnings():
            # Of forks of processes with threads: the runtime has one, which waits for nothing.
            warnings.simplefilter("ignore", DeprecationWarning)
            pid = os.fork()
    except OSError:
        pid = FAILED
    if pid != 0:
        os.close(pipe)
        return pid
    try:
        control.close()  # whatever takes this process over cannot ask for others
        live(Connection(pipe))
    finally:  # never back into the loop above, which ends the processes of others
        os._exit(0)


def live(pipe: Connection) -> None:
    """The life of such a process: it does what the server tells it to."""
    try:
        # Only the server writes here; what it reads are plain bytes (`confined`).
        target, order = pickle.loads(pipe.recv_bytes())  # noqa: S301
        target(pipe, order)
    except (EOFError, ConnectionError):
        pass  # the server has no use for it any more
    except BaseException as error:  # noqa: BLE001 - whatever it is, it is not to be printed
        # Not the message, which may name the recording. And not onto a log: it may be a file, of
        # which this process can write no byte.
        told = "".join(traceback.format_tb(error.__traceback__)) + type(error).__name__
        with suppress(OSError):
            pipe.send_bytes(BROKEN + told.encode(errors="replace")[-_TOLD:])
