"""Log-mel spectrogram, exactly Whisper's, of a clip's true length.

Periodic Hann window, centred frames with reflected ends, power spectrum, triangular filters on the
Slaney scale with Slaney normalisation, log10 floored at 8 below the clip's maximum, (x + 4) / 4.
The last frame of the transform is dropped, so a clip of n samples has n // hop frames; nothing is
padded to 30 s.

Sources: Radford et al. 2022 (arXiv 2212.04356) for the settings; Slaney, Auditory Toolbox (1998)
for the filters.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ark_asr.models.config import FeatureConfig
from ark_asr.types import FloatArray

_LOWEST_POWER = 1e-10
_RANGE = 8.0  # powers of ten that are kept below the loudest value
# Slaney's scale: linear below 1 kHz (3 mel per 200 Hz), logarithmic above (27 mel per factor 6.4).
_MEL_PER_HZ = 3 / 200
_BREAK_HZ = 1000.0
_BREAK_MEL = _BREAK_HZ * _MEL_PER_HZ
_MEL_PER_LOG = 27 / np.log(6.4)
# Frames transformed at once: the working set stays in the processor's cache.
_FRAMES_AT_ONCE = 256


def hz_to_mel(hz: NDArray[np.float64]) -> NDArray[np.float64]:
    """Slaney's mel scale."""
    above = _BREAK_MEL + _MEL_PER_LOG * np.log(np.maximum(hz, _BREAK_HZ) / _BREAK_HZ)
    return np.where(hz < _BREAK_HZ, hz * _MEL_PER_HZ, above)


def mel_to_hz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    """Inverse of `hz_to_mel`."""
    above = _BREAK_HZ * np.exp((mel - _BREAK_MEL) / _MEL_PER_LOG)
    return np.where(mel < _BREAK_MEL, mel / _MEL_PER_HZ, above)


def mel_filters(bins: int, n_fft: int, sample_rate: int) -> NDArray[np.float64]:
    """Triangular filters ``[bins, n_fft // 2 + 1]`` of equal area from 0 Hz to half the rate."""
    top = hz_to_mel(np.array(sample_rate / 2))
    corners = mel_to_hz(np.linspace(0.0, top, bins + 2))
    lower, peak, upper = corners[:-2, None], corners[1:-1, None], corners[2:, None]
    hz = np.arange(n_fft // 2 + 1) * (sample_rate / n_fft)
    rising, falling = (hz - lower) / (peak - lower), (upper - hz) / (upper - peak)
    return np.maximum(np.minimum(rising, falling), 0.0) * (2.0 / (upper - lower))


class LogMel:
    """Turns samples into a log-mel spectrogram.

    Args:
        features: Rate, bins, window and hop of the model.
    """

    def __init__(self, features: FeatureConfig) -> None:
        self._n_fft = features.n_fft
        self._hop = features.hop_length
        phase = 2 * np.pi * np.arange(features.n_fft) / features.n_fft
        self._window = (0.5 - 0.5 * np.cos(phase)).astype(np.float32)
        filters = mel_filters(features.mel_bins, features.n_fft, features.sample_rate)
        self._filters = np.ascontiguousarray(filters.T.astype(np.float32))

    def __call__(self, samples: FloatArray) -> FloatArray:
        """Log-mel of one clip.

        Args:
            samples: float32 ``[n]`` within ±1. Clips of at most half a window are first filled with
                zeros to one more than that, the least that can be reflected at both ends.

        Returns:
            float32 ``[bins, n // hop]``.
        """
        frames = len(samples) // self._hop
        half = self._n_fft // 2
        if frames == 0:
            return np.empty((self._filters.shape[1], 0), np.float32)
        if len(samples) <= half:
            samples = np.pad(samples, (0, half + 1 - len(samples)))
        padded = np.pad(samples.astype(np.float32, copy=False), half, mode="reflect")
        framed = np.lib.stride_tricks.sliding_window_view(padded, self._n_fft)[:: self._hop]
        mel = np.empty((frames, self._filters.shape[1]), np.float32)
        for start in range(0, frames, _FRAMES_AT_ONCE):
            stop = min(start + _FRAMES_AT_ONCE, frames)
            spectrum = np.fft.rfft(framed[start:stop] * self._window)
            power = spectrum.real**2 + spectrum.imag**2
            # Before version 2, numpy's transform answers in float64.
            np.matmul(power.astype(np.float32, copy=False), self._filters, out=mel[start:stop])
        np.log10(np.maximum(mel, _LOWEST_POWER, out=mel), out=mel)
        np.maximum(mel, mel.max() - _RANGE, out=mel)
        return np.ascontiguousarray(((mel + 4.0) / 4.0).T)
