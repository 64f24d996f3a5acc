"""The process that hears an upload: what it says, and that its end is not the server's."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from types import SimpleNamespace

import numpy as np
import pytest

import hostile_decoders
from ark_asr.audio import cut, open_audio
from ark_asr.errors import AudioError
from ark_asr.server import ear
from ark_asr.server.ear import Order
from ark_asr.server.intake import Hearing
from ark_asr.server.problems import Problem
from ark_asr.server.scheduler import Scheduler
from ark_asr.types import Audio
from serving import PATIENCE, eventually

GIGABYTE = 1 << 30


def order(**changes):
    usual = {"name": "a.wav", "clip_seconds": 30.0, "max_duration": 3600.0, "memory": 2 * GIGABYTE}
    return Order(**usual | changes)


def hear(data, stall=PATIENCE, meanwhile=lambda hearing: None, **changes):
    """The pieces of an upload, and who heard it."""

    async def scenario():
        with Scheduler(100, 4, 4).admit("ann") as ticket:
            hearing = Hearing(data, order(**changes), ticket, stall)
            thread = threading.Thread(target=hearing.run)
            thread.start()
            await asyncio.to_thread(meanwhile, hearing)
            await asyncio.to_thread(thread.join)
            pieces = list(ticket.pieces)
            if not pieces or ticket.pending == len(pieces):
                answer = ticket._answers.get_nowait() if not ticket._answers.empty() else None
                if isinstance(answer, Exception):
                    raise answer
            return pieces, hearing

    return asyncio.run(scenario())


def test_pieces_are_those_of_the_library_to_the_last_sample(talk):
    pieces, hearing = hear(talk.read_bytes())
    with open_audio(talk) as sound:
        ours = list(cut(sound, 30.0))
    assert [piece.start for piece in pieces] == [piece.start for piece in ours]
    for piece, expected in zip(pieces, ours, strict=True):
        assert (piece.samples == expected.samples).all()
    assert hearing.heard == pytest.approx(15.0)


def wait_for_pid(hearing):
    assert eventually(lambda: hearing.pid is not None)
    return hearing.pid


@pytest.fixture
def endless(monkeypatch):
    """Decoders are at it until they are ended; a real one may be done before a signal comes."""
    monkeypatch.setattr("ark_asr.server.ear.hear", hostile_decoders.murmur)


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize("end", ["SIGSEGV", "SIGKILL"])
def test_a_crash_is_an_error_of_the_file(endless, end):
    def crash(hearing):
        os.kill(wait_for_pid(hearing), getattr(signal, end))

    with pytest.raises(AudioError, match="crashed on it"):
        hear(b"upload", meanwhile=crash)


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_a_decoder_that_hangs_is_given_up(endless):
    def hang(hearing):
        pid = wait_for_pid(hearing)
        hearing._process._stall = 0.5  # from here on: it may take longer to come to life
        time.sleep(0.5)
        with suppress(ProcessLookupError):  # a machine that stood still itself looks the same
            os.kill(pid, signal.SIGSTOP)

    with pytest.raises(AudioError, match=r"no sound came out of it|crashed on it"):
        hear(b"upload", meanwhile=hang)


@pytest.mark.skipif(sys.platform != "linux", reason="limits of Linux")
def test_memory_is_bounded(talk):
    with pytest.raises(AudioError, match=r"a\.wav"):
        hear(talk.read_bytes(), memory=64 << 20)


@pytest.mark.skipif(sys.platform == "win32", reason="processes are forked on POSIX")
def test_more_sound_than_is_allowed_is_not_taken(monkeypatch, talk):
    monkeypatch.setattr("ark_asr.server.ear.hear", hostile_decoders.babble)
    with pytest.raises(Problem, match=r"more than 3 s of sound") as refused:
        hear(talk.read_bytes(), max_duration=3.0)
    assert refused.value.status == 413


@pytest.mark.skipif(sys.platform == "win32", reason="processes are forked on POSIX")
def test_warnings_do_not_take_the_servers_memory(monkeypatch):
    monkeypatch.setattr("ark_asr.server.ear.hear", hostile_decoders.warn)
    _, hearing = hear(b"upload")
    assert len(hearing.warnings) == 32
    assert max(map(len, hearing.warnings)) < 1 << 14


class Damaged:
    """A recording whose damage goes on; the last line counts it."""

    def __init__(self):
        self.warnings = ["damaged at second 1.0", "damaged in 1 more place"]
        self.notes = ("2 audio tracks",)
        self.warnings.insert(0, *self.notes)
        self.duration = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def __iter__(self):
        for more in (2, 3):
            yield Audio(np.zeros(64_000, np.float32), 16_000, 4.0 * more - 8)
            self.warnings[-1] = f"damaged in {more} more places"


def test_of_many_damaged_places_the_last_line_counts_all(monkeypatch):
    monkeypatch.setattr(ear, "open_audio", lambda *_, **__: Damaged())
    said = []
    ear._hear(SimpleNamespace(send_bytes=said.append), ear.NamedBytes("a.wav", b""), order())

    async def scenario():
        with Scheduler(100, 4, 4).admit("ann") as ticket:
            hearing = Hearing(b"", order(), ticket, 1.0)
            for message in said[:-1]:
                hearing._take(message)
            assert hearing.warnings == ["2 audio tracks", *hearing.damage]
            return hearing.damage

    assert asyncio.run(scenario()) == ["damaged at second 1.0", "damaged in 3 more places"]
