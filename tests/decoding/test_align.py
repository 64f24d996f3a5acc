"""Times from attention: the best path against trying all, and what must always hold."""

from __future__ import annotations

from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from ark_asr.decoding import align as module
from ark_asr.decoding.align import align, follows, frame_count, loudness


def rows(values):
    return values / values.sum(axis=-1, keepdims=True)


@st.composite
def problems(draw, most=40):
    tokens = draw(st.integers(1, 12))
    slots = draw(st.integers(1, 10))
    frames = draw(st.integers(tokens, most))
    unit = st.floats(0, 1, width=32)
    attention = rows(draw(arrays.arrays(np.float32, (tokens, slots), elements=unit)) + 1e-3)
    level = draw(arrays.arrays(np.float32, frames, elements=st.floats(-100, 0, width=32)))
    starts = draw(arrays.arrays(bool, tokens))
    return attention, level, draw(st.floats(0.5, 8)), starts


@given(problems())
def test_every_token_has_its_own_frames_in_order(problem):
    attention, level, _, starts = problem
    spans = align(*problem)
    assert spans.shape == (len(attention), 2)
    assert (spans[:, 0] < spans[:, 1]).all()
    assert (spans[1:, 0] >= spans[:-1, 1]).all()
    assert spans[0, 0] >= 0
    assert spans[-1, 1] <= len(level)
    gaps = spans[1:, 0] > spans[:-1, 1]
    assert not (gaps & ~starts[1:]).any(), "a pause inside a word"


@given(st.integers(1, 3), st.integers(3, 7), st.integers(0, 2**32 - 1))
def test_the_path_is_the_best_of_all(tokens, frames, seed):
    scores = np.random.default_rng(seed).normal(size=(frames, 2 * tokens + 1))
    scores[:, 0::2][:, np.random.default_rng(seed + 1).random(tokens + 1) < 0.3] = -np.inf
    found = module._best_path(scores)
    best = -np.inf
    edges = range(frames + 1)
    for cut in combinations(edges, tokens):  # first frames of the tokens
        for end in product(edges, repeat=tokens):
            bounds = [*cut[1:], frames]
            if any(not a < b <= c for a, b, c in zip(cut, end, bounds, strict=True)):
                continue
            states, at = [], 0
            for index, (a, b) in enumerate(zip(cut, end, strict=True)):
                states += [2 * index] * (a - at) + [2 * index + 1] * (b - a)
                at = b
            states += [2 * tokens] * (frames - at)
            best = max(best, scores[np.arange(frames), states].sum())
    assert scores[np.arange(frames), found].sum() == pytest.approx(best)


def test_a_pause_is_left_out_and_a_fading_word_is_not():
    """Two tokens over 1.2 s with silence in the middle, the first one fading for 60 ms."""
    attention = rows(np.repeat(np.eye(2), [6, 9], axis=1) + 0.01).astype(np.float32)
    level = np.full(60, -20.0, np.float32)
    level[20:40] = -80
    level[20:23] = -50
    spans = align(attention, level, 4, np.array([True, True]))
    assert spans.tolist() == [[0, 23], [40, 60]]
    inside = align(attention, level, 4, np.array([True, False]))
    assert inside[0, 1] == inside[1, 0], "no pause inside a word"


def test_hundreds_of_tokens():
    spans = align(rows(np.eye(300)), np.full(310, -20.0), 1, np.ones(300, bool))
    assert (spans[:, 0] < spans[:, 1]).all()
    np.testing.assert_allclose(spans[:, 0], np.arange(300), atol=11)


def test_nothing_said():
    assert align(
        np.empty((0, 5), np.float32), np.zeros(20, np.float32), 4, np.empty(0, bool)
    ).shape == (0, 2)


@given(st.floats(0.01, 60), st.integers(0, 500))
def test_there_is_a_frame_for_every_token(seconds, tokens):
    count = frame_count(seconds, tokens)
    assert count >= max(tokens, 1)
    assert tokens > count - 1 or seconds / count == pytest.approx(0.02, rel=0.5, abs=0.01)


def test_loudness_is_that_of_each_part():
    samples = np.repeat([0.1, 0.0, 1.0], [100, 100, 100]).astype(np.float32)
    np.testing.assert_allclose(loudness(samples, 3), [-20, -100, 0], atol=1e-3)
    assert np.isfinite(loudness(samples[:2], 7)).all()


def test_which_heads_follow():
    steps = rows(np.eye(6) + 1e-3)
    alone = np.zeros((6, 6)) + 1e-6
    alone[:, 2] = 1
    heads = np.stack([steps, rows(np.ones((6, 6))), rows(alone), steps[::-1]])
    score = follows(heads.astype(np.float32))
    assert score[0] > 0.95
    np.testing.assert_allclose(score[1:3], 0, atol=1e-4)
    assert score[3] < -0.95
    assert follows(heads[:, :1].astype(np.float32)).tolist() == [0, 0, 0, 0]
