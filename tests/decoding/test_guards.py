"""Guards: each speaks of its own trouble, as soon as it can be known, and of no other."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ark_asr.decoding.guards import Loop, NoWords, TooManyTokens, Unsure
from ark_asr.decoding.rules import NoRepeats, SearchState, is_periodic
from ark_asr.decoding.search import greedy
from ark_asr.types import Prompt
from decoding.test_search import STOP, TableEngine, one_hot, prompts, search


@dataclass
class Row:
    tokens: list[int]
    logprobs: list[float] = field(default_factory=list)
    slots: int = 10
    stop: str | None = None


def first_trip(guard, tokens):
    """Number of tokens after which the guard speaks, and what it keeps."""
    for count in range(len(tokens) + 1):
        kept = guard.check(Row(tokens[:count]))
        if kept is not None:
            return count, tokens[:kept]
    return None


WORDS = [11, 12, 13, 14, 15]


@pytest.mark.parametrize("length", [1, 2, 3, 5, 8, 13, 40, 100])
def test_a_loop_of_any_length_is_found_and_one_copy_is_kept(length):
    cycle = list(range(100, 100 + length))
    count, kept = first_trip(Loop(), WORDS + cycle * 40)
    assert kept == WORDS + cycle
    assert count - len(WORDS) <= max(3 * length, 16 + length)


@pytest.mark.parametrize(
    "said",
    [
        [1, 20, 0, 0, 0, 20, 0, 0, 0, 20, 0, 0, 0],  # 1,000,000,000
        [5] * 10,  # five five five ...
        [7, 8] * 6,  # no, no, no, no, no, no
        list(range(50)) * 2,  # the same sentence twice
        [*range(9), 1, *range(9), 2, *range(9), 3],  # verses
    ],
)
def test_what_people_repeat_is_no_loop(said):
    assert first_trip(Loop(), WORDS + said + WORDS) is None


@given(st.lists(st.integers(0, 2), max_size=60))
def test_a_loop_is_what_its_definition_says(tokens):
    """Against the definition, spelled out: some cycle fills the tail often enough."""

    def loops(tail):
        return any(
            len(tail) >= cycle * copies and tail[-cycle * copies :] == tail[-cycle:] * copies
            for cycle in range(1, len(tail) + 1)
            for copies in [max(3, -(-16 // cycle))]
        )

    expected = next((n for n in range(len(tokens) + 1) if loops(tokens[:n])), None)
    found = first_trip(Loop(), tokens)
    assert (found and found[0]) == expected
    if found:
        count, kept = found
        cycle = next(
            c for c in range(1, count) if is_periodic(tokens[:count], c, count - len(kept))
        )
        assert (kept + kept[-cycle:] * count)[:count] == tokens[:count]  # nothing else is lost


def test_more_tokens_than_speech_can_hold():
    guard = TooManyTokens(per_slot=1.0, spare=4)
    assert guard.limit(10) == 14
    assert guard.check(Row(list(range(14)))) is None
    assert guard.check(Row(list(range(15)))) == 15


def test_an_answer_without_words():
    guard = NoWords(lambda ids: "".join(" .ab好"[id_] for id_ in ids))
    assert guard.check(Row([], stop="end")) == 0
    assert guard.check(Row([])) is None
    assert guard.check(Row([1, 0, 1], [-0.1] * 3, stop="end")) == 3
    assert guard.check(Row([1, 0, 1], [-0.1] * 3)) is None
    assert guard.check(Row([1, 2], [-0.1] * 2, stop="end")) is None
    assert guard.check(Row([4], [-0.1], stop="end")) is None


def test_words_that_the_model_does_not_believe():
    guard = Unsure(least=-1.0)
    assert guard.check(Row([1, 2], [-0.5, -1.7], stop="end")) == 2
    assert guard.check(Row([1, 2], [-0.5, -1.5], stop="end")) is None
    assert guard.check(Row([1, 2], [-5.0, -5.0])) is None  # it may still find its way
    assert guard.check(Row([], stop="end")) is None


def test_a_guard_ends_its_own_row_only():
    loop, good = one_hot(*[3, 4] * 30), one_hot(1, 2, 3, 4, 5, 6, 7, 1, 3, 5, 7, 2, 4, STOP)
    engine = TableEngine([loop, good])
    found = search(engine, 2, guards=[Loop(3, 6)], max_new_tokens=50)
    assert (found[0].token_ids, found[0].stop, found[0].trouble) == ((3, 4), "guard", "loop")
    assert len(found[0].logprobs) == 2
    alone = search(TableEngine([good]), 1, max_new_tokens=50)
    assert found[1] == alone[0]


def test_the_first_guard_that_speaks_is_believed():
    guards = [TooManyTokens(0, 5), Loop(3, 6)]
    (found,) = search(TableEngine([one_hot(3)]), 1, guards=guards)
    assert (found.token_ids, found.trouble) == ((3,) * 6, "too-many-tokens")


def test_a_row_that_ended_by_itself_says_so_also_with_a_reason():
    found = search(TableEngine([one_hot(STOP)]), 1, guards=[NoWords(lambda ids: "a" * len(ids))])
    assert (found[0].token_ids, found[0].stop, found[0].trouble) == ((), "end", "empty")


def test_guards_see_the_length_of_the_clip():
    engine = TableEngine([one_hot(3), one_hot(4)])
    asked = [Prompt([1] * 4, np.zeros((slots, 2), np.float32)) for slots in (2, 5)]
    found = greedy(
        engine, asked, rules=[], stop_ids={STOP}, max_new_tokens=20, guards=[TooManyTokens(1, 3)]
    )
    assert [len(h.token_ids) for h in found] == [6, 9]


def test_without_guards_nothing_is_said():
    engine = TableEngine([one_hot(3)])
    (found,) = greedy(engine, prompts(1), rules=[], stop_ids={STOP}, max_new_tokens=40)
    assert (len(found.token_ids), found.stop, found.trouble) == (40, "length", None)


def forbidden(tokens, copies=2):
    logits = np.zeros((1, 10), np.float32)
    NoRepeats(copies).apply(logits, SearchState(np.arange(10), [tokens], [False]))
    return set(np.flatnonzero(np.isinf(logits[0])).tolist())


@given(st.lists(st.integers(0, 2), max_size=30), st.integers(1, 3))
def test_the_rule_forbids_exactly_what_would_be_one_copy_too_many(tokens, copies):
    expected = set()
    for token in range(10):
        tail = [*tokens, token]
        for cycle in range(1, len(tail) // (copies + 1) + 1):
            if tail[-cycle * (copies + 1) :] == tail[-cycle:] * (copies + 1):
                expected.add(token)
    assert forbidden(tokens, copies) == expected


def test_under_the_rule_no_loop_comes_up():
    engine = TableEngine([one_hot(3) - np.linspace(0, 1, 10), one_hot(STOP)])
    (found, ended) = search(engine, 2, rules=[NoRepeats()], guards=[Loop(3, 1)])
    assert (found.token_ids[:6], found.trouble) == ((3, 3, 0, 3, 3, 0), None)
    assert len(found.token_ids) == 20
    assert ended.token_ids == ()
