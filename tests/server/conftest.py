"""One server that most tests share, and what is said to it."""

from __future__ import annotations

import pytest

from ark_asr.audio import load_audio
from serving import serving, write_wav


@pytest.fixture(scope="session")
def served():
    with serving(aliases=("whisper-1",)) as served:
        yield served


@pytest.fixture(scope="session")
def hello(root):
    return root / "samples" / "hello.flac"


@pytest.fixture(scope="session")
def talk(root, tmp_path_factory):
    """A recording of several clips."""
    sound = load_audio(root / "samples" / "minute.flac", end=15.0)
    return write_wav(tmp_path_factory.mktemp("talk") / "talk.wav", sound.samples)


@pytest.fixture(scope="session")
def recognizer():
    import ark_asr

    with ark_asr.load(threads=1) as recognizer:
        yield recognizer
