"""Uploads where processes are not forked (macOS, Windows): each is heard in one started anew."""

from __future__ import annotations

import os
import signal
import sys

import pytest

import hostile_decoders as hostile
from ark_asr.server import ear, forks
from ark_asr.server.confined import Confined
from serving import PATIENCE


@pytest.fixture(autouse=True)
def _not_forked(monkeypatch):
    class Nobody:
        def __getattr__(self, name):
            raise AssertionError("something was forked")

    monkeypatch.setattr(forks, "FORKS", False)
    monkeypatch.setattr(forks, "_forks", Nobody())


def test_an_upload_is_heard(hello):
    forks.warm_up()
    order = ear.Order("a.wav", 30.0, 3600.0, 2 << 30)
    process = Confined(ear.hear, order, "a.wav", hello.read_bytes(), PATIENCE, longest=1 << 24)
    kinds = []
    messages = process.messages(lambda: False)
    for message in messages:
        kinds.append(message[:1])
        if kinds[-1] == ear.DONE:
            messages.close()
    assert kinds.count(ear.PIECE) == 1
    assert kinds[-1] == ear.DONE


@pytest.mark.skipif(sys.platform == "win32", reason="there Ctrl-C goes to a whole console")
def test_ctrl_c_lets_a_running_request_finish():
    process = Confined(hostile.murmur, None, "a.wav", b"upload", PATIENCE)
    messages = process.messages(lambda: False)
    next(messages)
    os.kill(process.pid, signal.SIGINT)
    # Each comes a twentieth of a second after the one before: the first may have been under way.
    assert [next(messages)[:1] for _ in range(20)] == [ear.HEARD] * 20
    messages.close()
