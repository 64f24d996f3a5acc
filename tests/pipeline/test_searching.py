"""Beams, n-best lists and hot words on the road, with an engine that wavers between two answers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ark_asr import OptionError, Recognizer, TranscribeOptions
from ark_asr.engines.scripted import ScriptedEngine
from ark_asr.models.tokenizer import Tokenizer
from ark_asr.pipeline.options import beam_width

WHOLE = TranscribeOptions(vad=False, mend=False)


class Torn(ScriptedEngine):
    """Says the first text of each pair with 0.6 a token, and the second in its place with 0.3."""

    def __init__(self, tokenizer, *pairs):
        said, self.rivals = (
            [tokenizer.encode(text) for text in side] for side in zip(*pairs, strict=True)
        )
        super().__init__(tokenizer.config, said, probability=0.6)

    def _play(self, state):
        state = super()._play(state)
        for row, clip in enumerate(state.clips):
            if state.played < len(self.rivals[clip]):
                rival = self.rivals[clip][state.played]
                state.logits[row, rival] = max(state.logits[row, rival], np.log(0.3))
        return state


@pytest.fixture
def tokenizer(byte_checkpoint):
    return Tokenizer.load(byte_checkpoint)


def transcribe(engine, tokenizer, **options):
    sound = np.random.default_rng(0).normal(0, 0.05, 4 * 16_000).astype(np.float32)
    recognizer = Recognizer(engine, tokenizer, "torn")
    return recognizer.transcribe(sound, replace(WHOLE, **options), source_rate=16_000).segments[0]


def test_readings_are_ranked_and_differ(tokenizer):
    pair = ("see the arc", "see the ark")
    segment = transcribe(Torn(tokenizer, pair), tokenizer, nbest=3)
    assert segment.text == "see the arc"
    assert segment.alternatives[0].text == "see the ark"
    texts = [segment.text, *(other.text for other in segment.alternatives)]
    assert len(texts) == len(set(texts)) == 3
    assert segment.confidence > segment.alternatives[0].confidence > 0
    assert transcribe(Torn(tokenizer, pair), tokenizer, beam_size=3).alternatives == ()


def test_readings_that_only_look_different_to_the_model_are_one(tokenizer):
    segment = transcribe(Torn(tokenizer, ("an ark ", "an ark,")), tokenizer, nbest=4)
    assert "an ark" not in [other.text for other in segment.alternatives]


def test_hot_words_win_and_do_not_lift_the_confidence(tokenizer):
    pair = ("see the arc", "see the ark")
    plain = transcribe(Torn(tokenizer, pair), tokenizer, beam_size=4)
    hot = transcribe(Torn(tokenizer, pair), tokenizer, hotwords=("Ark",), hotword_boost=1.0)
    assert (plain.text, hot.text) == ("see the arc", "see the ark")
    assert hot.confidence < plain.confidence


def test_a_boost_of_any_size(tokenizer):
    """More than the model's doubt is never given, so nothing can overflow."""
    pair = ("see the arc", "see the ark")
    hot = transcribe(Torn(tokenizer, pair), tokenizer, hotwords=("ark",), hotword_boost=1e300)
    assert "ark" in hot.text


def test_a_beam_of_one_clip_is_not_disturbed_by_the_others(tokenizer):
    pairs = [("one two", "one too"), ("three", "trees"), ("four five six", "for fife sicks")]
    sound = np.random.default_rng(0).normal(0, 0.05, 90 * 16_000).astype(np.float32)
    texts = []
    for size in (1, 3):
        recognizer = Recognizer(Torn(tokenizer, *pairs, ("x", "y")), tokenizer, "torn")
        options = replace(WHOLE, batch_size=size, nbest=2)
        found = recognizer.transcribe(sound, options, source_rate=16_000).segments
        texts.append([(segment.text, segment.alternatives) for segment in found])
    assert texts[0] == texts[1]


@pytest.mark.parametrize(
    ("options", "width"),
    [
        ({}, 1), ({"beam_size": 3}, 3), ({"nbest": 2}, 4), ({"nbest": 7}, 7),
        ({"hotwords": ("ark",)}, 4), ({"hotwords": ("ark",), "beam_size": 2}, 2),
    ],
)  # fmt: skip
def test_the_width_that_is_needed(options, width):
    assert beam_width(TranscribeOptions(**options)) == width


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beam_size": 0}, "beam_size is 0; it must be a whole number, 1 to 8"),
        ({"beam_size": 9}, "beam_size is 9"),
        ({"beam_size": True}, "beam_size is True"),
        ({"nbest": None}, "nbest is None"),
        ({"nbest": 3, "beam_size": 2}, "nbest is 3, more than the beam_size of 2"),
        ({"hotwords": ("ark",), "beam_size": 1}, "beam_size of at least 2"),
        ({"hotwords": "ark"}, "in a tuple"),
        ({"hotwords": ("ark :-1",)}, "positive weight"),
        ({"hotword_boost": 0}, "hotword_boost is 0; it must be a positive number"),
        ({"hotword_boost": float("nan")}, "hotword_boost is nan"),
        # As an argument of the program, bytes that are no UTF-8 arrive so.
        ({"hotwords": ("ark", "caf\udce9")}, r"hotwords: 'caf\\udce9' holds what is no UTF-8 text"),
        ({"instruction": "\udce9"}, r"instruction: '\\udce9' holds what is no UTF-8 text"),
        ({"instruction": "hi <|audio|>"}, r"instruction: 'hi <\|audio\|>' holds a control token"),
        ({"hotwords": ("<|im_end|>",)}, r"hotwords: '<\|im_end\|>' holds a control token"),
    ],
)
def test_senseless_options_are_refused(tokenizer, options, message):
    with pytest.raises(OptionError, match=message):
        transcribe(Torn(tokenizer, ("a", "b")), tokenizer, **options)


def test_an_engine_that_cannot_follow_several_hypotheses_says_so(tokenizer):
    engine = Torn(tokenizer, ("a", "b"))
    engine.select = None
    with pytest.raises(OptionError, match="Torn follows one hypothesis only"):
        transcribe(engine, tokenizer, beam_size=2)
    assert transcribe(engine, tokenizer).text == "a"
