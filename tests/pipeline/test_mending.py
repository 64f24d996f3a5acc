"""Clips in trouble: what is tried, what is kept, and what is said about it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ark_asr import Recognizer, TranscribeOptions, TroubleError
from ark_asr.audio import load_audio
from ark_asr.engines.scripted import ScriptedEngine
from ark_asr.models.tokenizer import Tokenizer
from ark_asr.pipeline import Task
from ark_asr.pipeline.drift import drift_from, script_of
from ark_asr.pipeline.listener import Listener
from ark_asr.pipeline.mending import Mender
from ark_asr.pipeline.stopwatch import Stopwatch
from ark_asr.types import FLAGS, Audio

RATE = 16_000
WHOLE = TranscribeOptions(vad=False)
LOOP = "and so on " * 40


class Doubtful(ScriptedEngine):
    """Does not believe some of its answers; keeps what it is asked."""

    def __init__(self, *arguments, doubts=(), **options):
        super().__init__(*arguments, **options)
        self.doubts, self.heard, self.prompts = set(doubts), [], []

    def embed_audio(self, mels):
        self.heard += [round(mel.shape[1] / 100, 1) for mel in mels]
        return super().embed_audio(mels)

    def start(self, prompts, max_new_tokens):
        self.prompts += [list(prompt.token_ids) for prompt in prompts]
        return super().start(prompts, max_new_tokens)

    def _play(self, state):
        state = super()._play(state)
        for row, clip in enumerate(state.clips):
            if int(clip) in self.doubts:
                state.logits[row] /= 4
        return state


@pytest.fixture
def tokenizer(byte_checkpoint):
    return Tokenizer.load(byte_checkpoint)


@pytest.fixture
def make(tokenizer):
    def make(*answers, **options):
        scripts = [tokenizer.encode(answer) for answer in answers]
        engine = Doubtful(tokenizer.config, scripts, **options)
        return Recognizer(engine, tokenizer, "scripted"), engine

    return make


@pytest.fixture
def spoken(root):
    """Three seconds of speech."""
    sample = next(path for path in sorted((root / "samples").iterdir()) if path.suffix == ".flac")
    return load_audio(sample, end=3.0)


def noise(seconds):
    return np.random.default_rng(0).normal(0, 0.05, round(seconds * RATE)).astype(np.float32)


def run(recognizer, seconds=4.0, options=WHOLE):
    return recognizer.transcribe(noise(seconds), options, source_rate=RATE).segments


def told(segments):
    return [(segment.text, segment.flags) for segment in segments]


def test_a_healthy_clip_is_heard_once(make):
    recognizer, engine = make("all is well")
    assert told(run(recognizer)) == [("all is well", ())]
    assert len(engine.heard) == len(engine.prompts) == 1


def test_a_loop_is_mended_by_a_shorter_cut_and_no_sample_is_lost_or_heard_twice(make):
    recognizer, engine = make(LOOP, "one", "two")
    segments = run(recognizer)
    flags = ("mended:loop", "retry:shorter")
    assert told(segments) == [("one", flags), ("two", flags)]
    assert [segments[0].start, segments[1].end] == [0, 4]
    assert segments[0].end == segments[1].start
    assert 4 / 3 - 0.02 <= segments[0].end <= 8 / 3 + 0.02
    assert len(engine.heard) == 3


def test_what_cannot_be_mended_keeps_one_copy_and_says_so(make):
    (segment,) = run(make(LOOP)[0], options=replace(WHOLE, mend=False))
    assert (segment.text, segment.flags) == ("and so on", ("loop",))
    (segment,) = run(make(LOOP, LOOP, LOOP)[0])  # the rule leaves the script nothing to say
    assert (segment.text, segment.flags) == ("and so on", ("loop",))


def test_the_rule_is_tried_where_a_clip_is_too_short_to_cut(make):
    recognizer, engine = make(LOOP, probability=0.5)
    (segment,) = run(recognizer, 1.9)
    assert len(engine.heard) == 1  # the encoder's work is not done again
    assert len(engine.prompts) == 2
    assert not segment.text.startswith("and so on and so on and so on")


class Stubborn(Doubtful):
    """Believes its words; where it may not say them it says others, which it does not believe."""

    def _play(self, state):
        state = super()._play(state)
        state.logits[state.logits < self._chosen] = -15.0
        others = state.logits[:, self.other]
        state.logits[:, self.other] = np.maximum(others, np.log(0.01))
        return state


def test_the_rule_makes_the_model_no_surer_of_what_it_says_instead(tokenizer):
    engine = Stubborn(tokenizer.config, [tokenizer.encode("a" * 30)])
    (engine.other,) = tokenizer.encode("b")
    (segment,) = run(Recognizer(engine, tokenizer, "stubborn"), 1.9)
    assert segment.text.startswith("aabaab")
    assert segment.flags == ("unsure", "retry:no-repeats")
    assert segment.confidence < 0.3


def test_only_the_first_try_goes_on_from_what_was_said(tokenizer):
    """Words are aligned behind what stood before them, so each try knows it."""
    engine = Stubborn(tokenizer.config, [tokenizer.encode("a" * 30)] * 2)
    (engine.other,) = tokenizer.encode("b")
    listener = Listener(engine, tokenizer, WHOLE, Stopwatch(), lambda: False)
    sound = [Audio(noise(1.9), RATE)]
    ((first,),) = Mender(listener, 30, retry=False).hear(sound, said=tokenizer.encode("la"))
    ((again,),) = Mender(listener, 30).hear(sound, said=tokenizer.encode("la"))
    assert (first.retry, list(first.said)) == (None, tokenizer.encode("la"))
    assert (again.retry, again.said) == ("no-repeats", ())


def test_no_words_where_someone_speaks_are_tried_with_silence_around(make, spoken):
    recognizer, engine = make("", "hello")
    (segment,) = recognizer.transcribe(spoken, WHOLE).segments
    assert (segment.text, segment.flags) == ("hello", ("mended:empty", "retry:padded"))
    assert (segment.start, segment.end) == pytest.approx((spoken.start, spoken.end))
    assert engine.heard[1] == pytest.approx(engine.heard[0] + 0.6, abs=0.11)


@pytest.mark.parametrize("dots", [".", "...", "。", "<|text|>", "♪ ♪"])
def test_signs_alone_are_no_words(make, spoken, dots):
    """The published models like to begin with a full stop, and sometimes say nothing behind it."""
    recognizer, _ = make(dots, "hello")
    (segment,) = recognizer.transcribe(spoken, WHOLE).segments
    assert (segment.text, segment.flags) == ("hello", ("mended:empty", "retry:padded"))
    unmended = replace(WHOLE, mend=False)
    (segment,) = make(dots)[0].transcribe(spoken, unmended).segments
    assert (segment.raw_text, segment.flags) == (dots, ("empty",))


@pytest.mark.parametrize("word", ["5", "好", "ส", "a."])
def test_one_letter_or_figure_is_a_word(make, spoken, word):
    (segment,) = make(word)[0].transcribe(spoken, WHOLE).segments
    assert (segment.text, segment.flags) == (word, ())


def test_no_words_where_nobody_speaks_are_no_trouble(make):
    for said in ("", "."):
        recognizer, engine = make(said)
        assert told(run(recognizer)) == [("", ())]
        assert len(engine.heard) == 1


def test_of_two_doubtful_answers_the_likelier_is_kept(make):
    recognizer, _ = make("murmur", "one", "two", doubts=[0])
    assert told(run(recognizer)) == [
        ("one", ("mended:unsure", "retry:shorter")),
        ("two", ("mended:unsure", "retry:shorter")),
    ]
    recognizer, _ = make("murmur", LOOP, "two", doubts=[0])
    assert told(run(recognizer)) == [("murmur", ("unsure",))]  # a loop is worse than doubt


def test_many_recordings_are_mended_too(make):
    recognizer, _ = make("fine", LOOP, "one", "two")
    recordings = [Audio(noise(seconds), RATE) for seconds in (4, 3)]
    (group,) = recognizer.transcribe_many(map(Task, recordings), WHOLE)
    assert [len(transcript.segments) for transcript in group] == [1, 2]
    assert group[1].text == "one two"


def test_strict_names_the_seconds(make):
    strict = replace(WHOLE, strict=True, mend=False)
    with pytest.raises(TroubleError, match=r"array: 0\.00 to 4\.00 s .* \(loop\)"):
        run(make(LOOP)[0], options=strict)
    (group,) = make("fine", LOOP)[0].transcribe_many(
        [Task(Audio(noise(4), RATE)), Task(Audio(noise(3), RATE))], strict
    )
    assert group[0].text == "fine"
    assert isinstance(group[1], TroubleError)


def test_strict_is_content_with_what_was_mended(make):
    segments = run(make(LOOP, "one", "two")[0], options=replace(WHOLE, strict=True))
    assert len(segments) == 2


def test_cancelling_ends_the_tries_as_well(make):
    recognizer, engine = make(LOOP, "one", "two")
    recordings = noise(4)
    transcript = recognizer.transcribe(
        recordings, WHOLE, source_rate=RATE, cancelled=lambda: len(engine.heard) > 1
    )
    assert told(transcript.segments) == [("and so on", ("loop",))]


KOREAN, ENGLISH = "지금부터 회의를 시작하겠습니다", "we are going to begin the meeting now"


def test_a_clip_that_fell_into_another_script_goes_on_from_its_neighbours(make, tokenizer):
    recognizer, engine = make(KOREAN, KOREAN, ENGLISH, KOREAN, KOREAN + KOREAN)
    segments = run(recognizer, 91)
    assert told(segments) == [
        (KOREAN, ()),
        (KOREAN, ()),
        (KOREAN + KOREAN, ("mended:drift", "retry:context")),
        (KOREAN, ()),
    ]
    assert engine.prompts[-1][-32:] == tokenizer.encode(KOREAN)[-32:]


def test_drift_that_stays_is_flagged_also_among_many(make):
    says = (KOREAN, KOREAN, ENGLISH, KOREAN)
    expected = [(), (), ("drift",), ()]
    segments = run(make(*says, ENGLISH)[0], 91)
    assert [segment.flags for segment in segments] == expected
    recording = Audio(noise(91), RATE)
    recognizer, _ = make(*says)
    ((transcript,),) = recognizer.transcribe_many([Task(recording)], replace(WHOLE, batch_size=1))
    flags = {segment.text: segment.flags for segment in transcript.segments}
    assert flags == {KOREAN: (), ENGLISH: ("drift",)}


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("hello there, world", "LATIN"),
        ("ähm, Straßenbahn", "LATIN"),
        ("Доброе утро, страна", "CYRILLIC"),
        ("会議を始めます", "CJK"),
        ("コンピューター", "CJK"),
        ("안녕하세요", "HANGUL"),
        ("会議 OK", None),
        ("OK 10:30 !!", None),
        ("", None),
    ],
)
def test_scripts(text, script):
    assert script_of(text) == script


def test_drift_needs_neighbours_that_agree():
    assert drift_from([KOREAN, ENGLISH, KOREAN], 1) in (0, 2)
    assert drift_from([ENGLISH, KOREAN, KOREAN], 0) == 1
    assert drift_from([KOREAN, ENGLISH], 1) is None  # one witness is too few
    assert drift_from([KOREAN, ENGLISH, ENGLISH, KOREAN], 1) == 0  # two that drifted
    assert drift_from([KOREAN, "OK", KOREAN], 1) is None
    assert drift_from([ENGLISH] * 3, 1) is None


def test_context_is_the_end_of_the_latest_answer_without_trouble(make, tokenizer):
    says = ["first words", LOOP, "half", "half", "second words", "third words"]
    recognizer, engine = make(*says)
    options = replace(WHOLE, context=5, batch_size=4)
    run(recognizer, 91, options)
    assistant = tokenizer.prompt(1)[-1]
    said = [prompt[prompt.index(assistant) + 1 :] for prompt in engine.prompts]
    expected = ["", "words", "", "", "half", "words"]  # a retry starts from nothing
    assert said == [tokenizer.encode(text) for text in expected]


def test_with_context_the_clips_of_many_recordings_are_not_mixed(make):
    recognizer, engine = make("one", "two", "three", "four", "five", "six")
    recordings = [Audio(noise(40), RATE), Audio(noise(35), RATE)]
    groups = recognizer.transcribe_many(map(Task, recordings), replace(WHOLE, context=3))
    texts = [transcript.text for group in groups for transcript in group]
    assert texts == ["one two", "three four"]
    said = [prompt[-3:] for prompt in engine.prompts]
    encoded = [recognizer.tokenizer.encode(text) for text in ("one", "three")]
    assert [said[1], said[3][-3:]] == [encoded[0], encoded[1][-3:]]


def test_the_page_of_the_json_format_knows_every_flag(root):
    page = (root / "docs" / "json-schema.md").read_text(encoding="utf-8")
    plain = [flag for flag in FLAGS if not flag.startswith("mended:")]
    assert [flag for flag in plain if f"`{flag}`" not in page] == []
    assert "`mended:CODE`" in page
