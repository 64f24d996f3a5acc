"""Greedy search against an engine whose logits are known, and against a brute reference."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ark_asr.decoding.beam import beam
from ark_asr.decoding.rules import SearchState, SuppressIds
from ark_asr.decoding.search import greedy
from ark_asr.errors import ModelError, OptionError
from ark_asr.types import Prompt

STOP = 9


class State:
    def __init__(self, logits, positions):
        self.logits, self.positions = logits, positions


class TableEngine:
    """Row ``r`` has the logits ``table[r][t]`` at step ``t``; what it was fed is kept."""

    def __init__(self, table, output_ids=range(10), max_positions=100):
        self.table = [np.asarray(row, dtype=np.float32) for row in table]
        self.output_ids = np.array(list(output_ids), dtype=np.int64)
        self.max_positions = max_positions
        self.fed: list[list[int]] = []
        self.room = None

    def start(self, prompts, max_new_tokens):
        self.room = max_new_tokens
        self.lengths = np.array([len(p.token_ids) for p in prompts])
        return self._state()

    def step(self, state, token_ids):
        assert token_ids.dtype == np.int64
        self.fed.append(list(token_ids))
        return self._state()

    def _state(self):
        at = len(self.fed)
        rows = np.stack([row[min(at, len(row) - 1)] for row in self.table])
        assert (self.lengths + at <= self.max_positions).all(), "fed beyond the model's positions"
        return State(rows, self.lengths + at)


def one_hot(*ids, width=10):
    """A row that chooses these columns one after the other."""
    row = np.zeros((len(ids), width), dtype=np.float32)
    row[range(len(ids)), ids] = 5
    return row


def prompts(count, length=4):
    return [Prompt([1] * length, np.zeros((1, 2), np.float32)) for _ in range(count)]


def search(engine, count, **options):
    settings = {"rules": [], "stop_ids": {STOP}, "max_new_tokens": 20} | options
    return greedy(engine, prompts(count), **settings)


def test_each_row_stops_for_itself_and_is_not_disturbed_by_the_others():
    script = [(3, 4, STOP), (STOP,), (1, 2, 3, 4, 5, STOP)]
    together = search(TableEngine([one_hot(*ids) for ids in script]), 3)
    assert [h.token_ids for h in together] == [(3, 4), (), (1, 2, 3, 4, 5)]
    assert {h.stop for h in together} == {"end"}
    alone = [search(TableEngine([one_hot(*ids)]), 1)[0] for ids in script]
    assert alone == together


def test_columns_are_mapped_to_ids():
    engine = TableEngine([one_hot(0, 2, 1, width=3)], output_ids=(5, STOP, 1000))
    (found,) = search(engine, 1)
    assert found.token_ids == (5, 1000)
    assert engine.fed == [[5], [1000]]


def test_logprobs_are_those_of_a_softmax_over_allowed_ids():
    logits = np.array([[0.5, 2.0, -1.0, 3.0], [0.0, 0.0, 9.0, 0.0]], np.float32)
    engine = TableEngine([logits], output_ids=(1, 2, STOP, 4))
    (found,) = search(engine, 1, rules=[SuppressIds([4, 77], engine.output_ids)])
    allowed = np.exp([0.5, 2.0, -1.0])
    assert found.token_ids == (2,)
    assert found.logprobs[0] == pytest.approx(np.log(allowed[1] / allowed.sum()), abs=1e-6)


@pytest.mark.parametrize("width", [1, 3])
def test_what_is_banned_counts_in_the_probabilities(width):
    """A model that is kept from its own words does not believe others more."""
    logits = np.array([[4.0, 1.0, -2.0, 0.0]], np.float32)
    engine = TableEngine([logits], output_ids=(1, 2, 4, STOP))
    engine.select = lambda state, rows: state
    only = {"rules": [SuppressIds([4], engine.output_ids)],
            "bans": [SuppressIds([1, STOP], engine.output_ids)],
            "stop_ids": {STOP}, "max_new_tokens": 1}  # fmt: skip
    (found,) = (
        greedy(engine, prompts(1), **only)
        if width == 1
        else beam(engine, prompts(1), width=width, **only)
    )
    assert found.token_ids == (2,)
    believed = np.exp([4.0, 1.0, 0.0])
    assert found.logprobs[0] == pytest.approx(np.log(believed[1] / believed.sum()), abs=1e-6)


def test_rules_see_every_rows_tokens_so_far():
    seen = []

    class Watch:
        def apply(self, logits, state: SearchState):
            seen.append(([list(t) for t in state.tokens], list(state.ended)))

    search(TableEngine([one_hot(3, 4, STOP), one_hot(STOP)]), 2, rules=[Watch()])
    assert seen == [
        ([[], []], [False, False]),
        ([[3], []], [False, True]),
        ([[3, 4], []], [False, True]),
    ]


def test_a_rule_does_not_change_the_engines_own_buffer():
    engine = TableEngine([one_hot(3, STOP)])
    search(engine, 1, rules=[SuppressIds([0], engine.output_ids)])
    assert np.isfinite(engine.table[0]).all()


@pytest.mark.parametrize(("limit", "expected"), [(3, [3, 3]), ([2, 5], [2, 5])])
def test_the_limit_is_flagged(limit, expected):
    endless = [one_hot(7), one_hot(8)]
    found = search(TableEngine(endless), 2, max_new_tokens=limit)
    assert [len(h.token_ids) for h in found] == expected
    assert {h.stop for h in found} == {"length"}


def test_the_models_positions_are_a_limit_that_is_flagged():
    engine = TableEngine([one_hot(7)], max_positions=10)
    (found,) = search(engine, 1, max_new_tokens=50)
    assert (len(found.token_ids), found.stop, engine.room) == (6, "length", 6)


def test_a_prompt_without_room_is_refused():
    engine = TableEngine([one_hot(7)], max_positions=4)
    with pytest.raises(OptionError, match="leaves no room in the model's 4 positions"):
        search(engine, 1)


@pytest.mark.parametrize("limit", [0, -1, [5, 0], [5]])
def test_senseless_limits_are_refused(limit):
    with pytest.raises(OptionError):
        search(TableEngine([one_hot(7), one_hot(7)]), 2, max_new_tokens=limit)


def test_cancelling_keeps_what_is_there():
    asked = iter([False, False, True])
    engine = TableEngine([one_hot(3, 4, 5, 6), one_hot(STOP)])
    found = search(engine, 2, cancelled=lambda: next(asked))
    assert [(h.token_ids, h.stop) for h in found] == [((3, 4), "cancelled"), ((), "end")]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_logits_that_are_not_finite_are_an_error(bad):
    with pytest.raises(ModelError, match="not finite"):
        search(TableEngine([np.full((1, 10), bad)]), 1)


def test_logits_as_far_apart_as_numbers_can_be_are_no_warning():
    """Damaged weights make such: numpy would write to standard error by itself."""
    far = np.full((1, 10), -3e38, np.float32)
    far[:, STOP] = 3e38
    assert [h.stop for h in search(TableEngine([far]), 1)] == ["end"]


def test_forbidding_everything_is_an_error():
    engine = TableEngine([one_hot(3)])
    with pytest.raises(ModelError, match="not finite"):
        search(engine, 1, rules=[SuppressIds(range(10), engine.output_ids)])


def test_a_model_that_cannot_stop_is_refused():
    with pytest.raises(ModelError, match="stop id"):
        search(TableEngine([one_hot(0)], output_ids=range(20, 30)), 1)


def test_no_prompts_no_work():
    assert search(TableEngine([one_hot(0)]), 0) == []


@given(
    st.integers(1, 4).flatmap(
        lambda rows: st.lists(
            st.lists(st.lists(st.floats(-9, 9, width=32), min_size=5, max_size=5),
                     min_size=1, max_size=6),
            min_size=rows, max_size=rows,
        )
    )
)  # fmt: skip
def test_like_a_plain_loop_per_row(table):
    engine = TableEngine(table, output_ids=(2, 4, 6, 8, STOP))
    found = search(engine, len(table), max_new_tokens=5)
    for row, hypothesis in zip(table, found, strict=True):
        expected, total = [], []
        stop = "length"
        for step in range(5):
            logits = np.array(row[min(step, len(row) - 1)], np.float32).astype(np.float64)
            column = int(np.argmax(logits))
            if column == 4:
                stop = "end"
                break
            expected.append((2, 4, 6, 8)[column])
            total.append(logits[column] - np.logaddexp.reduce(logits))
        assert (list(hypothesis.token_ids), hypothesis.stop) == (expected, stop)
        np.testing.assert_allclose(hypothesis.logprobs, total, atol=1e-5)


def test_each_row_can_be_cancelled_for_itself():
    asked = [0, 0]

    def gone(row, after):
        asked[row] += 1
        return asked[row] > after

    engine = TableEngine([one_hot(3, 4, 5, STOP), one_hot(1, 2, 3, 4, STOP)])
    found = search(engine, 2, cancelled=[lambda: gone(0, 2), lambda: gone(1, 100)])
    assert [(h.token_ids, h.stop) for h in found] == [
        ((3, 4), "cancelled"),
        ((1, 2, 3, 4), "end"),
    ]


def test_no_step_is_done_for_rows_that_nobody_waits_for():
    engine = TableEngine([one_hot(STOP), one_hot(1, 2, 3, 4, STOP)])
    asked = iter([False, True])
    search(engine, 2, cancelled=[lambda: False, lambda: next(asked)])
    assert len(engine.fed) == 1
