"""What a decoder could do that was taken over, or that met a file it cannot stand."""

from __future__ import annotations

import itertools
import os
import time
from contextlib import closing
from pathlib import Path

from ark_asr.server import ear
from ark_asr.server.confined import Bounds, Confined

GIGABYTE = 1 << 30
MEGABYTE = 1 << 20


def devour(pipe, order):
    """Take memory until there is none; says how many MB that was."""
    pipe.recv_bytes()
    Bounds(GIGABYTE, 60).enter()
    taken = []
    try:
        while True:
            taken.append(bytearray(MEGABYTE))
    except MemoryError:
        count = len(taken)
        taken.clear()
        pipe.send_bytes(str(count).encode())
        pipe.send_bytes(ear.DONE)


def spin(pipe, order):
    """Compute for ever."""
    pipe.recv_bytes()
    Bounds(4 * GIGABYTE, 1).enter()
    while True:
        pass


def write(pipe, order):
    """Write what was uploaded into the file that is ordered; says what came of it."""
    upload = pipe.recv_bytes()
    Bounds(4 * GIGABYTE, 60).enter()
    try:
        order.write_bytes(upload)
    except OSError as error:
        pipe.send_bytes(type(error).__name__.encode())
    else:
        pipe.send_bytes(b"written")
    pipe.send_bytes(ear.DONE)


def ramble(pipe, order):
    """Say more at once than anybody would."""
    pipe.recv_bytes()
    pipe.send_bytes(bytes(4 * MEGABYTE))
    pipe.send_bytes(ear.DONE)


def babble(pipe, order):
    """Give pieces of sound for ever."""
    pipe.recv_bytes()
    for second in itertools.count():
        pipe.send_bytes(ear.PIECE + ear.SECOND.pack(second) + bytes(4 * 16_000))


def warn(pipe, order):
    """Warn of more than there can be, at length."""
    pipe.recv_bytes()
    for number in range(1000):
        pipe.send_bytes(ear.WARNING + bytes([number % 256]) + b"x" * 100_000)
    pipe.send_bytes(ear.DONE)


def murmur(pipe, order):
    """Say now and then that it goes on, for ever."""
    pipe.recv_bytes()
    while True:
        pipe.send_bytes(ear.HEARD + ear.SECOND.pack(0.0))
        time.sleep(0.05)


def hang(pipe, order):
    """Say the own number, and then nothing."""
    pipe.recv_bytes()
    pipe.send_bytes(str(os.getpid()).encode())
    time.sleep(3600)


def fail(pipe, order):
    """End with an error that nobody expects; its message is of the upload."""
    upload = pipe.recv_bytes()
    Bounds(4 * GIGABYTE, 60).enter()
    raise ValueError(upload.decode())


def tell_standing(pipe, order):
    """Say how soon the system would end this process where its memory is all used."""
    pipe.recv_bytes()
    Bounds(4 * GIGABYTE, 60).enter()
    pipe.send_bytes(Path("/proc/self/oom_score_adj").read_bytes().strip())
    pipe.send_bytes(ear.DONE)


def tell_files(pipe, order):
    """Say which files are open, besides the three that every process has, and wait."""
    pipe.recv_bytes()
    found = {int(entry.name): entry for entry in Path("/proc/self/fd").iterdir()}
    # The folder is among them; it was open while it was listed.
    others = [
        str(file.readlink()) for number, file in found.items() if number > 2 and file.exists()
    ]
    pipe.send_bytes(" ".join(others).encode())
    pipe.recv_bytes()


def said(target, order=None, upload=b"upload", **options):
    """All that a process says, as it says it, until it is done."""
    process = Confined(target, order, "a.wav", upload, options.pop("stall", 100.0), **options)
    with closing(process.messages(lambda: False)) as messages:
        for message in messages:
            if message == ear.DONE:
                break
            yield message


def main():
    """A server with two uploads in work, that of a decoder that hangs among them."""
    at_work = [said(hang), said(hang)]
    print(*(next(messages).decode() for messages in at_work), flush=True)
    input()
