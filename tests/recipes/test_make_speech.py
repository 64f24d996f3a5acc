"""The recipe that makes training speech: texts, splits, effects, voices, manifests."""

from __future__ import annotations

import json
import re
import sys
import wave
from ctypes.util import find_library
from pathlib import Path
from shutil import which

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

RECIPE = Path(__file__).resolve().parents[2] / "recipes" / "ark-mini"
if str(RECIPE) not in sys.path:
    sys.path.insert(0, str(RECIPE))

import clips  # noqa: E402
import effects  # noqa: E402
import joined  # noqa: E402
import lines  # noqa: E402
import make_speech  # noqa: E402
import real_speech  # noqa: E402
import texts  # noqa: E402
import voices  # noqa: E402

NORMAL = re.compile(r"[a-z]+(?:'[a-z]+)*(?: [a-z]+(?:'[a-z]+)*)*")


@pytest.mark.parametrize(
    ("written", "normal"),
    [
        ("“Don\u2019t go!” said Mr. Brown.", "don't go said mister brown"),
        ("He stayed in the U.S. for a well-known reason—so they say.",
         "he stayed in the u s for a well known reason so they say"),
        ("I got my P M P certificate yesterday.", "i got my p m p certificate yesterday"),
        ("'Tis the boys' ball -- is it?", "tis the boys ball is it"),
        ("Chapter 2", None),
        ("The FBI came.", None),
        ("He saw Müller.", None),
        ("Near St. Paul", None),
        ("It is on TV.", None),
        ("... !", None),
    ],
)  # fmt: skip
def test_normal_form(written: str, normal: str | None) -> None:
    assert texts.normalise(written) == normal


@given(st.text(max_size=60))
def test_anything_is_normal_or_dropped(written: str) -> None:
    normal = texts.normalise(written)
    assert normal is None or NORMAL.fullmatch(normal)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0, "zero"), (19, "nineteen"), (40, "forty"), (101, "one hundred one"),
        (21_315, "twenty one thousand three hundred fifteen"), (1_000_000, "one million"),
    ],
)  # fmt: skip
def test_cardinal(value: int, words: str) -> None:
    assert texts.cardinal(value) == words


@given(st.integers(0, 999_999_999), st.integers(0, 999_999_999))
def test_no_two_numbers_are_spelled_alike(a: int, b: int) -> None:
    assert (texts.cardinal(a) == texts.cardinal(b)) == (a == b)


def test_numbers_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="cannot spell -1"):
        texts.cardinal(-1)


