"""Changing sound so that a model hears more than was recorded; all chance comes from ``rng``."""

from __future__ import annotations

import numpy as np
import soxr

from ark_asr.training.config import AugmentConfig
from ark_asr.types import FloatArray


def change_sound(
    samples: FloatArray, rate: int, config: AugmentConfig, rng: np.random.Generator, *,
    longest: int | None = None,
) -> FloatArray:  # fmt: skip
    """Speed (with pitch), level and noise, float32 ``[n]`` to ``[m]``.

    Args:
        samples: What was recorded.
        rate: Hz.
        config: How much of each.
        rng: Where chance comes from.
        longest: Samples that a model hears: a clip is not slowed down until its last words are
            beyond them.
    """
    factor = rng.uniform(1 - config.speed, 1 + config.speed)
    if longest:
        factor = max(factor, min(len(samples) / longest, 1.0))
    if abs(factor - 1) > 0.01:
        samples = soxr.resample(samples, rate * factor, rate, quality="MQ")
    samples = samples * np.float32(10 ** (rng.uniform(-config.gain_db, config.gain_db) / 20))
    if rng.random() < config.noise:
        samples = _with_noise(samples, rng.uniform(*config.noise_snr_db), rng)
    return samples.astype(np.float32, copy=False)


def _with_noise(samples: FloatArray, snr_db: float, rng: np.random.Generator) -> FloatArray:
    """Noise whose spectrum falls by a random slope, from white to brown."""
    size = (
        -(-len(samples) // 4096) * 4096
    )  # a length with large prime factors takes ten times as long
    spectrum = np.fft.rfft(rng.standard_normal(size).astype(np.float32))
    spectrum[1:] /= np.arange(1, len(spectrum)) ** rng.uniform(0.0, 1.0)
    noise = np.fft.irfft(spectrum, size)[: len(samples)]
    speech_power = float(np.mean(np.square(samples))) + 1e-12
    noise_power = float(np.mean(np.square(noise))) + 1e-12
    scale = np.sqrt(speech_power / noise_power / 10 ** (snr_db / 10))
    return np.asarray(samples + scale * noise, dtype=np.float32)


def mask_mel(mel: FloatArray, config: AugmentConfig, rng: np.random.Generator) -> FloatArray:
    """SpecAugment (arXiv 1904.08779): bands and stretches of ``[bins, frames]`` become its mean."""
    bins, frames = mel.shape
    mel = mel.copy()
    fill = mel.mean()
    for _ in range(config.freq_masks):
        width = int(rng.integers(0, config.freq_width + 1))
        first = int(rng.integers(0, max(bins - width, 1)))
        mel[first : first + width] = fill
    for _ in range(round(config.time_masks * frames / 1000 + rng.random() - 0.5)):
        width = min(int(rng.integers(0, config.time_width + 1)), frames // 5)
        first = int(rng.integers(0, max(frames - width, 1)))
        mel[:, first : first + width] = fill
    return mel
