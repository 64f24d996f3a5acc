"""Speech is found, and nothing depends on how the samples arrive."""

from __future__ import annotations

import hashlib
from importlib import resources

import numpy as np
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ark_asr.audio import WINDOW, CutOptions, SpeechDetector, find_speech, load_audio, open_audio
from ark_asr.errors import AudioError, OptionError
from ark_asr.types import Audio

MODEL = resources.files("ark_asr.audio").joinpath("silero_vad.onnx").read_bytes()
NOISE = np.random.default_rng(0).normal(0, 0.1, 16_000).astype(np.float32)


@pytest.fixture(scope="module")
def spoken(speech):
    """Ten seconds of real speech."""
    return load_audio(speech / "eval" / "audio" / "long" / "lj001_printing.mp3", end=10.0)


def test_the_bundled_model_is_the_published_file():
    assert hashlib.sha256(MODEL).hexdigest() == (
        "9ccdacc4719d8aa7e45a77536bfabec45a03ba1f2fad5e241ab4060b24238a85"
    )


def window_by_window(samples: np.ndarray) -> np.ndarray:
    """Silero's own procedure, one window and its 64 samples of context at a time."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(MODEL, options, providers=["CPUExecutionProvider"])
    hidden = cell = np.zeros((1, 1, 128), np.float32)
    padded, found = np.concatenate([np.zeros(64, np.float32), samples]), []
    for start in range(0, len(samples) - WINDOW + 1, WINDOW):
        window = padded[start : start + 64 + WINDOW][None]
        values, hidden, cell = session.run(None, {"input": window, "h": hidden, "c": cell})
        found.append(values[0])
    return np.array(found, np.float32)


def test_many_windows_at_once_are_the_same_as_one_by_one(spoken):
    probabilities = SpeechDetector().feed(spoken.samples)
    assert len(probabilities) == len(spoken.samples) // WINDOW
    np.testing.assert_allclose(probabilities, window_by_window(spoken.samples), atol=1e-6)
    assert probabilities.min() < 0.1 < 0.9 < probabilities.max()


@given(st.lists(st.integers(0, 5000), max_size=12))
@settings(max_examples=40)
def test_block_sizes_do_not_matter(sizes):
    samples = np.concatenate([NOISE, np.sin(np.arange(16_000) / 9).astype(np.float32)])
    expected = SpeechDetector().feed(samples)
    detector, found = SpeechDetector(), []
    for size in sizes:
        found.append(detector.feed(samples[:size]))
        samples = samples[size:]
    found.append(detector.feed(samples))
    np.testing.assert_array_equal(np.concatenate(found), expected)


def test_reset_forgets_everything(spoken):
    detector = SpeechDetector()
    expected = detector.feed(spoken.samples)
    detector.feed(NOISE[:1000])
    detector.reset()
    np.testing.assert_array_equal(detector.feed(spoken.samples), expected)


def test_speech_is_found_between_silences(spoken):
    quiet = np.zeros(48_000, np.float32)
    joined = Audio(np.concatenate([quiet, spoken.samples, quiet]), 16_000, start=100.0)
    regions = find_speech([joined])
    assert 103.0 <= regions[0].start < 103.6
    assert 112.0 < regions[-1].end <= 113.3
    assert 7.0 < sum(region.duration for region in regions) < 10.3
    with open_audio(joined) as blocks:
        assert find_speech(blocks) == regions


@pytest.mark.parametrize(
    "samples", [np.zeros(80_000), NOISE, 0.5 * np.sin(np.arange(80_000) / 5)], ids=str
)
def test_what_is_not_speech_is_not_found(samples):
    assert find_speech([Audio(samples.astype(np.float32), 16_000)]) == []


def test_blocks_must_be_at_16_khz_and_follow_each_other():
    with pytest.raises(AudioError, match="a block at 8000 Hz; expected 16000 Hz"):
        find_speech([Audio(NOISE, 8_000)])
    with pytest.raises(AudioError, match=r"a block starts at 2\.0000 s; it was due at 1\.0000 s"):
        find_speech([Audio(NOISE, 16_000), Audio(NOISE, 16_000, 2.0)])


class Said:
    """Gives the probabilities that it was told."""

    def __init__(self, probabilities):
        self.probabilities = list(probabilities)

    def reset(self):
        self.left = list(self.probabilities)

    def feed(self, samples):
        count = len(samples) // WINDOW
        found, self.left = self.left[:count], self.left[count:]
        return np.array(found, np.float32)


@pytest.mark.parametrize(
    ("probabilities", "expected"),
    [
        ([0.1] * 10, []),
        ([0.1] * 5 + [0.6] * 10 + [0.1] * 10, [(5, 15)]),
        ([0.6] * 10, [(0, 10)]),
        ([0.45] * 20, []),  # between the thresholds nothing begins
        ([0.6] + [0.45] * 10 + [0.1] * 9, [(0, 11)]),  # and nothing ends
        ([0.6] * 10 + [0.1] * 2 + [0.6] * 10, [(0, 22)]),  # a pause that is too short
        ([0.6] * 10 + [0.1] * 4 + [0.6] * 10, [(0, 10), (14, 24)]),
        ([0.6] * 5 + [0.1] * 20, []),  # speech that is too short
    ],
)
def test_thresholds(probabilities, expected):
    block = Audio(np.zeros(len(probabilities) * WINDOW, np.float32), 16_000)
    regions = find_speech([block], detector=Said(probabilities))
    assert [(r.start * 16_000 / 512, r.end * 16_000 / 512) for r in regions] == expected


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"on": 0.3}, "at most on"),
        ({"on": 1.5, "off": 0.1}, "at most 1"),
        ({"pad": -0.1}, "pad must not be negative"),
        ({"search": float("inf")}, "search must not be negative or infinite"),
        ({"join_pause": float("nan")}, "join_pause must not"),
        ({"join_pause": 0.1}, "at least twice pad"),
    ],
)
def test_options_that_make_no_sense(options, words):
    with pytest.raises(OptionError, match=words):
        CutOptions(**options)
