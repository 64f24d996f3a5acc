"""The engine that plays back tokens."""

from __future__ import annotations

import numpy as np
import pytest

from ark_asr.engines.base import Engine
from ark_asr.engines.scripted import ScriptedEngine
from ark_asr.errors import OptionError
from ark_asr.models.config import ModelConfig
from ark_asr.types import Prompt
from checkpoints import config_dict

CONFIG = ModelConfig.from_dicts(config_dict(max_positions=50))
END = CONFIG.eos_token_ids[0]


def play(engine: Engine, rows, steps=4):
    state = engine.start([Prompt([0] * (5 + i), a) for i, a in enumerate(rows)], steps)
    chosen = [engine.output_ids[state.logits.argmax(axis=1)]]
    for _ in range(steps - 1):
        state = engine.step(state, chosen[-1])
        chosen.append(engine.output_ids[state.logits.argmax(axis=1)])
    return np.stack(chosen, axis=1).tolist(), state


def test_each_clip_plays_its_own_answer_in_any_order():
    engine = ScriptedEngine(CONFIG, [[1, 2, 3], [], [4]])
    first = engine.embed_audio([np.zeros((128, 100), np.float32), np.zeros((128, 8), np.float32)])
    assert [a.shape for a in first] == [(12, 64), (1, 64)]
    (third,) = engine.embed_audio([np.zeros((128, 8), np.float32)])
    tokens, state = play(engine, [third, first[0], first[1]])
    assert tokens == [[4, END, END, END], [1, 2, 3, END], [END, END, END, END]]
    assert state.positions.tolist() == [8, 9, 10]


def test_the_probability_is_the_one_asked_for():
    engine = ScriptedEngine(CONFIG, [[7]], probability=0.25, output_ids=np.array([3, 7, END]))
    _, state = play(engine, engine.embed_audio([np.zeros((128, 8), np.float32)]), steps=1)
    np.testing.assert_allclose(np.exp(state.logits[0]), [0.375, 0.25, 0.375], rtol=1e-6)


def test_what_makes_no_sense():
    with pytest.raises(OptionError, match=r"\[9\]"):
        ScriptedEngine(CONFIG, [[9]], output_ids=np.array([1, END]))
    with pytest.raises(OptionError, match="probability is 1"):
        ScriptedEngine(CONFIG, [], probability=1)
    engine = ScriptedEngine(CONFIG, [])
    with pytest.raises(OptionError, match="0 clips only"):
        engine.embed_audio([np.zeros((128, 8), np.float32)])


def test_rows_can_be_put_in_another_order():
    engine = ScriptedEngine(CONFIG, [[1, 2], [3, 4]])
    audio = engine.embed_audio([np.zeros((128, 8), np.float32)] * 2)
    state = engine.start([Prompt([0] * 5, a) for a in audio], 3)
    state = engine.step(engine.select(state, np.array([1, 0, 1])), np.array([3, 1, 3]))
    assert engine.output_ids[state.logits.argmax(axis=1)].tolist() == [4, 2, 4]
    assert state.positions.tolist() == [6, 6, 6]