def test_ordinals_and_years() -> None:
    days = [texts.ordinal(day) for day in (1, 2, 3, 5, 8, 9, 12, 20, 31)]
    assert days == [
        "first", "second", "third", "fifth", "eighth", "ninth", "twelfth", "twentieth",
        "thirty first",
    ]  # fmt: skip
    assert [texts.year(y) for y in (1905, 1900, 2005, 2024)] == [
        "nineteen oh five", "nineteen hundred", "two thousand five", "twenty twenty four",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 3,000 distinct sentences, some of them long."""
    rng = np.random.default_rng(5)
    words = ["the", "old", "cat", "dog", "house", "sees", "finds", "likes", "a", "red", "tree,"]
    sentences = [
        " ".join(words[int(i)] for i in rng.integers(len(words), size=int(rng.integers(3, 45))))
        for _ in range(3000)
    ]
    folder = tmp_path_factory.mktemp("texts")
    (folder / "en-some.txt").write_text("\n".join(f"{s.capitalize()}." for s in sentences))
    return folder


@pytest.fixture(scope="module")
def corpus(folder: Path) -> texts.Corpus:
    return texts.Corpus.read([folder / "en-some.txt"])


def test_held_out_sentences_never_train(corpus: texts.Corpus) -> None:
    held = {line.text for line in corpus.held_out}
    train = {" ".join(word.text for word in piece) for piece in corpus.train}
    assert 20 < len(held) < 300  # two of a hundred sentences, long ones in several pieces
    assert not held & train
    rng = np.random.default_rng(0)
    maker = lines.LineMaker(corpus)
    assert not held & {maker.draw(rng).text for _ in range(3000)}


def test_pieces_have_the_promised_length(corpus: texts.Corpus) -> None:
    assert {len(piece) for piece in corpus.train} == set(range(texts.MIN_WORDS, 23))


def test_reserved_texts_never_train(folder: Path) -> None:
    everything = texts.Corpus.read([folder / "en-some.txt"])
    piece = next(p for p in everything.train if len(p) == 10)
    reserved = " ".join(word.text for word in piece[2:9])
    fewer = texts.Corpus.read([folder / "en-some.txt"], [f"so {reserved} indeed"])
    assert piece in everything.train
    assert piece not in fewer.train


def test_lines_are_normal_and_repeatable(corpus: texts.Corpus) -> None:
    def draw() -> list[texts.Line]:
        rng = np.random.default_rng(7)
        maker = lines.LineMaker(corpus)
        return [maker.draw(rng) for _ in range(1500)]

    drawn = draw()
    assert drawn == draw()
    assert all(NORMAL.fullmatch(line.text) for line in drawn)
    assert {line.kind for line in drawn} == {
        "sentence", "part", "digits", "number", "date", "time", "phone", "letters", "code",
        "command", "words",
    }  # fmt: skip
    generated = sum(line.kind not in ("sentence", "part") for line in drawn)
    assert 0.2 < generated / len(drawn) < 0.3


def test_single_is_the_share_of_further_lines_of_one_word(corpus: texts.Corpus) -> None:
    rng = np.random.default_rng(1)
    maker = lines.LineMaker(corpus, single=1.0)
    drawn = [maker.draw(rng) for _ in range(600)]
    assert {len(line.text.split()) for line in drawn} == {1}
    assert 0.4 < sum(line.kind == "digits" for line in drawn) / len(drawn) < 0.6

    def short(single: float) -> float:
        rng = np.random.default_rng(2)
        maker = lines.LineMaker(corpus, single=single)
        return sum(len(maker.draw(rng).text.split()) == 1 for _ in range(2000)) / 2000

    assert 0.15 < short(0.2) - short(0.0) < 0.25


def test_held_out_voices_are_never_drawn_for_training() -> None:
    rng = np.random.default_rng(3)
    engines = make_speech.TRAINING_ENGINES
    train = {voices.draw_voice(rng, engines, held_out=False).speaker for _ in range(4000)}
    unseen = {
        voices.draw_voice(rng, make_speech.UNSEEN_ENGINES, held_out=True).speaker
        for _ in range(400)
    }
    assert not train & unseen
    assert not [s for s in train if re.search(r"\+(f4|grandpa|belinda)$|scotland|rms", s)]
    assert all(re.search(r"\+(f4|grandpa|belinda)$|scotland|rms", s) for s in unseen)


def test_effects_keep_the_speech_and_the_range() -> None:
    time = np.arange(16_000) / 16_000
    speech = np.sin(2 * np.pi * 440 * time).astype(np.float32)
    for seed in range(60):
        rng = np.random.default_rng(seed)
        heard = effects.augment(rng, speech, [speech] * 6, clean=seed % 2 == 0)
        assert heard.dtype == np.float32
        assert 1.1 <= len(heard) / 16_000 <= 2.21  # the speech and 0.05 to 0.6 s on both sides
        assert np.isfinite(heard).all()
        assert 0.04 < np.abs(heard).max() < 1.0
        spectrum = np.abs(np.fft.rfft(heard))
        loudest = np.fft.rfftfreq(len(heard), 1 / 16_000)[spectrum[100:].argmax() + 100]
        assert loudest == pytest.approx(440, abs=2)


def test_narrow_is_the_share_that_lost_its_highs() -> None:
    speech = np.random.default_rng(0).standard_normal(16_000).astype(np.float32)

    def lost(seed: int, narrow: float) -> bool:
        rng = np.random.default_rng(seed)
        heard = effects.augment(rng, speech, [], clean=False, narrow=narrow)
        power = np.abs(np.fft.rfft(heard)) ** 2
        frequency = np.fft.rfftfreq(len(heard), 1 / 16_000)
        return bool(power[frequency > 7000].mean() < 0.1 * power[frequency < 3000].mean())

    # Some are noisy or coarse as well, and then have highs again.
    assert sum(lost(seed, 1.0) for seed in range(60)) > 30
    assert sum(lost(seed, 0.0) for seed in range(60)) < 10


def test_noise_has_the_asked_colour() -> None:
    rng = np.random.default_rng(0)
    power = [np.abs(np.fft.rfft(effects.coloured_noise(rng, 65_536, s))) ** 2 for s in (0, 0.5, 1)]
    # Per octave, white gains 3 dB, pink and brown lose 3 and 6 against it.
    drops = [float(np.log2(p[2000:4000].mean() / p[4000:8000].mean())) for p in power]
    assert drops == pytest.approx([0, 1, 2], abs=0.2)


def test_plan_of_a_shard_depends_on_seed_and_number_only(folder: Path, tmp_path: Path) -> None:
    def job(split: str, index: int, count: int | None = None, seed: int = 1) -> make_speech.Job:
        return make_speech.Job(split, index, count, seed, tmp_path, folder, ())

    first = make_speech.plan(job("train", 0))
    assert first == make_speech.plan(job("train", 0))
    assert first != make_speech.plan(job("train", 1))
    assert first != make_speech.plan(job("train", 0, seed=2))
    dev = make_speech.plan(job("dev-synthetic", 0, 30))
    seen = make_speech.plan(job("test-seen-voices", 0, 30))
    assert not {u.line.text for u in dev} & {u.line.text for u in seen}


@pytest.mark.skipif(
    not (find_library("espeak-ng") and find_library("flite") and which("festival")),
    reason="espeak-ng, flite and festival are not all installed",
)
def test_a_shard_with_its_manifest(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(make_speech, "SHARD_SECONDS", 30.0)
    job = make_speech.Job("train", 3, None, 1, tmp_path, folder, ())
    make_speech.make_shard(job)
    assert make_speech.gather(tmp_path, "train") > 3
    rows = [json.loads(line) for line in (tmp_path / "train.jsonl").read_text().splitlines()]
    with wave.open(str(tmp_path / rows[0]["audio"])) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (16_000, 1, 2)
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    assert rows[0]["begin_time"] == 0
    assert round(rows[-1]["end_time"] * 16_000) == len(samples)
    for row, following in zip(rows, [*rows[1:], None], strict=True):
        piece = samples[round(row["begin_time"] * 16_000) : round(row["end_time"] * 16_000)]
        assert len(piece) == round(row["duration"] * 16_000)
        assert np.abs(piece).max() > 1000
        assert following is None or following["begin_time"] == row["end_time"]
    assert not list(tmp_path.rglob("*.partial"))


def _clip(name: str, text: str, source: str = "speechocean762") -> clips.Clip:
    return clips.Clip(Path(name), text, 1.0, "someone", source, "train")


def test_wake_words_are_capped_and_digits_sorted() -> None:
    wake = [_clip(f"{i}.wav", "computer") for i in range(90)] + [_clip("x.wav", "one two")]
    kept = real_speech.capped(wake)
    assert [clip.text for clip in kept].count("computer") == real_speech.CLIPS_PER_TEXT
    assert kept == real_speech.capped(reversed(wake))
    items = joined.Items.sort([*wake, _clip("q.wav", "q"), _clip("l.wav", "how are you now")])
    assert (list(items.digits), list(items.letters), list(items.words)) == (
        ["one two"], ["q"], ["computer"],
    )  # fmt: skip


def test_real_manifests(speech: Path) -> None:
    sets = real_speech.manifests(speech)
    train = sets["real-train"]
    assert not [c for c in train if c.source.startswith(("FSDD", "Asterisk", "art4apps"))]
    assert {c.split for c in train} == {"train"}
    speakers = {c.speaker for c in train}
    for name, rows in sets.items():
        if name != "real-train":
            assert rows
            assert not speakers & {c.speaker for c in rows}
    assert all(re.fullmatch(r"[a-z' ]+", c.text) for rows in sets.values() for c in rows)
