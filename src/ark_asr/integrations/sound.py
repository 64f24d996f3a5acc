"""Sound as other programs hand it over: 16-bit samples without a header."""

from __future__ import annotations

import numpy as np

from ark_asr.errors import AudioError
from ark_asr.types import FloatArray

RATE = 16_000
# The int16 that is full scale here is 32,768, so that every sample is within ±1.
_SCALE = np.float32(2**-15)


def as_bytes(data: bytes | bytearray | memoryview) -> bytes:
    """The same bytes.

    Raises:
        AudioError: They are none: the numbers of an array would be misread.
    """
    if not isinstance(data, bytes | bytearray | memoryview):
        raise AudioError(f"the audio must be bytes, not {type(data).__name__}")
    return bytes(data)


def from_pcm(data: bytes | bytearray | memoryview) -> FloatArray:
    """Signed 16-bit little-endian mono samples as float32 ``[n]`` within ±1.

    Raises:
        AudioError: They are no bytes, or not an even number of them.
    """
    data = as_bytes(data)
    if len(data) % 2:
        raise AudioError(f"{len(data)} bytes are no 16-bit samples; their number must be even")
    return np.frombuffer(data, "<i2").astype(np.float32) * _SCALE


def rms(samples: FloatArray) -> float:
    """Root mean square of float samples; 0 without any."""
    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float64)))) if len(samples) else 0.0
