"""What happens to a clean synthetic voice before a microphone hears it: rooms, noise, levels.

All functions take and return float32 mono at `RATE`; everything random comes from the generator
passed in.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import soxr
from numpy.typing import NDArray

Samples = NDArray[np.float32]
RATE = 16_000


def to_rate(samples: Samples, rate: int, shift: float = 1.0) -> Samples:
    """Resample to 16 kHz; `shift` above 1 plays faster and higher."""
    return np.asarray(soxr.resample(samples, rate * shift, RATE), np.float32)


def trimmed(samples: Samples, threshold: float = 0.01) -> Samples:
    """Cut the silence at both ends, keeping 20 ms."""
    loud = np.flatnonzero(np.abs(samples) > threshold * max(float(np.abs(samples).max()), 1e-9))
    margin = RATE // 50
    return samples[max(int(loud[0]) - margin, 0) : int(loud[-1]) + margin]


def _rms(samples: Samples) -> float:
    return float(np.sqrt(np.mean(np.square(samples)) + 1e-12))


def coloured_noise(rng: np.random.Generator, count: int, slope: float) -> Samples:
    """Noise with an amplitude of frequency ** -slope: 0 white, 0.5 pink, 1 brown."""
    spectrum = np.fft.rfft(rng.standard_normal(count))
    frequency = np.fft.rfftfreq(count, 1 / RATE)
    spectrum /= np.maximum(frequency, 30.0) ** slope
    noise = np.fft.irfft(spectrum, count).astype(np.float32)
    return np.asarray(noise / _rms(noise), np.float32)


def hum(rng: np.random.Generator, count: int) -> Samples:
    """Mains hum of 50 or 60 Hz with its harmonics."""
    base = 50.0 if rng.random() < 0.5 else 60.0
    time = np.arange(count, dtype=np.float32) / RATE
    tones = [
        rng.random() / order * np.sin(2 * np.pi * base * order * time + rng.uniform(0, 6.28))
        for order in range(1, 9)
    ]
    noise = np.sum(tones, axis=0).astype(np.float32)
    return np.asarray(noise / _rms(noise), np.float32)


def babble(rng: np.random.Generator, count: int, others: Sequence[Samples]) -> Samples:
    """Two to five other utterances at once, repeated to the length."""
    total = np.zeros(count, np.float32)
    for _ in range(int(rng.integers(2, 6))):
        other = others[int(rng.integers(len(others)))]
        total += np.resize(np.roll(other, int(rng.integers(len(other)))), count) / _rms(other)
    return np.asarray(total / _rms(total), np.float32)


def noisy(rng: np.random.Generator, samples: Samples, others: Sequence[Samples]) -> Samples:
    """Add one kind of noise at 5 to 40 dB below the speech."""
    count, kind = len(samples), rng.random()
    if kind < 0.25 and len(others) >= 5:
        noise = babble(rng, count, others)
        lowest = 8.0  # below that, the words of the others are as good an answer
    elif kind < 0.35:
        noise, lowest = hum(rng, count), 5.0
    else:
        noise, lowest = coloured_noise(rng, count, float(rng.choice([0.0, 0.5, 0.5, 1.0]))), 5.0
    level = _rms(samples) * 10 ** (-rng.uniform(lowest, 40) / 20)
    return samples + level * noise


def _convolved(samples: Samples, response: Samples) -> Samples:
    """Linear convolution through the FFT, cut to the length of `samples`."""
    size = 1 << (len(samples) + len(response) - 2).bit_length()
    spectrum = np.fft.rfft(samples, size) * np.fft.rfft(response, size)
    return np.fft.irfft(spectrum, size)[: len(samples)].astype(np.float32)


def reverberant(rng: np.random.Generator, samples: Samples) -> Samples:
    """A simple room: an exponentially decaying noise tail, RT60 of 0.1 to 0.5 s."""
    rt60 = rng.uniform(0.1, 0.5)
    count = int(rt60 * RATE)
    decay = np.exp(-6.9 * np.arange(count) / count)
    tail = (rng.standard_normal(count) * decay).astype(np.float32)
    tail[: int(rng.uniform(0.001, 0.006) * RATE)] = 0  # the first reflection comes later
    wet = _convolved(samples, tail)
    return samples + wet * (_rms(samples) / _rms(wet) * rng.uniform(0.1, 0.8))


def band_limited(rng: np.random.Generator, samples: Samples) -> Samples:
    """A telephone line (300 to 3,400 Hz) or a narrow recording (resampled down and up)."""
    if rng.random() < 0.5:
        spectrum = np.fft.rfft(samples)
        frequency = np.fft.rfftfreq(len(samples), 1 / RATE)
        gain = 1 / (1 + (300 / np.maximum(frequency, 1)) ** 8) / (1 + (frequency / 3400) ** 16)
        return np.fft.irfft(spectrum * gain, len(samples)).astype(np.float32)
    low = int(rng.integers(7000, 12000))
    narrow = soxr.resample(soxr.resample(samples, RATE, low), low, RATE)
    return np.asarray(np.resize(narrow, len(samples)), np.float32)


def coarse(rng: np.random.Generator, samples: Samples) -> Samples:
    """Mu-law of 8 bits, or 7 to 10 linear bits."""
    peak = float(np.abs(samples).max()) + 1e-9
    scaled = samples / peak
    if rng.random() < 0.5:
        folded = np.sign(scaled) * np.log1p(255 * np.abs(scaled)) / np.log(256)
        folded = np.round(folded * 127) / 127
        scaled = np.sign(folded) * np.expm1(np.abs(folded) * np.log(256)) / 255
    else:
        steps = 2 ** int(rng.integers(6, 10))
        scaled = np.round(scaled * steps) / steps
    return np.asarray(scaled * peak, np.float32)


def gaps(rng: np.random.Generator, samples: Samples) -> Samples:
    """Put 0.05 to 0.6 s of silence on both sides."""
    before, after = (rng.uniform(0.05, 0.6, 2) * RATE).astype(int)
    return np.concatenate([np.zeros(before, np.float32), samples, np.zeros(after, np.float32)])


def level(rng: np.random.Generator, samples: Samples) -> Samples:
    """Bring the peak to -26 to -1 dB, mostly to the louder half."""
    peak_db = max(rng.uniform(-26, -1), rng.uniform(-26, -1))
    return samples * np.float32(10 ** (peak_db / 20) / (np.abs(samples).max() + 1e-9))


def augment(
    rng: np.random.Generator, speech: Samples, others: Sequence[Samples], *, clean: bool,
    narrow: float = 0.15,
) -> Samples:  # fmt: skip
    """Turn trimmed clean speech into what a microphone might hear.

    `others` are earlier clean utterances for babble. `clean` keeps only gaps, a faint noise floor
    and the level; of all others the share `narrow` goes through a telephone or a narrow recording.
    """
    samples = gaps(rng, speech)
    if not clean:
        if rng.random() < 0.35:
            samples = reverberant(rng, samples)
        if rng.random() < 0.5:
            samples = noisy(rng, samples, others)
        if rng.random() < narrow:
            samples = band_limited(rng, samples)
        if rng.random() < 0.05:
            samples = coarse(rng, samples)
    samples = level(rng, samples)
    if rng.random() < 0.8:  # most recordings have a floor, some are digitally silent
        floor = 10 ** (rng.uniform(-85, -60) / 20)
        samples = samples + floor * rng.standard_normal(len(samples)).astype(np.float32)
    return np.asarray(samples, np.float32)
