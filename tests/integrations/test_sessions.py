"""Sessions on one model: in order, apart from each other, never blocking, forgotten when idle."""

from __future__ import annotations

import asyncio
import threading
from types import SimpleNamespace

import numpy as np
import pytest

from ark_asr import LiveEvent, OptionError, TranscribeOptions
from ark_asr.integrations import sessions as room
from ark_asr.integrations.sessions import BusyError, Sessions

RATE = 16_000
SECOND = np.full(RATE, 0.1, np.float32)


class Live:
    """A live session that ends an utterance with each window and says which it was."""

    def __init__(self, model):
        self.model = model
        self.heard = []
        self.waiting = []

    @property
    def position(self):
        return sum(map(len, self.heard)) / RATE

    def feed(self, samples, *, waiting=0.0):
        assert self.model.busy.acquire(blocking=False), "two threads use the model"
        try:
            self.model.gate.wait()
            if self.model.broken:
                raise RuntimeError("bad_alloc")
        finally:
            self.model.busy.release()
        if not len(samples):
            return []
        self.heard.append(samples)
        self.waiting.append(waiting)
        text = f"window {len(self.heard)} of {samples[0]:.1f}"
        return [LiveEvent("final", 1, 0.0, self.position - 0.25, text, confidence=0.5)]

    def look(self):
        return []

    def finish(self):
        return [LiveEvent("final", 1, 0.0, self.position, "the rest", confidence=0.5)]


class Model:
    """Stands for a recognizer."""

    def __init__(self, *, shows_attention=True):
        self.sessions, self.asked = [], []
        self.busy, self.gate = threading.Lock(), threading.Event()
        self.gate.set()
        self.broken = False
        self._shows_attention = shows_attention

    def live(self, options, transcribe=TranscribeOptions()):  # noqa: B008 - frozen
        self.asked.append(transcribe.words and transcribe.word_times)
        if self.asked[-1] == "attention" and not self._shows_attention:
            raise OptionError("no attention")
        self.sessions.append(Live(self))
        return self.sessions[-1]


def run(work, **options):
    """Run ``work(sessions, model)`` in a loop of its own."""

    async def main():
        model = options.pop("model", None) or Model()
        sessions = Sessions(model, **options)
        try:
            return await work(sessions, model)
        finally:
            model.gate.set()
            await sessions.aclose()

    return asyncio.run(main())


def texts(shown):
    return [one.caption.text for one in shown]


def test_sessions_do_not_hear_each_other():
    async def work(sessions, model):
        names = ["a", "b"] * 3
        calls = [sessions.hear(name, SECOND * (1 + (name == "b"))) for name in names]
        found = {"a": [], "b": []}
        for name, shown in zip(names, await asyncio.gather(*calls), strict=True):
            found[name] += texts(shown)
        return found

    assert run(work) == {
        "a": ["window 1 of 0.1", "window 2 of 0.1", "window 3 of 0.1"],
        "b": ["window 1 of 0.2", "window 2 of 0.2", "window 3 of 0.2"],
    }


def test_times_are_those_of_the_sender():
    async def work(sessions, model):
        return [(await sessions.hear("a", SECOND, at))[0].timestamp for at in (100.0, 101.5)]

    # Words end a quarter of a second before the window does; the second window came late.
    assert run(work) == pytest.approx([99.75, 101.25])


def test_an_answer_does_not_wait_for_the_model_and_nothing_is_lost():
    async def work(sessions, model):
        model.gate.clear()
        early = [await sessions.hear("a", SECOND, patience=0.01) for _ in range(3)]
        hearing = asyncio.create_task(sessions.hear("a", SECOND))
        await asyncio.sleep(0)  # the fourth is there, too
        model.gate.set()
        return early, texts(await hearing), model.sessions[0].waiting

    early, late, waiting = run(work)
    assert early == [[], [], []]
    assert late == [f"window {number} of 0.1" for number in (1, 2, 3, 4)]
    assert waiting[1:] == pytest.approx([2, 1, 0])


def test_the_event_loop_goes_on_meanwhile():
    async def work(sessions, model):
        model.gate.clear()
        hearing = asyncio.create_task(sessions.hear("a", SECOND))
        for _ in range(5):
            await asyncio.sleep(0)
        assert not hearing.done()
        model.gate.set()
        return texts(await hearing)

    assert run(work) == ["window 1 of 0.1"]


def test_who_leaves_takes_nothing_away():
    async def work(sessions, model):
        model.gate.clear()
        leaving = asyncio.create_task(sessions.hear("a", SECOND))
        await asyncio.sleep(0)
        leaving.cancel()
        model.gate.set()
        return texts(await sessions.hear("a", SECOND))

    assert run(work) == ["window 1 of 0.1", "window 2 of 0.1"]


