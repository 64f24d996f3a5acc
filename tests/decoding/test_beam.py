"""Beam search against all hypotheses there are; against transformers: `test_beam_parity`."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ark_asr.decoding.beam import beam
from ark_asr.decoding.guards import Loop
from ark_asr.decoding.rules import SuppressIds
from ark_asr.engines.base import Reorders
from ark_asr.errors import ModelError, OptionError
from ark_asr.types import Prompt

STOP = 9


@dataclass
class State:
    logits: np.ndarray
    histories: list[tuple[int, ...]]

    @property
    def positions(self):
        return np.array([1 + len(history) for history in self.histories])


class MarkovEngine:
    """Logits depend on the prompt and on all that was fed: ``seed`` gives each history its own."""

    def __init__(self, output_ids=(2, 4, STOP), seed=0, spread=2.0, max_positions=100):
        self.output_ids = np.array(output_ids, dtype=np.int64)
        self.max_positions = max_positions
        self.seed, self.spread = seed, spread
        self.steps = []
        self.logits_after = cache(self.logits_after)

    def embed_audio(self, mels):
        raise NotImplementedError

    def logits_after(self, history):
        rng = np.random.default_rng([self.seed, *history])
        return (rng.standard_normal(len(self.output_ids)) * self.spread).astype(np.float32)

    def start(self, prompts, max_new_tokens):
        return self._state([tuple(prompt.token_ids) for prompt in prompts])

    def step(self, state, token_ids):
        self.steps.append(len(token_ids))
        return self._state(
            [(*h, int(id_)) for h, id_ in zip(state.histories, token_ids, strict=True)]
        )

    def select(self, state, rows):
        return State(state.logits[rows], [state.histories[row] for row in rows])

    def close(self):
        pass

    def _state(self, histories):
        return State(np.stack([self.logits_after(history) for history in histories]), histories)


def prompts(*first_ids):
    return [Prompt([id_], np.zeros((3, 2), np.float32)) for id_ in first_ids]


def search(engine, asked, **options):
    chosen = {"rules": [], "stop_ids": {STOP}, "max_new_tokens": 4, "width": 4} | options
    return beam(engine, asked, **chosen)


def everything(engine, first, limit, penalty):
    """All hypotheses of up to ``limit`` tokens with their scores, best first."""
    ids = [int(id_) for id_ in engine.output_ids if id_ != STOP]
    found = []
    for length in range(limit + 1):
        for tokens in itertools.product(ids, repeat=length):
            path = tokens if length == limit else (*tokens, STOP)
            total = 0.0
            for n, id_ in enumerate(path):
                logits = engine.logits_after((first, *path[:n])).astype(np.float64)
                column = list(engine.output_ids).index(id_)
                total += logits[column] - np.logaddexp.reduce(logits)
            found.append((total / len(path) ** penalty, tokens))
    return sorted(found, reverse=True)


@settings(max_examples=60)
@given(st.integers(0, 10_000), st.integers(1, 4), st.sampled_from([0.0, 0.7, 1.0]))
def test_a_beam_wide_enough_finds_the_best_of_all_hypotheses(seed, limit, penalty):
    engine = MarkovEngine(seed=seed)
    expected = everything(engine, 1, limit, penalty)
    (found,) = search(
        engine, prompts(1), width=2**limit * 2, max_new_tokens=limit, length_penalty=penalty
    )
    ranked = [found.token_ids, *(other.token_ids for other in found.alternatives)]
    assert ranked == [tokens for _, tokens in expected[: len(ranked)]]
    assert len(ranked) == min(len(expected), 2**limit * 2)


@settings(max_examples=30)
@given(st.integers(0, 1000), st.integers(1, 4))
def test_clips_decoded_together_are_not_disturbed_by_each_other(seed, width):
    engine = MarkovEngine(seed=seed, output_ids=(2, 4, 6, STOP))
    limits = [3, 6, 1]
    together = search(engine, prompts(1, 2, 3), width=width, max_new_tokens=limits)
    for first, limit, found in zip((1, 2, 3), limits, together, strict=True):
        (alone,) = search(engine, prompts(first), width=width, max_new_tokens=limit)
        assert found == alone


@settings(max_examples=60)
@given(st.integers(0, 10_000), st.integers(2, 3000), st.integers(1, 12), st.booleans())
def test_the_best_of_a_large_vocabulary_are_followed_equal_ones_in_their_own_order(
    seed, columns, width, equal
):
    engine = MarkovEngine(range(columns), seed, spread=1.0)
    logits = engine.logits_after((1,))
    logits = np.round(logits) if equal else logits
    engine.logits_after = lambda _: logits
    stop = int(logits.argmin())
    (found,) = search(engine, prompts(1), width=width, max_new_tokens=1, stop_ids={stop})
    ranked = [*found.token_ids, *(id_ for other in found.alternatives for id_ in other.token_ids)]
    best = [id_ for id_ in np.argsort(-logits, kind="stable") if id_ != stop]
    assert ranked == best[: len(ranked)]
    assert len(ranked) >= min(width, columns) - 1  # the end may be one of them


def test_logprobs_and_stops_are_those_of_each_hypothesis():
    engine = MarkovEngine(seed=3)
    (found,) = search(engine, prompts(1), width=8, max_new_tokens=3)
    assert {h.stop for h in (found, *found.alternatives)} == {"end", "length"}
    for hypothesis in (found, *found.alternatives):
        assert len(hypothesis.token_ids) == len(hypothesis.logprobs)
        assert (hypothesis.stop == "length") == (len(hypothesis.token_ids) == 3)
        assert hypothesis is found or hypothesis.alternatives == ()
        for n, (id_, logprob) in enumerate(
            zip(hypothesis.token_ids, hypothesis.logprobs, strict=True)
        ):
            logits = engine.logits_after((1, *hypothesis.token_ids[:n]))
            column = list(engine.output_ids).index(id_)
            assert logprob == pytest.approx(logits[column] - np.logaddexp.reduce(logits), abs=1e-5)


def test_rules_forbid_in_every_hypothesis():
    engine = MarkovEngine(output_ids=(2, 4, 6, STOP))
    rule = SuppressIds([4], engine.output_ids)
    (found,) = search(engine, prompts(1), width=8, rules=[rule])
    said = {id_ for h in (found, *found.alternatives) for id_ in h.token_ids}
    assert said == {2, 6}


def test_ended_clips_leave_the_batch():
    engine = MarkovEngine(seed=1, output_ids=(2, 4, 6, 8, STOP))
    search(engine, prompts(1, 2), width=3, max_new_tokens=[2, 6])
    assert max(engine.steps) == 6  # two clips of three hypotheses each
    assert engine.steps[-1] <= 3


class Looping(MarkovEngine):
    """Likes to say 2 for ever; 4 and the end are possible."""

    def logits_after(self, history):
        return np.array([3.0, 0.0, -1.0], np.float32)


def test_a_hypothesis_stopped_by_a_guard_is_the_last_resort():
    guard = Loop(least_copies=3, least_tokens=3)
    options = {"guards": [guard], "max_new_tokens": 8}
    (found,) = search(Looping(), prompts(1), width=4, **options)
    assert found.stop != "guard"
    only = SuppressIds([4, STOP], Looping().output_ids)
    (stuck,) = search(Looping(), prompts(1), width=4, rules=[only], **options)
    assert (stuck.stop, stuck.trouble, stuck.token_ids) == ("guard", "loop", (2,))


def test_cancelling_keeps_what_is_there():
    asked = iter([False, False, True])
    (found,) = search(Looping(), prompts(1), cancelled=lambda: next(asked), max_new_tokens=50)
    assert (found.token_ids, found.stop) == ((2, 2), "cancelled")
    (nothing,) = search(Looping(), prompts(1), cancelled=lambda: True)
    assert (nothing.token_ids, nothing.stop) == ((), "cancelled")


def test_what_makes_no_sense():
    engine = MarkovEngine()
    assert search(engine, []) == []
    with pytest.raises(OptionError, match="width is 0"):
        search(engine, prompts(1), width=0)
    with pytest.raises(OptionError, match="at least 1"):
        search(engine, prompts(1), max_new_tokens=0)
    with pytest.raises(ModelError, match="stop id"):
        search(engine, prompts(1), stop_ids={77})
    engine.logits_after = lambda history: np.full(3, np.nan, np.float32)
    with pytest.raises(ModelError, match="not finite"):
        search(engine, prompts(1))


def test_logits_as_far_apart_as_numbers_can_be_are_no_warning():
    engine = MarkovEngine()
    far = np.full(len(engine.output_ids), -3e38, np.float32)
    far[list(engine.output_ids).index(STOP)] = 3e38
    engine.logits_after = lambda history: far
    assert [best.stop for best in search(engine, prompts(1))] == ["end"]


def test_the_engine_of_these_tests_has_the_seam():
    assert isinstance(MarkovEngine(), Reorders)


def test_a_cancelled_clip_leaves_the_batch_and_the_others_go_on():
    lone, shared = MarkovEngine(seed=3), MarkovEngine(seed=3)
    alone = search(lone, prompts(1), max_new_tokens=12)
    questions = [lambda: False, lambda: True]
    kept, left = search(shared, prompts(1, 2), max_new_tokens=12, cancelled=questions)
    assert kept == alone[0]
    assert (left.stop, left.token_ids) == ("cancelled", ())
    assert shared.steps == lone.steps
