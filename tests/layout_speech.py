"""Real speech through two engines: what tests of published layouts compare."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ark_asr.audio import LogMel, cut, open_audio
from ark_asr.decoding.rules import SuppressIds
from ark_asr.decoding.search import greedy
from ark_asr.types import Prompt


def sample_mels(root: Path, features, *, multiple=1):
    """Log-mels of some of the samples' clips; frames that are no ``multiple`` are cut off."""
    log_mel = LogMel(features)
    mels = []
    for name in ("hello", "numbers", "minute"):
        with open_audio(root / "samples" / f"{name}.flac", sample_rate=16_000) as sound:
            clips = list(cut(sound, features.clip_seconds))
        mels += [log_mel(clip.samples) for clip in clips[:4]]
    assert len(mels) > 2
    return [mel[:, : mel.shape[1] // multiple * multiple] for mel in mels]


def answers(engine, tokenizer, mels):
    """What greedy search makes of each clip, four clips at a time."""
    found = []
    for first in range(0, len(mels), 4):
        audio = engine.embed_audio(mels[first : first + 4])
        found += greedy(
            engine,
            [Prompt(tokenizer.prompt(len(row)), row) for row in audio],
            rules=[SuppressIds(tokenizer.suppressed_ids, engine.output_ids)],
            stop_ids=tokenizer.stop_ids,
            max_new_tokens=[len(row) + 16 for row in audio],
        )
    return found


def assert_same_answers(found, expected):
    assert [one.token_ids for one in found] == [one.token_ids for one in expected]
    assert any(one.token_ids for one in found)
    for one, other in zip(found, expected, strict=True):
        assert one.stop == other.stop
        np.testing.assert_allclose(one.logprobs, other.logprobs, atol=2e-3)
