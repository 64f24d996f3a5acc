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
import sys
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
    control.close()  # whatever takes this process over cannot ask for others
    os._exit(_live(Connection(pipe)))


def _live(pipe: Connection) -> int:
    """The life of a forked process: what the server tells it to do, and its exit code."""
    try:
        # Only the server writes here; what it reads are plain bytes (`confined`).
        target, order = pickle.loads(pipe.recv_bytes())  # noqa: S301
        target(pipe, order)
    except (EOFError, ConnectionError):
        return 0  # the server has no use for it any more
    except BaseException as error:  # noqa: BLE001 - above this is the loop of another process
        # Not the message, which may name the recording.
        told = "".join(traceback.format_tb(error.__traceback__))
        print(f"{told}{type(error).__name__}", file=sys.stderr, flush=True)
        return 1
    return 0
