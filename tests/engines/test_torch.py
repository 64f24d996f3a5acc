"""The PyTorch engine behind the same seam."""

from __future__ import annotations

import numpy as np
import pytest

from ark_asr.engines.torch import TorchEngine
from ark_asr.errors import OptionError
from ark_asr.types import Prompt
from checkpoints import write_checkpoint


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    folder = tmp_path_factory.mktemp("source")
    write_checkpoint(folder, max_positions=40)
    return TorchEngine.load(folder)


def test_rows_do_not_depend_on_their_neighbours(engine):
    rng = np.random.default_rng(0)
    audio = [rng.standard_normal((n, 64)).astype(np.float32) for n in (1, 9, 4)]
    slot = engine.config.audio_token_id
    prompts = [Prompt([1, *[slot] * len(a), 2], a) for a in audio]
    state = engine.step(engine.start(prompts, 3), np.array([5, 6, 7]))
    assert state.positions.tolist() == [4, 12, 7]
    for row, prompt in enumerate(prompts):
        alone = engine.step(engine.start([prompt], 3), np.array([5 + row]))
        np.testing.assert_allclose(state.logits[row], alone.logits[0], atol=1e-4)


def test_rows_can_be_put_in_another_order(engine):
    prompts = [Prompt(list(range(n)), np.zeros((0, 64), np.float32)) for n in (5, 8)]
    state = engine.select(engine.start(prompts, 4), np.array([1, 0, 1]))
    state = engine.step(state, np.array([1, 2, 3]))
    state = engine.step(engine.select(state, np.array([2, 0])), np.array([4, 5]))
    assert state.positions.tolist() == [10, 10]
    for row, (first, second) in enumerate([(3, 4), (1, 5)]):
        alone = engine.step(engine.start(prompts[1:], 4), np.array([first]))
        alone = engine.step(alone, np.array([second]))
        np.testing.assert_allclose(state.logits[row], alone.logits[0], atol=1e-4)


def test_limits_and_options(engine, tmp_path):
    prompt = Prompt([1] * 30, np.zeros((0, 64), np.float32))
    with pytest.raises(OptionError, match="41 positions; the model has 40"):
        engine.start([prompt], 11)
    state = engine.start([prompt], 0)
    with pytest.raises(OptionError, match="a row is full"):
        engine.step(state, np.array([1]))
    with pytest.raises(OptionError, match="dtype 'int8'"):
        TorchEngine.load(tmp_path, dtype="int8")
    with pytest.raises(OptionError, match="threads is 0"):
        TorchEngine.load(tmp_path, threads=0)
