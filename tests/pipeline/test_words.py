"""Words of segments: never lost, never out of order, and where they were really spoken."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ark_asr import OptionError, Recognizer, TranscribeOptions, load
from ark_asr.audio import load_audio
from ark_asr.decoding.text import clean
from ark_asr.engines import load_model
from ark_asr.engines.scripted import ScriptedEngine
from ark_asr.models.calibration import Calibration, Curve, Head
from ark_asr.models.store import resolve
from ark_asr.models.tokenizer import Tokenizer
from ark_asr.pipeline.listener import Heard, Listener
from ark_asr.pipeline.stopwatch import Stopwatch
from ark_asr.pipeline.words import WordTimer
from ark_asr.types import Audio, Hypothesis

RATE = 16_000
WORDS = TranscribeOptions(vad=False, words=True)
HALF = Calibration((Head(1, 0),), Curve(((0.0, 0.4), (1.0, 0.6))), "nothing")


@pytest.fixture(scope="module")
def tokenizer(byte_checkpoint):
    return Tokenizer.load(byte_checkpoint)


def noise(seconds, seed=0):
    return np.random.default_rng(seed).normal(0, 0.05, round(seconds * RATE)).astype(np.float32)


def timer(engine, tokenizer, calibration=None, **options):
    return WordTimer(engine, tokenizer, TranscribeOptions(**options), calibration, Stopwatch())


texts = st.one_of(
    st.text(max_size=40),
    st.text("ab c-1,5 你好。ไที่ かな ש  م 👍🏽é\u0301", max_size=60),
    st.sampled_from(
        [
            "twenty-one 1,000.5 -5",
            "你好。世界",
            "שלום עולם",
            "مرحبا بالعالم",
            "\N{WOMAN}\u200d\N{GIRL} ok",
        ]
    ),
)


@given(
    text=texts,
    seconds=st.floats(0.02, 6),
    start=st.floats(0, 1e5),
    padding=st.sampled_from([0.0, 0.005, 0.3]),
    way=st.sampled_from(["attention", "estimate"]),
    calibrated=st.booleans(),
)
@example("a" * 300, 0.02, 0.0, 0.0, "attention", True)
def test_words_are_in_order_and_inside(tokenizer, text, seconds, start, padding, way, calibrated):
    samples = np.pad(noise(seconds), round(padding * RATE))
    audio = Audio(samples, RATE, start)
    ids = tuple(tokenizer.encode(text))
    slots = tokenizer.config.audio_slots(len(audio.samples) // 160)
    embeddings = np.zeros((slots, tokenizer.config.decoder.hidden_size), np.float32)
    hypothesis = Hypothesis(ids, (-0.1,) * len(ids), "end")
    heard = Heard(audio, embeddings, hypothesis, padding=padding)
    engine = ScriptedEngine(tokenizer.config, [])
    words = timer(engine, tokenizer, HALF if calibrated else None, word_times=way).words(heard)
    cleaned = clean(tokenizer.decode(ids))
    assert "".join(word.text for word in words) == "".join(cleaned.split())
    times = [time for word in words for time in (word.start, word.end)]
    assert times == sorted(times)
    assert all(heard.start <= time <= heard.end for time in times)
    assert all(word.start < word.end for word in words)
    assert all(0 < word.confidence <= 1 for word in words)


@pytest.fixture
def make(tokenizer):
    def make(*answers, calibration=None, engine=ScriptedEngine):
        made = engine(tokenizer.config, [tokenizer.encode(answer) for answer in answers])
        return Recognizer(made, tokenizer, "scripted", calibration=calibration)

    return make


def test_words_are_there_when_asked_for(make):
    sound = noise(2)
    (plain,) = (
        make("one two").transcribe(sound, replace(WORDS, words=False), source_rate=RATE).segments
    )
    transcript = make("one two").transcribe(sound, WORDS, source_rate=RATE)
    (segment,) = transcript.segments
    assert plain.words == ()
    assert replace(segment, words=()) == plain
    assert [word.text for word in segment.words] == ["one", "two"]
    # The scripted engine looks at each of seven letters for as long.
    assert [word.start for word in segment.words] == pytest.approx([0, 8 / 7], abs=0.15)
    assert 0 < transcript.timings.words < transcript.timings.total


def test_the_curve_is_used_for_words_and_segments(make):
    (raw,) = make("one two").transcribe(noise(2), WORDS, source_rate=RATE).segments
    (segment,) = (
        make("one two", calibration=HALF).transcribe(noise(2), WORDS, source_rate=RATE).segments
    )
    assert raw.words[0].confidence == pytest.approx(raw.confidence**3)
    expected = [0.4 + 0.2 * word.confidence for word in raw.words]
    assert [word.confidence for word in segment.words] == pytest.approx(expected)
    assert segment.confidence == pytest.approx(np.mean(expected))


class Blind(ScriptedEngine):
    attend = None


def test_an_engine_that_shows_no_attention_says_so_at_once(make):
    blind = make("one two", engine=Blind)
    with pytest.raises(OptionError, match=r"do not show attention.*word_times='estimate'"):
        blind.stream(noise(1), WORDS, source_rate=RATE)
    options = replace(WORDS, word_times="estimate")
    (segment,) = blind.transcribe(noise(1), options, source_rate=RATE).segments
    times = [time for word in segment.words for time in (word.start, word.end)]
    assert times == pytest.approx([0, 0.5, 0.5, 1], abs=0.05)


def test_word_times_must_be_known(make):
    with pytest.raises(
        OptionError, match="word_times is 'guess'; it must be attention or estimate"
    ):
        make("x").transcribe(noise(1), replace(WORDS, word_times="guess"), source_rate=RATE)


@pytest.fixture(scope="module")
def forced(root):
    """The words of ``samples/numbers.flac``, its text being given, by model and heads."""
    audio = load_audio(root / "samples" / "numbers.flac")
    text = (root / "samples" / "numbers.txt").read_text().strip()

    def align(model, *, calibrated):
        engine, tokenizer = load_model(model, threads=1)
        calibration = Calibration.load(resolve(model).path) if calibrated else None
        listener = Listener(engine, tokenizer, TranscribeOptions(), Stopwatch(), lambda: False)
        (heard,) = listener.hear([audio])
        ids = tuple(tokenizer.encode(text))
        told = Heard(audio, heard.embeddings, Hypothesis(ids, (0.0,) * len(ids), "end"))
        words = timer(engine, tokenizer, calibration).words(told)
        engine.close()
        assert [word.text for word in words] == text.split()
        return np.array([(word.start, word.end) for word in words])

    return align


def test_package_and_checkpoint_hear_words_at_the_same_time(forced, root):
    package = forced("ark-mini", calibrated=True)
    checkpoint = forced(root / "checkpoints" / "ark-mini", calibrated=False)
    assert np.median(np.abs(package - checkpoint)) <= 0.04


def test_the_embedded_model_is_calibrated_and_times_its_own_words(root):
    with load(threads=1) as model:
        assert model._calibration is not None
        (segment, *_) = model.transcribe(root / "samples" / "numbers.flac", WORDS).segments
    assert " ".join(word.text for word in segment.words) == segment.text
    assert len({word.confidence for word in segment.words}) > 1


class Asked(ScriptedEngine):
    """Knows what stood before the text that it aligned."""

    def attend(self, prompts, token_ids, heads=None):
        self.before = getattr(self, "before", []) + [prompt.token_ids for prompt in prompts]
        return super().attend(prompts, token_ids, heads)


def test_words_are_aligned_behind_the_text_that_they_go_on_from(make, tokenizer):
    made = make("one two", "three four", engine=Asked)
    options = replace(WORDS, context=3)
    sound = noise(1.5 * tokenizer.features.clip_seconds)
    segments = made.transcribe(sound, options, source_rate=RATE).segments
    assert [segment.text for segment in segments] == ["one two", "three four"]
    before = [ids[len(ids) - 3 :] for ids in made._engine.before]
    assert before[0] != tokenizer.encode("two") == before[1]


@pytest.mark.parametrize("given", [0, 4])
def test_joined_digits_are_found_where_they_are(speech, given):
    """Eight digits of one speaker with gaps between them: half of the starts within 80 ms.

    So are those of the last four, if the answer goes on from the first four.
    """
    rng = np.random.default_rng(4)
    digits = ["seven", "two", "nine", "one", "six", "three", "five", "eight"]
    names = {"one": 1, "two": 2, "three": 3, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9}
    parts, starts = [noise(0.3) * 0.02], []
    for digit in digits:
        path = (
            speech / "digits" / "audio" / "fsdd" / f"{names[digit]}_jackson_{rng.integers(10)}.flac"
        )
        sound = load_audio(path, sample_rate=RATE).samples
        starts.append(sum(map(len, parts)) / RATE)
        parts += [sound * (0.5 / np.abs(sound).max()), noise(rng.uniform(0.1, 0.4)) * 0.02]
    audio = Audio(np.concatenate(parts).astype(np.float32), RATE)
    folder = resolve("ark-mini")
    engine, tokenizer = load_model(folder, threads=1)
    listener = Listener(engine, tokenizer, TranscribeOptions(), Stopwatch(), lambda: False)
    (heard,) = listener.hear([audio])
    said = tuple(tokenizer.encode(" ".join(digits[:given])))
    ids = tuple(tokenizer.encode(" ".join(digits)))[len(said) :]
    told = Heard(audio, heard.embeddings, Hypothesis(ids, (0.0,) * len(ids), "end"), said=said)
    words = timer(engine, tokenizer, Calibration.load(folder.path)).words(told)
    assert [word.text for word in words] == digits[given:]
    errors = np.abs([word.start - start for word, start in zip(words, starts[given:], strict=True)])
    assert np.median(errors) < 0.08
