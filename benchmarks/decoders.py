"""What an upload costs in processor time: the process that hears it, and starting and ending that.

    python benchmarks/decoders.py [FILE ...] [--uploads 30] [--rounds 6]

Four ways take turns, so that whatever else the machine does happens to all of them:

- script: a process of `multiprocessing` for each, forked from one that has imported everything, as
  the server had it first. Each imports the script again that the server was started by, and with
  `bin/ark-asr` the whole command line
- module: the same, started by `python -m ark_asr`, which is not imported again
- forked: that of the server, from a process that has also heard something (`ark_asr.server.stem`)
- kept: one process that hears all, one after the other. The server does not do that: it is here to
  show what a process for each costs

Counted are this process, which stands for the server, and all that it has started, those that have
ended included (Linux: reads /proc). Given are the least of all rounds and their median, because
other programs only ever add.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from multiprocessing.connection import Connection
from pathlib import Path

from ark_asr.audio import load_audio
from ark_asr.server import ear, forks
from ark_asr.server.confined import Confined
from served import HELLO, MINUTE, NUMBERS, conclude, introduce, started_by

HOUR = 3600.0
STALL = 60.0
PRELOADED = ["__main__", "ark_asr.server.ear", "onnxruntime", "av.subtitles.stream", "resource"]


def order(upload: bytes) -> ear.Order:
    return ear.Order("upload", 30.0, HOUR, (2 << 30) + len(upload))


def by_script(upload: bytes) -> int:
    """Bytes that came back."""
    return imported(upload, str(Path(sys.executable).parent / "ark-asr"))


def by_module(upload: bytes) -> int:
    return imported(upload, None)


def imported(upload: bytes, script: str | None) -> int:
    vars(sys.modules["__main__"])["__file__"] = script
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    ours, theirs = multiprocessing.Pipe()
    process = context.Process(target=ear.hear, args=(theirs, order(upload)), daemon=True)
    watchdog = threading.Timer(STALL, process.kill)
    process.start()
    theirs.close()
    watchdog.start()
    ours.send_bytes(upload)
    watchdog.cancel()
    size = taken(ours)
    ours.close()
    process.kill()
    process.join()
    process.close()
    return size


def forked(upload: bytes) -> int:
    size = 0
    hearing = Confined(ear.hear, order(upload), "upload", upload, STALL, longest=1 << 24)
    with closing(hearing.messages(lambda: False)) as messages:
        for message in messages:
            size += len(message)
            if message[:1] == ear.DONE:
                break
    return size


class Kept:
    """One process for all."""

    def __init__(self) -> None:
        self._pipe, theirs = multiprocessing.Pipe()
        context = multiprocessing.get_context("spawn")
        process = context.Process(target=hear_on, args=(theirs,), daemon=True)
        process.start()
        theirs.close()

    def __call__(self, upload: bytes) -> int:
        self._pipe.send(order(upload))
        self._pipe.send_bytes(upload)
        return taken(self._pipe)


def hear_on(pipe: Connection) -> None:
    with suppress(EOFError):  # nothing more to hear
        while True:
            ear.hear(pipe, pipe.recv())


def taken(pipe: Connection) -> int:
    size, message = 0, b""
    while message[:1] != ear.DONE:
        while not pipe.poll(0.2):
            pass
        message = pipe.recv_bytes()
        size += len(message)
    return size


def spent(way: Callable[[bytes], int], upload: bytes, uploads: int) -> float:
    """Milliseconds of processor time for each of so many uploads."""
    before = time.process_time() + started_by(os.getpid())
    for _ in range(uploads):
        way(upload)
    time.sleep(0.1)  # the last one's end is still to be noticed
    return 1000 * (time.process_time() + started_by(os.getpid()) - before) / uploads


def ratio(before: list[float], after: list[float]) -> float:
    """The median of what the rounds say."""
    return statistics.median(b / a for b, a in zip(before, after, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", type=Path, nargs="*", default=[HELLO, NUMBERS, MINUTE])
    parser.add_argument("--uploads", type=int, default=30, help="of each way in each round")
    parser.add_argument("--rounds", type=int, default=6)
    options = parser.parse_args()
    introduce(" ".join(["benchmarks/decoders.py", *sys.argv[1:]]))
    forks.warm_up()
    vars(sys.modules["__main__"])["__spec__"] = None
    ways = {"script": by_script, "module": by_module, "forked": forked, "kept": Kept()}
    print(f"milliseconds of processor time for an upload, least and median of {options.rounds} "
          f"rounds of {options.uploads}\n")  # fmt: skip
    print(f"{'recording':>14}{'seconds':>9}" + "".join(f"{way:>16}" for way in ways)
          + f"{'script, module / forked':>26}")  # fmt: skip
    for file in options.files:
        upload = file.read_bytes()
        sizes = {way(upload) for way in ways.values()}
        if len(sizes) > 1:
            raise SystemExit(f"{file}: the ways hear different things")
        found = {name: [] for name in ways}
        for _ in range(options.rounds):
            for name, way in ways.items():
                found[name].append(spent(way, upload, options.uploads))
        ratios = "".join(f"{ratio(found[before], found['forked']):>13.1f}"
                         for before in ("script", "module"))  # fmt: skip
        cells = "".join(f"{min(one):>8.1f}{statistics.median(one):>8.1f}" for one in found.values())
        print(f"{file.stem:>14}{load_audio(file).duration:>9.1f}{cells}{ratios}", flush=True)
    conclude()


if __name__ == "__main__":
    main()
