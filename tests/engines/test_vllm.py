"""Several threads and one vLLM: a pretended one, of which only the outside is known."""

from __future__ import annotations

import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest

from ark_asr.engines.base import Ask
from ark_asr.engines.vllm import VllmEngine
from ark_asr.errors import ModelError
from ark_asr.models.tokenizer import Tokenizer
from ark_asr.types import Audio

RATE = 16_000
PATIENCE = 60


class Pretended:
    """vLLM's `LLMEngine`: says token 5 once per tenth of a second of sound, one in each step.

    Attributes:
        together: Clips that each step took further.
        gate: Steps wait for it.
    """

    model_config = SimpleNamespace(max_model_len=500)
    engine_core = SimpleNamespace(shutdown=lambda timeout: None)

    def __init__(self, stop_id):
        self.stop_id = stop_id
        self.left, self.said, self.together, self.aborted = {}, {}, [], []
        self.gate = threading.Event()
        self.gate.set()

    def add_request(self, number, request, params):
        samples, rate = request["multi_modal_data"]["audio"]
        self.left[number] = round(10 * len(samples) / rate)
        self.said[number] = []

    def abort_request(self, numbers):
        self.aborted += numbers
        for number in numbers:
            del self.left[number]

    def has_unfinished_requests(self):
        return bool(self.left)

    def step(self):
        assert self.gate.wait(PATIENCE)
        self.together.append(sorted(self.left))
        answers = []
        for number in list(self.left):
            self.left[number] -= 1
            over = self.left[number] < 0
            self.said[number].append(self.stop_id if over else 5)
            steps = [{id_: SimpleNamespace(logprob=-0.5)} for id_ in self.said[number]]
            output = SimpleNamespace(
                token_ids=tuple(self.said[number]), logprobs=steps,
                finish_reason="stop" if over else None,
            )  # fmt: skip
            answers.append(SimpleNamespace(request_id=number, outputs=[output], finished=over))
            if over:
                del self.left[number]
        return answers


@pytest.fixture
def pretended(byte_checkpoint, monkeypatch):
    monkeypatch.setitem(sys.modules, "vllm", SimpleNamespace(SamplingParams=SimpleNamespace))
    (stop_id, *_) = Tokenizer.load(byte_checkpoint).stop_ids
    return Pretended(stop_id)


@pytest.fixture
def engine(pretended, byte_checkpoint):
    return VllmEngine(pretended, Tokenizer.load(byte_checkpoint))


def ask(tenths):
    return Ask(Audio(np.zeros(tenths * RATE // 10, np.float32), RATE), 100)


def written(engine, *tenths, gone=lambda: False):
    return [one.token_ids for one in engine.write([ask(t) for t in tenths], [gone] * len(tenths))]


def until(condition):
    waited = threading.Event()
    for _ in range(100 * PATIENCE):
        if condition():
            return
        waited.wait(0.01)
    raise AssertionError("it did not come to that")


def test_each_clip_gets_its_own_words(engine):
    assert written(engine, 3, 1, 2) == [(5,) * 3, (5,), (5,) * 2]


def test_threads_share_steps_and_a_short_clip_does_not_wait(engine, pretended):
    pretended.gate.clear()
    with ThreadPoolExecutor(2) as threads:
        long = threads.submit(written, engine, 30)
        until(lambda: pretended.left)
        short = threads.submit(written, engine, 2)
        until(lambda: engine._arrived)  # the first thread will begin it, not its own
        pretended.gate.set()
        assert short.result(PATIENCE) == [(5,) * 2]
        assert long.result(PATIENCE) == [(5,) * 30]
    assert ["clip-0", "clip-1"] in pretended.together
    assert len(pretended.together) == 31


def test_many_threads(engine):
    with ThreadPoolExecutor(16) as threads:
        found = list(threads.map(lambda tenths: written(engine, tenths), range(1, 60)))
    assert found == [[(5,) * tenths] for tenths in range(1, 60)]


def test_who_leaves_is_taken_out_before_the_next_step(engine, pretended):
    asked = iter([False, False, True])
    (found,) = engine.write([ask(30)], [lambda: next(asked)])
    assert (found.token_ids, found.stop) == ((5, 5), "cancelled")
    assert pretended.aborted == ["clip-0"]
    assert not pretended.left


def test_a_clip_that_is_refused_is_an_error_of_its_own_thread(engine):
    with ThreadPoolExecutor(2) as threads:
        good = threads.submit(written, engine, 9)
        with pytest.raises(ModelError, match="leaves no room"):
            written(engine, 10_000)
        assert good.result(PATIENCE) == [(5,) * 9]


def test_closing_ends_those_who_wait(engine, pretended):
    pretended.gate.clear()
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(engine.write, [ask(30)], [lambda: False])
        until(lambda: pretended.left)
        closing = threads.submit(engine.close)
        pretended.gate.set()
        closing.result(PATIENCE)
        (found,) = first.result(PATIENCE)
    assert found.stop in ("cancelled", "end")
