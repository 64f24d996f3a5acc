"""The queue before the engine: shared batches, fairness, limits, and what happens to who leaves."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace

import numpy as np
import pytest

from ark_asr.errors import ModelError
from ark_asr.models.tokenizer import Tokenizer
from ark_asr.pipeline import Recognizer
from ark_asr.server.problems import Problem
from ark_asr.server.scheduler import Scheduler
from ark_asr.server.ticket import Ask
from ark_asr.types import Audio, Hypothesis, TranscribeOptions
from listener import RATE, STEP, Listener, words
from serving import PATIENCE

OPTIONS = TranscribeOptions(mend=False)


class Stepping(Listener):
    """Calls back before every step."""

    before_step = staticmethod(lambda count: None)
    count = 0

    def step(self, state, token_ids):
        self.count += 1
        self.before_step(self.count)
        return super().step(state, token_ids)


@pytest.fixture
def engine(byte_checkpoint):
    return Stepping(Tokenizer.load(byte_checkpoint))


@pytest.fixture
def model(engine, byte_checkpoint):
    return Recognizer(engine, Tokenizer.load(byte_checkpoint), "listener")


def piece(number):
    return Audio(np.full(round(number * STEP * RATE), 0.01, np.float32), RATE)


def ask(scheduler, client, *numbers, model, options=OPTIONS, background=False):
    ticket = scheduler.admit(client, background=background)
    ticket.ask = Ask(model, options)
    for number in numbers:
        assert ticket.put(piece(number))
    ticket.finish()
    return ticket


async def said(ticket):
    return [one.segment.text async for one in ticket]


def run(model, scenario, batch_size=4, max_queue=8, per_client=8, lanes=1):
    """A scenario with a scheduler; what it hands in before `start` waits together."""

    async def whole():
        scheduler = Scheduler(batch_size, max_queue, per_client, lanes)
        try:
            return await scenario(scheduler)
        finally:
            await asyncio.to_thread(scheduler.close)

    return asyncio.run(whole())


def test_requests_share_batches_and_each_gets_its_own_words(model, engine):
    async def scenario(scheduler):
        tickets = [
            ask(scheduler, "ann", 3, 4, model=model),
            ask(scheduler, "bob", 5, model=model),
            ask(scheduler, "eve", 6, model=model),
        ]
        scheduler.start()
        return await asyncio.gather(*map(said, tickets))

    assert run(model, scenario) == [[words(3), words(4)], [words(5)], [words(6)]]
    assert [sorted(batch) for batch in engine.batches] == [[3, 4, 5, 6]]


def test_who_has_much_does_not_keep_others_waiting(model, engine):
    async def scenario(scheduler):
        much = ask(scheduler, "ann", *range(20, 24), model=model)
        little = ask(scheduler, "bob", 5, model=model)
        scheduler.start()
        await asyncio.gather(said(much), said(little))

    run(model, scenario, batch_size=2)
    assert engine.batches[0] == [20, 5]


def test_two_requests_of_one_client_take_turns(model, engine):
    async def scenario(scheduler):
        tickets = [
            ask(scheduler, "ann", 20, 21, model=model),
            ask(scheduler, "ann", 22, 23, model=model),
        ]
        scheduler.start()
        await asyncio.gather(*map(said, tickets))

    run(model, scenario, batch_size=2)
    assert engine.batches == [[20, 22], [21, 23]]


def test_other_options_are_another_batch(model, engine):
    async def scenario(scheduler):
        short = replace(OPTIONS, max_new_tokens=2)
        tickets = [
            ask(scheduler, "ann", 3, model=model),
            ask(scheduler, "bob", 4, options=short, model=model),
        ]
        scheduler.start()
        return await asyncio.gather(*map(said, tickets))

    assert run(model, scenario) == [[words(3)], [words(4)[:2]]]
    assert engine.batches == [[3], [4]]


def test_a_full_queue_says_so_and_when_to_come_back(model):
    async def scenario(scheduler):
        with scheduler.admit("ann"), scheduler.admit("bob"):
            with pytest.raises(Problem) as full:
                scheduler.admit("eve")
            assert full.value.status == 429
            assert int(full.value.headers["Retry-After"]) >= 1
            assert full.value.headers["X-Queue-Position"] == "3"
        with scheduler.admit("eve"):
            assert scheduler.waiting == 1

    run(model, scenario, max_queue=2)


def test_one_client_cannot_have_the_whole_queue(model):
    async def scenario(scheduler):
        with scheduler.admit("ann"):
            with pytest.raises(Problem, match="1 are yours"):
                scheduler.admit("ann")
            with scheduler.admit("bob"):
                pass

    run(model, scenario, max_queue=2, per_client=1)


def test_who_leaves_frees_the_engine_before_its_next_step(model, engine):
    async def scenario(scheduler):
        ticket = ask(scheduler, "ann", 3, model=model)

        def leave(count):
            if count == 2:
                scheduler.leave(ticket)

        engine.before_step = leave
        scheduler.start()
        return await said(ticket)

    assert run(model, scenario) == []
    assert engine.count == 2


def test_who_stays_is_not_disturbed_by_who_leaves(model, engine):
    async def scenario(scheduler):
        gone, stays = (
            ask(scheduler, "ann", 3, 7, 8, model=model),
            ask(scheduler, "bob", 4, model=model),
        )
        engine.before_step = lambda count: scheduler.leave(gone)
        scheduler.start()
        return await said(stays)

    assert run(model, scenario, batch_size=2) == [words(4)]
    assert engine.batches == [[3, 4]]


def test_a_piece_that_fails_is_an_error_of_its_own_request(model, engine):
    engine.fails_on = {3}

    async def scenario(scheduler):
        bad, good = ask(scheduler, "ann", 3, model=model), ask(scheduler, "bob", 4, model=model)
        scheduler.start()
        with pytest.raises(ModelError, match="RuntimeError"):
            await said(bad)
        return await said(good)

    assert run(model, scenario) == [words(4)]


def test_live_work_goes_first(model, engine):
    order = []

    async def scenario(scheduler):
        ticket = ask(scheduler, "ann", 3, model=model)
        future = scheduler.call(lambda: order.append(list(engine.batches)))
        scheduler.start()
        await asyncio.wrap_future(future)
        await said(ticket)

    run(model, scenario)
    assert order == [[]]


def test_a_long_job_waits_for_everybody_else(model, engine):
    async def scenario(scheduler):
        job = ask(scheduler, "ann", 20, 21, model=model, background=True)
        short = scheduler.admit("ann")
        short.ask = Ask(model, OPTIONS)

        def come(count):
            if count == 1:  # in the middle of the job's first piece
                short.put(piece(3))
                short.put(piece(4))
                short.finish()

        engine.before_step = come
        scheduler.start()
        return await asyncio.gather(said(job), said(short))

    assert run(model, scenario, batch_size=1) == [[words(20), words(21)], [words(3), words(4)]]
    assert engine.batches == [[20], [3], [4], [21]]


def test_a_long_job_takes_no_place_and_no_time_of_its_owner(model, engine):
    async def scenario(scheduler):
        jobs = [ask(scheduler, "ann", 20 + n, model=model, background=True) for n in range(3)]
        assert (scheduler.waiting, scheduler.jobs) == (0, 3)
        scheduler.start()
        await asyncio.gather(*map(said, jobs))
        # What the jobs had does not count when ann and bob share the engine.
        both_here = threading.Event()
        scheduler.call(lambda: both_here.wait(PATIENCE))  # else it may be through with bob before
        tickets = [ask(scheduler, "bob", 5, 6, model=model), ask(scheduler, "ann", 7, model=model)]
        assert scheduler.waiting == 2
        both_here.set()
        await asyncio.gather(*map(said, tickets))

    run(model, scenario, batch_size=1, max_queue=2, per_client=1)
    assert engine.batches[3:] == [[5], [7], [6]]


def test_pieces_for_different_models_are_different_batches(model, engine, byte_checkpoint):
    tokenizer = Tokenizer.load(byte_checkpoint)
    other = Stepping(tokenizer)

    async def scenario(scheduler):
        second = Recognizer(other, tokenizer, "other")
        tickets = [ask(scheduler, "ann", 3, model=model), ask(scheduler, "bob", 4, model=second)]
        scheduler.start()
        return await asyncio.gather(*map(said, tickets))

    assert run(model, scenario) == [[words(3)], [words(4)]]
    assert (engine.batches, other.batches) == ([[3]], [[4]])


def test_a_reader_waits_until_there_is_room_and_stops_when_nobody_wants_more(model):
    async def scenario(scheduler):
        ticket = scheduler.admit("ann")
        answers = []

        def read():
            while ticket.put(piece(3)):
                answers.append(True)

        thread = threading.Thread(target=read)
        thread.start()
        while len(ticket.pieces) < 4:
            await asyncio.sleep(0.01)
        scheduler.leave(ticket)
        await asyncio.to_thread(thread.join)
        return len(answers)

    assert run(model, scenario, batch_size=2) == 4


def test_closing_tells_those_who_wait(model):
    async def scenario(scheduler):
        ticket = ask(scheduler, "ann", 3, model=model)
        await asyncio.to_thread(scheduler.close)
        with pytest.raises(Problem, match="being stopped"):
            await said(ticket)

    run(model, scenario)


class Slow:
    """A `Writer`: says "words of 7" to a clip of 7 steps, once its `gate` is open."""

    max_positions = 500
    goes_on = True

    def __init__(self, tokenizer):
        self.tokenizer = tokenizer
        self.output_ids = np.setdiff1d(np.arange(300), tokenizer.suppressed_ids)
        self.gates, self.begun = {}, []

    def slots(self, samples):
        return 4

    def write(self, asks, cancelled):
        (ask,) = asks
        number = round(ask.audio.duration / STEP)
        self.begun.append(number)
        while (gate := self.gates.get(number)) and not gate.wait(0.01):
            if cancelled[0]():
                return [Hypothesis((), (), "cancelled")]
        ids = self.tokenizer.encode(words(number))
        return [Hypothesis(tuple(ids), (-0.1,) * len(ids), "end")]

    def close(self):
        pass


@pytest.fixture
def slow(byte_checkpoint):
    return Slow(Tokenizer.load(byte_checkpoint))


def test_lanes_let_nobody_wait_for_another_ones_clip(slow):
    slow.gates[20] = threading.Event()

    async def scenario(scheduler):
        model = Recognizer(slow, slow.tokenizer, "slow")
        long, short = ask(scheduler, "ann", 20, model=model), ask(scheduler, "bob", 3, model=model)
        scheduler.start()
        first = await said(short)
        slow.gates[20].set()
        return first, await said(long)

    assert run(None, scenario, batch_size=1, lanes=2) == ([words(3)], [words(20)])


def test_lanes_keep_the_order_of_a_recording(slow):
    slow.gates[20] = threading.Event()

    async def scenario(scheduler):
        ticket = ask(scheduler, "ann", 20, 3, 4, model=Recognizer(slow, slow.tokenizer, "slow"))
        scheduler.start()
        while 4 not in slow.begun:  # by the other lane; which of them begins first is chance
            await asyncio.sleep(0.01)
        slow.gates[20].set()
        return await said(ticket)

    assert run(None, scenario, batch_size=1, lanes=2) == [words(20), words(3), words(4)]


def test_who_leaves_frees_his_lane(slow):
    slow.gates[20] = threading.Event()

    async def scenario(scheduler):
        model = Recognizer(slow, slow.tokenizer, "slow")
        gone = ask(scheduler, "ann", 20, model=model)
        scheduler.start()
        while not slow.begun:
            await asyncio.sleep(0.01)
        scheduler.leave(gone)
        return await said(ask(scheduler, "bob", 3, model=model))

    assert run(None, scenario, batch_size=1) == [words(3)]
