"""When each token of a text was spoken, from where the decoder looked while it wrote it.

The attention of a few decoder heads says for each token which part of the sound it was drawn from,
in steps of 80 ms. The likeliest monotone path through it, on a grid of 20 ms, gives every frame to
one token or to a pause before a word; pauses are where the sound is quiet. The path is the optimum
(Viterbi) of the sum of log-scores over all frames: dynamic time warping with pauses.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ark_asr.types import FloatArray, IntArray

FRAME_SECONDS = 0.02
# Tuned on synthetic speech and joined digits that no published figure is measured on.
_FLOOR = 0.03  # attention that counts as none
_PAUSE = 0.5  # score of a silent frame as a pause; attention of a token is usually below it
_NO_PAUSE = 1e-4
_QUIET_DB = 25.0  # below the loud parts: half way to a pause
_FADED_DB = 40.0  # below the loud parts: the last sound of a word has died away
_NOISE_DB = 6.0  # above the quietest frames: no longer noise
_STEEP_DB = 3.0
_TAIL_SECONDS = 0.16  # a fading word may reach so far into a pause


def frame_count(seconds: float, tokens: int) -> int:
    """Frames of the grid: 20 ms each, finer where there are more tokens than that."""
    return max(round(seconds / FRAME_SECONDS), tokens, 1)


def loudness(samples: FloatArray, frames: int) -> FloatArray:
    """Level of ``frames`` equal parts of a clip, in dB, float32 ``[frames]``."""
    edges = np.linspace(0, len(samples), frames + 1).astype(np.int64)
    energy = np.concatenate([[0.0], np.cumsum(samples.astype(np.float64) ** 2)])
    power = (energy[edges[1:]] - energy[edges[:-1]]) / np.maximum(np.diff(edges), 1)
    level: FloatArray = (10 * np.log10(power + 1e-10)).astype(np.float32)
    return level


def follows(attention: FloatArray) -> FloatArray:
    """How well heads follow the text through the sound.

    Drawn by their attention, how much more often the next token's place is later than its own
    token's than it is earlier: 1 for a head that steps through the sound, 0 for one that looks
    everywhere or always at the same place.

    Args:
        attention: ``[heads, tokens, slots]``, each row with the sum 1.

    Returns:
        float32 ``[heads]``; 0 for fewer than two tokens.
    """
    if attention.shape[1] < 2:
        return np.zeros(len(attention), np.float32)
    before, after = attention[:, :-1], attention[:, 1:]
    until = np.cumsum(after, axis=2)
    earlier = (before * (until - after)).sum(axis=2)
    later = (before * (1 - until)).sum(axis=2)
    score: FloatArray = (later - earlier).mean(axis=1)
    return score


def align(
    attention: FloatArray,
    level: FloatArray,
    slot_frames: float,
    starts: NDArray[np.bool_],
    *,
    before: float = 0.0,
) -> IntArray:
    """Frames of each token.

    Args:
        attention: ``[tokens, slots]``, each row with the sum 1.
        level: Loudness in dB, ``[frames]``, at least as many as tokens.
        slot_frames: Frames of one audio slot.
        starts: Whether a word begins with the token, so that a pause may stand before it.
        before: Frames of the first slots that came before ``level``.

    Returns:
        int64 ``[tokens, 2]``: first frame and the one after the last. Every token has at least one;
        none overlap.
    """
    tokens, frames = len(attention), len(level)
    if not tokens:
        return np.empty((0, 2), np.int64)
    # Even states are pauses, odd ones tokens: pause, token 0, pause, token 1, ..., pause.
    scores = np.full((frames, 2 * tokens + 1), -np.inf)
    scores[:, 1::2] = np.log(_between_slots(attention, frames, slot_frames, before) + _FLOOR).T
    quiet, faded = _thresholds(level)
    silent = 1 / (1 + np.exp(np.clip((level - quiet) / _STEEP_DB, -50, 50)))
    scores[:, np.append(2 * np.flatnonzero(starts), 2 * tokens)] = np.log(
        _PAUSE * silent + _NO_PAUSE
    )[:, None]
    path = _best_path(scores)
    spans = np.array(
        [np.searchsorted(path, [state, state + 1]) for state in range(1, 2 * tokens, 2)]
    )
    return _with_tails(spans, level > faded, round(_TAIL_SECONDS / FRAME_SECONDS))


def spread(lengths: Sequence[int], level: FloatArray) -> FloatArray:
    """Frames of words from their letters alone, between the first and the last loud frame.

    Args:
        lengths: Letters of each word; each has a space behind it.
        level: Loudness in dB, ``[frames]``.

    Returns:
        float ``[words, 2]``: first frame and the one after the last, not whole numbers.
    """
    sounding = np.flatnonzero(level > _thresholds(level)[0])
    ends = np.cumsum(np.array([0, *lengths]) + 1)
    edges = sounding[0] + (ends - 1) / (ends[-1] - 1) * (sounding[-1] + 1 - sounding[0])
    frames: FloatArray = np.stack([edges[:-1], edges[1:]], axis=1)
    return frames


def _between_slots(
    attention: FloatArray, frames: int, slot_frames: float, before: float
) -> FloatArray:
    """Attention at the middle of each frame, ``[tokens, frames]``, straight from slot to slot."""
    middles = before + np.arange(frames) + 0.5
    place = np.clip(middles / slot_frames - 0.5, 0, attention.shape[1] - 1)
    left = np.floor(place).astype(np.int64)
    right = np.minimum(left + 1, attention.shape[1] - 1)
    part = (place - left).astype(np.float32)
    between: FloatArray = attention[:, left] * (1 - part) + attention[:, right] * part
    return between


def _thresholds(level: FloatArray) -> tuple[float, float]:
    """Levels below which a frame is likely a pause, and surely no word, in dB."""
    noise, loud = np.percentile(level, [5, 95])
    above_noise = min(noise + _NOISE_DB, loud - _NOISE_DB)
    return max(loud - _QUIET_DB, above_noise), max(loud - _FADED_DB, above_noise)


def _best_path(scores: NDArray[np.float64]) -> IntArray:
    """State of each frame, ``[frames]``: stay, go to the next, or skip a pause; all tokens once."""
    frames, states = scores.shape
    steps = np.zeros((frames, states), np.int8)
    best = np.full(states, -np.inf)
    best[:2] = scores[0, :2]
    for frame in range(1, frames):
        came = np.full((3, states), -np.inf)
        came[0] = best
        came[1, 1:] = best[:-1]
        came[2, 3::2] = best[1:-2:2]
        steps[frame] = came.argmax(axis=0)
        best = came.max(axis=0) + scores[frame]
    path = np.empty(frames, np.int64)
    state = states - 1 if best[-1] > best[-2] else states - 2
    for frame in range(frames - 1, -1, -1):
        path[frame] = state
        state -= int(steps[frame, state])
    return path


def _with_tails(spans: IntArray, sounding: NDArray[np.bool_], longest: int) -> IntArray:
    """Let a token reach into the pause behind it for as long as it still sounds."""
    limits = np.append(spans[1:, 0], len(sounding))
    for span, limit in zip(spans, limits, strict=True):
        end = min(limit, span[1] + longest)
        faded = np.flatnonzero(~sounding[span[1] : end])
        span[1] = span[1] + faded[0] if len(faded) else end
    return spans
