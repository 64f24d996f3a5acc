"""Whisper on CTranslate2, by faster-whisper."""

from __future__ import annotations

from typing import Any

from ark_asr.types import FloatArray


class FasterWhisper:
    """Greedy, one window, no times and no voice activity, as Whisper is run beside it."""

    def __init__(self, place: str, threads: int, precision: str) -> None:
        from faster_whisper import WhisperModel

        self._model: Any = WhisperModel(
            place, device="cpu", compute_type=precision, cpu_threads=threads, local_files_only=True
        )
        self.precision: str = self._model.model.compute_type

    def hear(self, clip: FloatArray, language: str) -> str:
        """See ``Backend``."""
        segments, _ = self._model.transcribe(
            clip, language=language or None, beam_size=1, temperature=0.0, vad_filter=False,
            condition_on_previous_text=False, without_timestamps=True,
        )  # fmt: skip
        return " ".join(segment.text.strip() for segment in segments)


def load(place: str, threads: int, precision: str) -> FasterWhisper:
    """See ``Family``."""
    return FasterWhisper(place, threads, precision)
