"""The log-mel equals transformers' Whisper front end, which the checkpoints were trained with."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ark_asr.audio import LogMel, load_audio, mel_filters
from ark_asr.audio.mel import hz_to_mel, mel_to_hz
from ark_asr.models.config import FeatureConfig

transformers = pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def reference():
    """Transformers' numpy path for one clip that is not padded."""
    extractor = transformers.WhisperFeatureExtractor(feature_size=128)
    return lambda samples: extractor._np_extract_fbank_features(samples[None], "cpu")[0]


@pytest.mark.parametrize(
    ("bins", "n_fft", "rate"), [(128, 400, 16_000), (80, 400, 16_000), (40, 512, 8_000)]
)
def test_filters(bins, n_fft, rate):
    from transformers.audio_utils import mel_filter_bank

    theirs = mel_filter_bank(n_fft // 2 + 1, bins, 0.0, rate / 2, rate, "slaney", "slaney")
    np.testing.assert_allclose(mel_filters(bins, n_fft, rate), theirs.T, atol=1e-12)


@given(st.floats(0, 24_000))
def test_the_scale_has_an_inverse(hz):
    assert mel_to_hz(hz_to_mel(np.array(hz))) == pytest.approx(hz, abs=1e-6)


def test_real_speech(speech, reference):
    mel = LogMel(FeatureConfig())
    manifest = speech / "eval" / "manifest.jsonl"
    items = [json.loads(line) for line in manifest.read_text(encoding="utf-8").splitlines()]
    for item in items[::25]:
        samples = load_audio(speech / "eval" / item["audio"], end=30.0).samples
        for length in (len(samples), len(samples) // 3 + 7, 1000):
            ours = mel(samples[:length])
            theirs = reference(samples[:length])
            assert ours.dtype == np.float32
            assert ours.shape == theirs.shape == (128, length // 160)
            np.testing.assert_allclose(ours, theirs, atol=1e-4, err_msg=item["audio"])


def test_the_public_call_for_one_clip(reference):
    """What a user of transformers calls gives the same, whichever path it takes inside."""
    samples = np.random.default_rng(0).normal(0, 0.1, 50_000).astype(np.float32)
    extractor = transformers.WhisperFeatureExtractor(feature_size=128)
    theirs = extractor(samples, sampling_rate=16_000, padding="longest", return_tensors="np")
    ours = LogMel(FeatureConfig())(samples)
    np.testing.assert_allclose(ours, theirs.input_features[0], atol=1e-4)


@given(st.integers(201, 60_000), st.integers(0, 2**32 - 1), st.floats(1e-4, 1.0))
def test_noise_of_any_length_and_loudness(length, seed, gain):
    samples = (gain * np.random.default_rng(seed).standard_normal(length)).astype(np.float32)
    extractor = transformers.WhisperFeatureExtractor(feature_size=128)
    theirs = extractor._np_extract_fbank_features(samples[None], "cpu")[0]
    np.testing.assert_allclose(LogMel(FeatureConfig())(samples), theirs, atol=1e-4)


def test_digital_silence(reference):
    silence = np.zeros(16_000, np.float32)
    ours = LogMel(FeatureConfig())(silence)
    np.testing.assert_allclose(ours, reference(silence), atol=1e-6)
    np.testing.assert_allclose(ours, -1.5, atol=1e-6)


def test_very_short_clips_are_filled_with_zeros_to_what_can_be_reflected():
    mel = LogMel(FeatureConfig())
    samples = np.random.default_rng(1).normal(0, 0.1, 201).astype(np.float32)
    for length in range(201):
        filled = samples.copy()
        filled[length:] = 0
        np.testing.assert_array_equal(mel(samples[:length]), mel(filled)[:, : length // 160])


def test_other_settings(reference):
    small = LogMel(FeatureConfig(mel_bins=80))(np.ones(4800, np.float32))
    assert small.shape == (80, 30)
    extractor = transformers.WhisperFeatureExtractor(feature_size=80)
    theirs = extractor._np_extract_fbank_features(np.ones((1, 4800), np.float32), "cpu")[0]
    np.testing.assert_allclose(small, theirs, atol=1e-4)
