"""Training runs in processes of their own, as ``torchrun`` starts them, some of which die.

They are forked from one server that has imported PyTorch already.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from contextlib import contextmanager
from pathlib import Path

from ports import free_port

PATIENCE = 400  # seconds, for a machine that has much else to do


def train(recipe, size=1, *, resume=False, die_at=None, die_saving=False):
    """Run a recipe to its end; exit codes of its processes.

    Args:
        recipe: Path of it.
        size: Processes.
        resume: Go on.
        die_at: The last process is killed (SIGKILL) when it has done so many updates.
        die_saving: It is the first instead, in the middle of writing the next checkpoint.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["ark_asr.training.supervised", "torch._dynamo"])
    port = free_port()
    started = [
        context.Process(target=_main, args=(recipe, rank, size, port, resume, die_at, die_saving))
        for rank in range(size)
    ]
    codes = []
    with ended(started):
        # Like torchrun: when one has died, the others are ended.
        for process in reversed(started) if not die_saving else started:
            process.join(PATIENCE if not any(codes) else 0.1)
            if process.exitcode is None:
                process.kill()
                process.join()
            codes.append(process.exitcode)
    return codes


@contextmanager
def ended(processes):
    """Start them, and leave none behind: Python would wait at its end for one that waits itself."""
    try:
        for process in processes:
            process.start()
        yield
    finally:
        for process in processes:
            if process.pid is not None:
                process.kill()
                process.join()


def _main(recipe, rank, size, port, resume, die_at, die_saving):
    sys.stdout = Path(f"{recipe}.{rank}.out").open("a")  # noqa: SIM115 - for the process's life
    os.environ.update(
        MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), RANK=str(rank), LOCAL_RANK=str(rank),
        WORLD_SIZE=str(size), GLOO_SOCKET_IFNAME="lo",
    )  # fmt: skip
    from ark_asr.training import supervised

    def die():
        os.kill(os.getpid(), signal.SIGKILL)

    update = supervised.update

    def watched(state, portion):
        if state.step == die_at:
            if not die_saving and rank == size - 1:
                die()
            if die_saving and rank == 0:
                state.model.save = lambda *_, **__: die()
        return update(state, portion)

    if die_at is not None:
        supervised.update = watched
    supervised.main(recipe, resume=resume)
