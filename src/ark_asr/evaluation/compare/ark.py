"""This program's own models, on whichever engine runs their folder."""

from __future__ import annotations

from ark_asr.evaluation.compare.base import RATE
from ark_asr.models.store import ModelFolder, resolve
from ark_asr.pipeline import Recognizer
from ark_asr.types import Audio, FloatArray, TranscribeOptions

# The clips are cut already, and all of what is in them is to be heard.
_OPTIONS = TranscribeOptions(batch_size=1, vad=False)


class Ark:
    """Guards are on, as they are for any user; a clip that loops is tried again."""

    def __init__(self, folder: ModelFolder, threads: int) -> None:
        self.precision = folder.precision or "fp32"
        self._recognizer = Recognizer.load(folder.path, threads=threads)

    def hear(self, clip: FloatArray, language: str) -> str:  # noqa: ARG002 - it finds out
        """See ``Backend``."""
        return self._recognizer.transcribe(Audio(clip, RATE), _OPTIONS).text


def load(place: str, threads: int, precision: str) -> Ark:  # noqa: ARG001 - that of the folder
    """See ``Family``."""
    return Ark(resolve(place), threads)
