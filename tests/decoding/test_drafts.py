"""Drafts change the time that an answer takes, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ark_asr.decoding.drafts import Drafted
from ark_asr.decoding.rules import SuppressIds
from ark_asr.decoding.search import greedy
from ark_asr.engines.base import Verifies
from ark_asr.types import Prompt

WIDTH, STOP, SALT = 7, 6, 5  # of a seed with which the answer is neither short nor endless
IDS = np.arange(10, 10 + WIDTH)
PROMPT = Prompt([1, 2, 3], np.zeros((2, 4), np.float32))


class State:
    def __init__(self, fed):
        self.fed = list(fed)

    @property
    def positions(self):
        return np.array([len(self.fed)])

    @property
    def logits(self):
        """Those of everything that was fed, and of nothing else."""
        seed = [SALT, *self.fed]
        return np.random.default_rng(seed).normal(size=(1, WIDTH)).astype(np.float32)


class Remembering:
    """Its logits depend on all that it was fed, in order; counts what it is asked."""

    output_ids, max_positions = IDS, 40

    def __init__(self, most=99):
        self.steps, self.most, self.room = 0, most, None

    def embed_audio(self, mels):
        return [np.zeros((2, 4), np.float32) for _ in mels]

    def start(self, prompts, max_new_tokens):
        return State(prompts[0].token_ids)

    def step(self, state, token_ids):
        self.steps += 1
        return State([*state.fed, int(token_ids[0])])

    def verify(self, prompt, draft, max_new_tokens):
        assert len(draft) <= max_new_tokens
        read = [*draft[: self.most]]
        states = [State([*prompt.token_ids, *read[:n]]) for n in range(len(read) + 1)]
        return states[-1], np.concatenate([state.logits for state in states])

    def rewind(self, state, position):
        return State(state.fed[:position])

    def close(self):
        pass


def search(engine, **options):
    options = {"rules": [], "stop_ids": {IDS[STOP]}, "max_new_tokens": 12} | options
    return greedy(engine, [PROMPT], **options)


drafts = st.lists(st.sampled_from(IDS.tolist()), max_size=20)


@given(drafts, st.integers(0, 12), st.integers(0, 20))
def test_any_draft_gives_the_same_answer(draft, true, most):
    """One that is true for a while, and then is anything."""
    (plain,) = search(Remembering())
    draft = [*plain.token_ids[:true], *draft]
    assert search(Drafted(Remembering(most), draft)) == [plain]


def test_a_true_draft_is_never_stepped_through():
    (plain,) = search(slow := Remembering())
    assert slow.steps == len(plain.token_ids) > 3
    for count in range(len(plain.token_ids) + 1):
        engine = Remembering()
        assert search(Drafted(engine, plain.token_ids[:count])) == [plain]
        assert engine.steps == slow.steps - count


def test_rules_and_limits_hold_for_what_the_draft_says():
    (plain,) = search(Remembering())
    first = plain.token_ids[0]
    rules = [SuppressIds([first], IDS)]
    (ruled,) = search(Remembering(), rules=rules)
    assert first not in ruled.token_ids
    drafted = Drafted(Remembering(), list(plain.token_ids))
    assert search(drafted, rules=rules) == [ruled]
    drafted = Drafted(Remembering(), list(plain.token_ids))
    (short,) = search(drafted, max_new_tokens=2)
    assert (short.token_ids, short.stop) == (plain.token_ids[:2], "length")


def test_positions_are_those_of_what_was_chosen():
    (plain,) = search(Remembering())
    engine = Drafted(Remembering(), list(plain.token_ids))
    state = engine.start([PROMPT], 12)
    for count, token in enumerate(plain.token_ids, start=1):
        assert state.positions.tolist() == [2 + count]
        state = engine.step(state, np.array([token]))
    other = engine.step(state, np.array([IDS[0]]))
    assert other.positions.tolist() == [4 + len(plain.token_ids)]


def test_one_prompt_only():
    with pytest.raises(ValueError, match="unpack"):
        Drafted(Remembering(), []).start([PROMPT, PROMPT], 3)


def test_who_can_verify():
    assert isinstance(Remembering(), Verifies)
    assert not isinstance(Drafted(Remembering(), []), Verifies)
