"""The road, with sound that is real and an engine that plays back given words."""

from __future__ import annotations

import math
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from ark_asr import LiveOptions, OptionError, Recognizer, Task, TranscribeOptions
from ark_asr.engines.scripted import ScriptedEngine
from ark_asr.errors import AudioError
from ark_asr.models.tokenizer import INSTRUCTION, USER, Tokenizer
from ark_asr.pipeline import transcribe_channels
from ark_asr.types import Audio

RATE = 16_000
WHOLE = TranscribeOptions(vad=False)


class Watched(ScriptedEngine):
    """Keeps what it was asked."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.batches, self.prompts, self.steps, self.closed = [], [], 0, 0

    def embed_audio(self, mels):
        self.batches.append(len(mels))
        return super().embed_audio(mels)

    def start(self, prompts, max_new_tokens):
        self.prompts += prompts
        return super().start(prompts, max_new_tokens)

    def step(self, state, token_ids):
        self.steps += 1
        return super().step(state, token_ids)

    def close(self):
        self.closed += 1


@pytest.fixture
def tokenizer(byte_checkpoint):
    return Tokenizer.load(byte_checkpoint)


@pytest.fixture
def make(tokenizer):
    def make(*answers, **options):
        scripts = [tokenizer.encode(a) if isinstance(a, str) else a for a in answers]
        engine = Watched(tokenizer.config, scripts, **options)
        return Recognizer(engine, tokenizer, "scripted"), engine

    return make


def noise(seconds, seed=0):
    return np.random.default_rng(seed).normal(0, 0.05, round(seconds * RATE)).astype(np.float32)


def run(recognizer, seconds, options=WHOLE, **more):
    return recognizer.transcribe(noise(seconds), options, source_rate=RATE, **more)


def test_one_clip(make):
    recognizer, _ = make(". one  two")
    transcript = run(recognizer, 2)
    (segment,) = transcript.segments
    assert (segment.text, segment.raw_text) == ("one two", ". one  two")
    assert (segment.start, segment.end, segment.flags) == (0, 2, ())
    assert segment.tokens == len(". one  two")
    # The script's 0.9, among the ids that are allowed: 256 bytes and the end id of 290.
    assert segment.confidence == pytest.approx(0.9 / (0.9 + 0.1 * 256 / 289))
    assert (transcript.text, transcript.duration) == ("one two", 2)
    assert (transcript.model, transcript.source, transcript.warnings) == ("scripted", "", ())


def test_long_recordings_are_cut_and_joined_in_order(make):
    words = [f"part{number}" for number in range(9)]
    recognizer, _ = make(*words)
    transcript = run(recognizer, 100)
    count = len(transcript.segments)
    assert count >= math.ceil(100 / 30)
    assert transcript.text == " ".join(words[:count])
    bounds = [time for segment in transcript.segments for time in (segment.start, segment.end)]
    assert bounds == sorted(bounds)
    assert (bounds[0], bounds[-1]) == (0, pytest.approx(100))
    assert all(segment.end - segment.start <= 30 for segment in transcript.segments)


@pytest.mark.parametrize(("most", "sizes"), [(2, [1, 2, 2]), (3, [1, 3, 3]), (16, [1, 3, 12])])
def test_batches_grow_from_one_clip_to_what_is_asked(make, most, sizes):
    recognizer, engine = make(*["x"] * 60)
    run(recognizer, 1100, replace(WHOLE, batch_size=most))
    assert engine.batches[:3] == sizes
    assert max(engine.batches) == most


@pytest.mark.parametrize("gain", [1e30, 1e300])
def test_a_gain_beyond_all_sound_is_refused(make, gain):
    """Instead of silence: nobody is heard in samples that are not finite."""
    with pytest.raises(OptionError, match=r"gain is 1e\+30+; it makes array louder than any sound"):
        run(make("x")[0], 2, replace(WHOLE, gain=gain))


def test_batch_size_changes_nothing_but_speed(make):
    found = []
    for size in (1, 2, 8):
        recognizer, _ = make(*[f"part{number}" for number in range(20)])
        found.append(run(recognizer, 130, replace(WHOLE, batch_size=size)).segments)
    assert found[0] == found[1] == found[2]


def test_streaming_gives_the_same_as_it_goes(make):
    words = ["a", "b", "c", "d", "e", "f", "g", "h"]
    expected = run(make(*words)[0], 100).segments
    recognizer, engine = make(*words)
    stream = recognizer.stream(noise(100), WHOLE, source_rate=RATE)
    assert engine.batches == []
    assert next(stream) == expected[0]
    assert engine.batches == [1]  # nothing has been done ahead
    assert tuple(stream) == expected[1:]


def test_memory_does_not_grow_with_the_recording(make, tmp_path):
    peaks = []
    for minutes in (1, 4):
        path = tmp_path / "noise.raw"
        path.write_bytes((noise(60) * 20_000).astype("<i2").tobytes() * minutes)
        recognizer, _ = make(*["x"] * 20)
        tracemalloc.start()
        recognizer.transcribe(path, replace(WHOLE, batch_size=1), source_rate=RATE)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    three_minutes = 3 * 60 * RATE * 4
    assert peaks[1] - peaks[0] < three_minutes / 4


def test_progress(make):
    reports = []
    recognizer, _ = make(*["x"] * 20)
    transcript = run(recognizer, 130, replace(WHOLE, batch_size=2), progress=reports.append)
    assert sum((report.segments for report in reports), ()) == transcript.segments
    assert [r.done for r in reports] == sorted(r.done for r in reports)
    assert {r.total for r in reports} == {130}
    assert reports[-1].done == 130


def test_progress_counts_from_where_the_sound_begins(make):
    reports = []
    recognizer, _ = make(*["x"] * 20)
    later = Audio(noise(70), RATE, start=500.0)
    segments = recognizer.transcribe(later, WHOLE, progress=reports.append).segments
    assert (segments[0].start, segments[-1].end) == (500, 570)
    assert [r.done for r in reports] == sorted(r.done for r in reports)
    assert {r.done for r in reports[-2:]} == {r.total for r in reports} == {70}


def test_timings(make):
    timings = run(make("x", "y", "z", "w")[0], 70).timings
    stages = (timings.decode, timings.features, timings.encoder, timings.decoder)
    assert timings.audio == 70
    assert all(seconds > 0 for seconds in stages)
    assert sum(stages) <= timings.total
    assert 0 < timings.first_text <= timings.total


def test_silence_has_no_text_no_confidence_and_no_first_text(make):
    transcript = run(make("")[0], 2)
    assert (transcript.text, transcript.timings.first_text) == ("", None)
    assert [segment.confidence for segment in transcript.segments] == [None]


def test_nobody_speaks(make):
    recognizer, engine = make()
    transcript = recognizer.transcribe(np.zeros(3 * RATE, np.float32), source_rate=RATE)
    assert (transcript.segments, transcript.duration, engine.batches) == ((), 3, [])


def test_an_answer_that_does_not_end_is_ended_and_flagged(make):
    recognizer, _ = make("".join(map(chr, range(33, 126))))
    (segment,) = run(recognizer, 2, replace(WHOLE, mend=False)).segments
    slots = recognizer._tokenizer.config.audio_slots(200)
    assert slots < segment.tokens < 2 * slots
    assert segment.flags == ("too-many-tokens",)


def test_a_limit_that_is_asked_for(make):
    (segment,) = run(make("abcdef")[0], 2, replace(WHOLE, max_new_tokens=3)).segments
    assert (segment.text, segment.flags) == ("abc", ("length",))


def test_ids_that_are_no_text_are_never_chosen(make, tokenizer):
    user = tokenizer.id_of(USER)
    (segment,) = run(
        make([user, *tokenizer.encode("hi")])[0], 2, replace(WHOLE, mend=False)
    ).segments
    assert USER not in segment.raw_text
    assert segment.raw_text.endswith("hi")


def test_the_prompt_is_the_models_own(make, tokenizer):
    recognizer, engine = make("x", "y")
    run(recognizer, 2)
    run(recognizer, 2, replace(WHOLE, instruction="Was wird gesagt?"))
    texts = [tokenizer.decode(prompt.token_ids) for prompt in engine.prompts]
    assert INSTRUCTION in texts[0]
    assert "Was wird gesagt?" in texts[1]
    for prompt in engine.prompts:
        assert list(prompt.token_ids).count(tokenizer.config.audio_token_id) == len(prompt.audio)


def test_begin_and_end_keep_true_times(make):
    transcript = run(make("x")[0], 20, replace(WHOLE, begin=5.0, end=9.5))
    (segment,) = transcript.segments
    assert (segment.start, segment.end) == (pytest.approx(5), pytest.approx(9.5))
    assert transcript.duration == pytest.approx(4.5)


def test_cancelling_between_batches(make):
    done = []
    recognizer, engine = make(*["x"] * 9)
    transcript = run(recognizer, 130, progress=done.append, cancelled=lambda: bool(done))
    assert engine.batches == [1]
    assert [segment.text for segment in transcript.segments] == ["x"]


def test_cancelling_within_a_clip_keeps_its_words_and_flags_it(make):
    recognizer, engine = make("hello")
    transcript = run(recognizer, 2, cancelled=lambda: engine.steps == 3)
    (segment,) = transcript.segments
    assert (segment.text, segment.flags) == ("hel", ("cancelled",))
    assert engine.steps == 3  # not one step more


def test_a_very_short_sound_is_not_an_error(make):
    transcript = run(make("x")[0], 0.012)
    assert [segment.text for segment in transcript.segments] == ["x"]
    # Less than one frame: nothing that a model could hear.
    transcript = run(make()[0], 0.004)
    assert (transcript.segments, transcript.duration) == ((), pytest.approx(0.004))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch_size": 0}, "batch_size is 0; it must be a whole number of at least 1"),
        ({"batch_size": True}, "batch_size is True"),
        ({"batch_size": 1.5}, "batch_size is 1.5"),
        ({"max_new_tokens": 0}, "max_new_tokens is 0"),
        ({"instruction": 7}, "instruction is 7; it must be text"),
        ({"vad": "no"}, "vad is 'no'"),
    ],
)
def test_senseless_options_are_refused(make, change, message):
    with pytest.raises(OptionError, match=message):
        run(make("x")[0], 2, replace(WHOLE, **change))


@pytest.mark.parametrize("options", [{"begin": 1}, None, LiveOptions()])
def test_what_is_no_options_is_refused(make, options):
    recognizer, _ = make("x")
    recording = noise(2)
    for use in (
        lambda: recognizer.transcribe(recording, options, source_rate=RATE),
        lambda: recognizer.stream(recording, options, source_rate=RATE),
        lambda: recognizer.transcribe_many([], options),
        lambda: recognizer.live(transcribe=options),
        lambda: recognizer.scribe(options),
        lambda: transcribe_channels(recognizer, recording, options, source_rate=RATE),
    ):
        with pytest.raises(OptionError, match=r"^options is .*; it must be of the type Transcribe"):
            use()
    with pytest.raises(OptionError, match=r"^options is .*; it must be of the type LiveOptions"):
        recognizer.live(TranscribeOptions())


def test_tasks_that_are_none_are_refused_one_by_one(make):
    recognizer, _ = make("x")
    wrong = ["a.wav", Task("a.wav", begin="1"), Task("a.wav", end=True)]
    found = [str(one) for many in recognizer.transcribe_many(wrong) for one in many]
    assert found == [
        "task is 'a.wav'; it must be of the type Task",
        "begin is '1'; it must be a number or None",
        "end is True; it must be a number or None",
    ]
    with pytest.raises(OptionError, match="batch_seconds is '1'; it must be a number"):
        recognizer.transcribe_many([], batch_seconds="1")


def test_the_sounds_own_errors_come_through_also_when_streaming(make):
    recognizer, _ = make("x")
    with pytest.raises(AudioError, match="end"):
        run(recognizer, 2, replace(WHOLE, begin=2.0, end=1.0))
    with pytest.raises(AudioError, match="no such file"):
        recognizer.stream("nothing.wav")


def test_an_instruction_without_room_is_refused(make):
    with pytest.raises(OptionError, match="leaves no room"):
        run(make("x")[0], 2, replace(WHOLE, instruction="please " * 500))


def test_closing(make):
    recognizer, engine = make("x")
    with recognizer:
        pass
    recognizer.close()
    assert engine.closed == 1
    with pytest.raises(OptionError, match="closed"):
        run(recognizer, 2)


def test_many_recordings_of_a_closed_recognizer_are_refused_at_once(make):
    recognizer, _ = make("x")
    recognizer.close()
    with pytest.raises(OptionError, match="closed"):
        recognizer.transcribe_many([])


@pytest.mark.parametrize("asked", [0, 1])
def test_a_stream_that_is_closed_gives_its_recording_back(make, asked):
    recognizer, _ = make("x")
    stream = recognizer.stream(noise(40), WHOLE, source_rate=RATE)
    sound = stream.gi_frame.f_locals["run"].sound
    for _ in range(asked):
        next(stream)
    stream.close()
    assert list(stream) == list(sound) == []


def test_real_speech_is_found_and_keeps_its_times(make, speech):
    recording = speech / "eval" / "audio"
    found = sorted(recording.rglob("*jfk*.flac")) or sorted(recording.rglob("*.flac"))
    recognizer, _ = make(*["x"] * 50)
    transcript = recognizer.transcribe(found[0])
    assert transcript.source == str(found[0])
    assert transcript.segments
    assert all(0 <= s.start < s.end <= transcript.duration + 0.01 for s in transcript.segments)