def test_too_much_sound_is_refused_and_the_rest_still_heard(monkeypatch):
    monkeypatch.setattr(room, "MOST_WAITING", 2.5)

    async def work(sessions, model):
        model.gate.clear()
        await sessions.hear("a", SECOND, patience=0.01)
        while not model.busy.locked():
            await asyncio.sleep(0.01)
        for _ in range(2):  # one is being heard, two wait
            await sessions.hear("a", SECOND, patience=0.01)
        with pytest.raises(BusyError, match="2 s of sound are waiting"):
            await sessions.hear("a", SECOND)
        model.gate.set()
        return texts(await sessions.hear("a", SECOND[: RATE // 2]))

    assert len(run(work)) == 4


def test_sessions_are_bounded():
    async def work(sessions, model):
        await sessions.hear("a", SECOND)
        with pytest.raises(BusyError, match="1 sessions are open"):
            await sessions.hear("b", SECOND)

    run(work, most=1)


def test_idle_ones_are_forgotten():
    async def work(sessions, model):
        await sessions.hear("a", SECOND)
        while len(sessions):
            await asyncio.sleep(0.01)
        return texts(await sessions.hear("a", SECOND))

    assert run(work, idle=0.05) == ["window 1 of 0.1"], "it remembered"


def test_idle_ones_are_forgotten_also_if_each_window_has_a_loop_of_its_own(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(room, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    sessions = Sessions(Model(), most=2)
    for name in ("a", "b"):
        asyncio.run(sessions.hear(name, SECOND))
    clock[0] = room.IDLE_SECONDS
    assert texts(asyncio.run(sessions.hear("a", SECOND))) == ["window 1 of 0.1"], "it remembered"
    assert len(sessions) == 1
    asyncio.run(sessions.aclose())


def test_each_window_puts_the_end_off(monkeypatch):
    async def work(sessions, model):
        loop, timers = asyncio.get_running_loop(), []
        later = loop.call_later

        def call_later(delay, *arguments):
            timer = later(delay, *arguments)
            timers.extend([timer] if delay == 77 else [])
            return timer

        monkeypatch.setattr(loop, "call_later", call_later)
        for _ in range(3):
            await sessions.hear("a", SECOND)
        return [timer.cancelled() for timer in timers]

    assert run(work, idle=77) == [True, True, False]


def test_the_end_brings_the_rest_and_forgets():
    async def work(sessions, model):
        await sessions.hear("a", SECOND, 10.0)
        (last,) = await sessions.finish("a")
        assert len(sessions) == 0
        assert await sessions.finish("a") == []
        return last.caption.text, last.timestamp

    assert run(work) == ("the rest", 10.0)


def test_what_was_held_back_at_the_end_has_its_time():
    async def work(sessions, model):
        await sessions.hear("a", SECOND, 10.0)
        assert await sessions.hear("a", SECOND[: RATE // 10], 10.1) == []
        return (await sessions.finish("a"))[0].timestamp

    assert run(work) == pytest.approx(10.1)


def test_an_engine_that_fails_fails_its_caller_and_the_session_begins_anew():
    async def work(sessions, model):
        model.broken = True
        with pytest.raises(RuntimeError, match="bad_alloc"):
            await sessions.hear("a", SECOND)
        model.broken = False
        return texts(await sessions.hear("a", SECOND)), len(model.sessions)

    assert run(work) == (["window 1 of 0.1"], 2)


def test_a_session_that_began_anew_is_not_forgotten_for_the_failure_of_the_last_one():
    async def work(sessions, model):
        turns = threading.Semaphore(0)
        model.gate = SimpleNamespace(wait=turns.acquire, set=lambda: turns.release(9))
        model.broken = True
        failing = [asyncio.create_task(sessions.hear("a", SECOND)) for _ in range(2)]
        await asyncio.sleep(0)
        turns.release()
        with pytest.raises(RuntimeError, match="bad_alloc"):
            await failing[0]
        model.broken = False
        anew = asyncio.create_task(sessions.hear("a", SECOND))
        await asyncio.sleep(0)
        turns.release(2)
        with pytest.raises(RuntimeError, match="bad_alloc"):
            await failing[1]
        return texts(await anew), len(sessions)

    assert run(work) == (["window 1 of 0.1"], 1)


def test_word_times_are_guessed_where_attention_is_not_shown():
    async def work(sessions, model):
        await sessions.hear("a", SECOND)
        return model.asked

    assert run(work) == [False]
    assert run(work, words=True) == ["attention"]
    blind = Model(shows_attention=False)
    assert run(work, words=True, model=blind) == ["attention", "estimate"]
