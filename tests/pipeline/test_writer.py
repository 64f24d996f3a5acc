"""Engines that search by themselves walk the same road as those that are stepped."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from ark_asr.audio import LogMel, load_audio
from ark_asr.decoding.guards import Loop, NoWords, Unsure
from ark_asr.decoding.rules import SuppressIds
from ark_asr.decoding.search import greedy, retrace
from ark_asr.engines import load_model
from ark_asr.engines.base import Writer
from ark_asr.errors import OptionError
from ark_asr.models.tokenizer import Tokenizer
from ark_asr.pipeline import Recognizer
from ark_asr.types import Hypothesis, Prompt, TranscribeOptions

GUARDS = (NoWords(lambda ids: "a" * len(ids)), Loop(), Unsure(-1.2))


class GreedyWriter:
    """The default model, searched where nobody asks the guards."""

    goes_on = True

    def __init__(self):
        self.engine, self.tokenizer = load_model(threads=1)
        self.output_ids = self.engine.output_ids
        self.max_positions = self.engine.max_positions
        self._log_mel = LogMel(self.tokenizer.features)

    def slots(self, samples):
        config = self.tokenizer.config
        return config.audio_slots(config.features.frames(samples))

    def write(self, asks, cancelled):
        audio = self.engine.embed_audio([self._log_mel(ask.audio.samples) for ask in asks])
        ids = [[*self.tokenizer.prompt(len(a), ask.instruction), *ask.said]
               for a, ask in zip(audio, asks, strict=True)]  # fmt: skip
        return greedy(
            self.engine,
            [Prompt(*parts) for parts in zip(ids, audio, strict=True)],
            rules=[SuppressIds(self.tokenizer.suppressed_ids, self.output_ids)],
            stop_ids=self.tokenizer.stop_ids,
            max_new_tokens=[ask.max_new_tokens for ask in asks],
            cancelled=cancelled,
        )

    def close(self):
        self.engine.close()


@pytest.fixture(scope="module")
def writer():
    writer = GreedyWriter()
    assert isinstance(writer, Writer)
    yield writer
    writer.close()


def without_timings(transcript):
    return [
        (one.start, one.end, one.text, one.flags, one.tokens, round(one.confidence or 0, 5))
        for one in transcript.segments
    ]


@pytest.mark.parametrize(
    "options", [TranscribeOptions(end=20), TranscribeOptions(end=10, context=8, mend=False)]
)
def test_same_transcript(writer, root, options):
    minute = root / "samples" / "minute.flac"
    recognizer = Recognizer(writer, writer.tokenizer, "same")
    stepped = Recognizer(writer.engine, writer.tokenizer, "same")
    expected = stepped.transcribe(minute, options)
    assert without_timings(recognizer.transcribe(minute, options)) == without_timings(expected)


def test_what_needs_steps_is_refused(writer, root):
    recognizer = Recognizer(writer, writer.tokenizer, "same")
    hello = root / "samples" / "hello.flac"
    for options in (
        TranscribeOptions(beam_size=4),
        TranscribeOptions(hotwords=("house",)),
        TranscribeOptions(words=True),
    ):
        with pytest.raises(OptionError):
            recognizer.transcribe(hello, options)
    spread = recognizer.transcribe(hello, TranscribeOptions(words=True, word_times="estimate"))
    assert [word.text for word in spread.segments[0].words] == spread.text.split()


def test_who_leaves_has_nothing_decoded(writer, root):
    recognizer = Recognizer(writer, writer.tokenizer, "same")
    found = recognizer.transcribe(root / "samples" / "hello.flac", cancelled=lambda: True)
    assert not found.text


class Forgetful(GreedyWriter):
    """One whose answers begin at the beginning, as those of a vLLM server."""

    goes_on = False

    def write(self, asks, cancelled):
        assert not any(ask.said for ask in asks)
        return super().write(asks, cancelled)


@pytest.fixture(scope="module")
def forgetful():
    writer = Forgetful()
    yield Recognizer(writer, writer.tokenizer, "forgetful")
    writer.close()


def test_captions_of_an_engine_that_cannot_go_on(forgetful, root):
    samples = load_audio(root / "samples" / "minute.flac", end=20).samples
    live = forgetful.live()
    events = [event for first in range(0, len(samples), 1600)
              for event in live.feed(samples[first : first + 1600])]  # fmt: skip
    partials = [event for event in events if event.kind == "partial"]
    assert sum(bool(event.settled and event.pending) for event in partials) > 5
    for before, after in pairwise(partials):
        assert after.utterance > before.utterance or after.settled.startswith(before.settled)
    assert any(event.kind == "final" and event.text for event in events)


def test_context_for_an_engine_that_cannot_go_on_is_refused_before_any_work(forgetful, root):
    with pytest.raises(OptionError, match="context is 8; Forgetful cannot go on from earlier text"):
        forgetful.stream(root / "samples" / "hello.flac", TranscribeOptions(context=8))


def test_drift_of_an_engine_that_cannot_go_on_is_only_flagged(byte_checkpoint):
    korean, english = "지금부터 회의를 시작하겠습니다", "we are going to begin the meeting now"
    tokenizer = Tokenizer.load(byte_checkpoint)
    says = iter([korean, korean, english, korean])

    class Drifting(Forgetful):
        def __init__(self):
            self.tokenizer, self.max_positions = tokenizer, 500
            self.output_ids = np.arange(tokenizer.config.decoder.vocab_size)

        def write(self, asks, cancelled):
            assert not any(ask.said for ask in asks)
            found = [tuple(tokenizer.encode(next(says))) for _ in asks]
            return [Hypothesis(ids, (-0.1,) * len(ids), "end") for ids in found]

    sound = np.random.default_rng(0).normal(0, 0.05, 91 * 16_000).astype(np.float32)
    recognizer = Recognizer(Drifting(), tokenizer, "drifting")
    segments = recognizer.transcribe(
        sound, TranscribeOptions(vad=False), source_rate=16_000
    ).segments
    assert [segment.flags for segment in segments] == [(), (), ("drift",), ()]


def test_loops_are_cut_as_while_searching():
    looping = Hypothesis((5, 6, *[7, 8, 9] * 8), (-0.1,) * 26, "end")
    found = retrace(looping, 40, GUARDS)
    assert (found.token_ids, found.stop, found.trouble) == ((5, 6, 7, 8, 9), "guard", "loop")


@pytest.mark.parametrize(
    ("given", "stop", "trouble"),
    [
        (Hypothesis((), (), "end"), "end", "empty"),
        (Hypothesis((1, 2), (-0.1, -0.1), "end"), "end", None),
        (Hypothesis((1, 2), (-3.0, -3.0), "end"), "end", "unsure"),
        (Hypothesis((1, 2), (-3.0, -3.0), "length"), "length", None),
        (Hypothesis((1, 2), (-3.0, -3.0), "cancelled"), "cancelled", None),
        (Hypothesis((), (), "cancelled"), "cancelled", None),
    ],
)
def test_ends_are_judged(given, stop, trouble):
    found = retrace(given, 10, GUARDS)
    assert (found.token_ids, found.stop, found.trouble) == (given.token_ids, stop, trouble)
    assert np.allclose(found.logprobs, given.logprobs)
