"""Samples as a WAV file in memory, for those who take files only."""

from __future__ import annotations

import io
import wave

import numpy as np

from ark_asr.types import FloatArray


def wav_bytes(samples: FloatArray, rate: int) -> bytes:
    """A mono file of 16 bits.

    Args:
        samples: float32 ``[n]``; what is beyond -1 to 1 is clipped.
        rate: Samples per second.
    """
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.round(np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
    return buffer.getvalue()
