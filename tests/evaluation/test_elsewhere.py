"""Recordings that are elsewhere: whatever takes the manifest of a batch hears them too."""

from __future__ import annotations

import fsspec
import pytest

from ark_asr.audio import load_audio
from ark_asr.batch.records import Record
from ark_asr.errors import OptionError
from ark_asr.evaluation.calibrate import _usable
from ark_asr.evaluation.clips import data_uri
from ark_asr.evaluation.compare.run import check_recordings
from ark_asr.evaluation.compare.worker import clips_of
from ark_asr.evaluation.drift import _clips
from ark_asr.models.store import resolve
from ark_asr.models.tokenizer import Tokenizer


@pytest.fixture
def pair(root):
    """The same recording, here and elsewhere."""
    here = str(root / "samples" / "hello.flac")
    system = fsspec.filesystem("memory")
    system.pipe_file("/speech/hello.flac", (root / "samples" / "hello.flac").read_bytes())
    yield [Record(1, p, p, "hello", -1.0, -1.0) for p in (here, "memory://speech/hello.flac")]
    system.rm_file("/speech/hello.flac")


def test_a_player_in_the_page(pair):
    here, there = map(data_uri, pair)
    assert here == there


def test_systems_and_models_that_are_compared(pair):
    text = Tokenizer.load(resolve("ark-mini").path)
    whole = load_audio(pair[0].path).duration
    for record in pair:
        assert sum(map(len, clips_of(record, 30.0))) == round(whole * 16_000)
        assert sum(clip.duration for clip in _clips(record, text)) == pytest.approx(whole)


def test_calibrating(pair):
    skipped = []
    found = list(_usable(pair, Tokenizer.load(resolve("ark-mini").path), skipped))
    assert ([record for record, _ in found], skipped) == (pair, [])


def test_a_comparison_opens_no_connection_for_a_recording(pair):
    check_recordings(pair)
    away = Record(7, "s3://speech/a.wav", "s3://speech/a.wav", "hello", -1.0, -1.0)
    with pytest.raises(OptionError, match=r"line 7 .*s3://speech/a\.wav is elsewhere"):
        check_recordings([*pair, away])
