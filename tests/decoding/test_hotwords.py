"""Hot words: what they are worth at every moment, and that nothing is left of a false start."""

from __future__ import annotations

import math
import os
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ark_asr.decoding.beam import beam
from ark_asr.decoding.hotwords import HotWord, HotWords, Match, read_hot_words
from ark_asr.errors import OptionError
from ark_asr.models.tokenizer import Tokenizer
from ark_asr.types import Prompt


@pytest.fixture(scope="module")
def tokenizer(byte_checkpoint):
    return Tokenizer.load(byte_checkpoint)


def output_ids(tokenizer):
    return np.setdiff1d(np.arange(tokenizer.config.decoder.vocab_size), tokenizer.suppressed_ids)


def hot(tokenizer, *words, boost=1.0):
    return HotWords(words, boost, tokenizer, output_ids(tokenizer))


def columns(tokenizer, text):
    return np.searchsorted(output_ids(tokenizer), tokenizer.encode(text)).tolist()


def read(words, tokenizer, text):
    """The match after a text; on the way, what was foretold must come true."""
    match = Match()
    unlikely = np.full(len(output_ids(tokenizer)), -100, np.float32)
    for column in columns(tokenizer, text):
        foretold = words.bonuses(match, unlikely)[column]
        match = words.advance(match, column, -100.0)
        assert match.bonus == pytest.approx(foretold)
    return match


def worth(words, tokenizer, text):
    """What is left when the text is over."""
    return read(words, tokenizer, text).complete()


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("ark", 3), ("an ark", 4), ("Ark", 3), ("the Ark.", 4), ("(ark)", 3), ("ark's", 3),
        ("ARK", 0), ("arks", 0), ("dark", 0), ("the lark", 0), ("ar", 0), ("ar k", 0), ("", 0),
        ("ark and ark", 7), ("ark-ark", 6), ("arkark", 0), ("éark", 0),
    ],
)  # fmt: skip
def test_only_whole_words_are_worth_something(tokenizer, text, tokens):
    assert worth(hot(tokenizer, "ark"), tokenizer, text) == tokens


def test_a_beginning_counts_while_it_lives(tokenizer):
    words = hot(tokenizer, "ark", boost=2.0)
    bonus = [read(words, tokenizer, text).bonus for text in ("a", "ar", "ark", "ark,", "arks")]
    assert bonus == [2, 4, 6, 6, 0]


def test_overlapping_words_are_not_counted_twice(tokenizer):
    words = hot(tokenizer, "new york", "york times", "new york times")
    assert worth(words, tokenizer, "new york") == 8
    assert worth(words, tokenizer, "new york times") == 14
    assert worth(words, tokenizer, "new york timid") == 8  # falls back on the shorter one
    assert worth(words, tokenizer, "in york times") == 11


def test_weights(tokenizer):
    words = hot(tokenizer, "ark :3", "art", boost=0.5)
    assert read(words, tokenizer, "ar").bonus == 3.0
    assert worth(words, tokenizer, "art") == 1.5  # not what was promised to the heavier word
    assert worth(words, tokenizer, "ark") == 4.5


def test_what_the_model_is_sure_of_needs_no_help(tokenizer):
    words, match = hot(tokenizer, "ark", boost=2.0), Match()
    logprobs = np.zeros(len(output_ids(tokenizer)), np.float32)
    for column, logprob in zip(columns(tokenizer, "ark"), (-0.5, 0.0, -3.0), strict=True):
        logprobs[column] = logprob
        foretold = words.bonuses(match, logprobs)[column]
        match = words.advance(match, column, logprob)
        assert match.bonus == pytest.approx(foretold)
    assert match.complete() == 0.5 + 0.0 + 2.0


def test_scripts_without_spaces_need_none(tokenizer):
    words = hot(tokenizer, "東京")
    assert worth(words, tokenizer, "私は東京都へ") == len("東京".encode())
    assert worth(words, tokenizer, "東") == 0
    words = hot(tokenizer, "奈々")  # ends in a sign of repetition
    assert worth(words, tokenizer, "私は奈々が") == len("奈々".encode())


def test_korean_words_take_particles(tokenizer):
    words = hot(tokenizer, "서울")
    for text in ("서울", "나는 서울에서 왔다", "서울은", "서울."):
        assert worth(words, tokenizer, text) >= len("서울".encode()), text
    assert worth(words, tokenizer, "서운") == worth(words, tokenizer, "새서울") == 0


@settings(max_examples=30)
@given(data=st.data())
def test_like_the_best_way_to_place_the_words(tokenizer, data):
    letters = st.text("ab ", max_size=5).map(lambda word: " ".join(word.split())).filter(bool)
    chosen = data.draw(st.lists(letters, min_size=1, max_size=4, unique=True))
    text = data.draw(st.text("ab -", max_size=14))
    words = hot(tokenizer, *chosen, boost=1.0)
    spellings = {form for word in chosen for form in (word, f" {word}")}

    def fits(start, form):
        end = start + len(form)
        before, after = text[start - 1 : start], text[end : end + 1]
        opens = form[0] == " " or not before or not before.isalnum()
        return text.startswith(form, start) and opens and not after.isalnum()

    best = [0] * (len(text) + 1)
    for start in reversed(range(len(text))):
        ways = [len(f) + best[start + len(f)] for f in spellings if fits(start, f)]
        best[start] = max([best[start + 1], *ways])
    assert worth(words, tokenizer, text) == best[0]


class Telling:
    """Says each of these texts with its chance."""

    def __init__(self, tokenizer, texts):
        self.output_ids = output_ids(tokenizer)
        self.max_positions = 100
        self._end = tokenizer.config.eos_token_ids[0]
        self._ways = [(tokenizer.encode(text), chance) for text, chance in texts.items()]

    def logits_after(self, said):
        chances = np.full(len(self.output_ids), 1e-7)
        for ids, chance in self._ways:
            if list(said) == ids[: len(said)]:
                following = [*ids, self._end][len(said)]
                chances[np.searchsorted(self.output_ids, following)] += chance
        return np.log(chances / chances.sum()).astype(np.float32)

    def start(self, prompts, max_new_tokens):
        return self._state([()])

    def step(self, state, token_ids):
        return self._state([(*h, int(i)) for h, i in zip(state.said, token_ids, strict=True)])

    def select(self, state, rows):
        return self._state([state.said[row] for row in rows])

    def _state(self, said):
        state = type("State", (), {})()
        state.said, state.logits = said, np.stack([self.logits_after(row) for row in said])
        return state


def say(engine, tokenizer, words, width=2):
    (found,) = beam(
        engine, [Prompt([1], np.zeros((1, 2), np.float32))], width=width, rules=[],
        stop_ids=tokenizer.stop_ids, max_new_tokens=40, hot_words=words,
    )  # fmt: skip
    return tokenizer.decode(found.token_ids), found


def test_a_hot_word_wins_against_a_likelier_one(tokenizer):
    engine = Telling(tokenizer, {"see the arc": 0.9, "see the ark": 0.1})
    assert say(engine, tokenizer, None)[0] == "see the arc"
    text, found = say(engine, tokenizer, hot(tokenizer, "ark", boost=3.0))
    assert text == "see the ark"
    # Without the hot word's worth: the model did not believe in it.
    assert sum(found.logprobs) == pytest.approx(math.log(0.1), abs=1e-3)


def test_false_starts_do_not_crowd_out_what_is_said(tokenizer):
    engine = Telling(tokenizer, {"a word": 0.5, "a bird": 0.25, "a nerd": 0.25})
    words = hot(tokenizer, "banana", "nutmeg", boost=3.0)
    assert say(engine, tokenizer, words)[0] == "a word"


def test_a_word_that_the_model_would_not_write_does_not_come_from_nowhere(tokenizer):
    engine = Telling(tokenizer, {"a word": 0.6, "a ward": 0.4})
    words = hot(tokenizer, "banana", "ark", "word of", boost=2.0)
    assert say(engine, tokenizer, words, width=4)[0] == "a word"


def test_a_word_that_the_model_cannot_write_is_refused(tokenizer):
    few = np.array(sorted({*tokenizer.encode("ark A"), *tokenizer.stop_ids}))
    HotWords(["ark"], 1.0, tokenizer, few)
    with pytest.raises(OptionError, match="'art': the model cannot write it"):
        HotWords(["art"], 1.0, tokenizer, few)


def test_a_vocabulary_is_spelled_out_once(byte_checkpoint, monkeypatch):
    tokenizer = Tokenizer.load(byte_checkpoint)
    spelled = []

    def decode(self, token_ids):
        spelled.append(token_ids)
        return str(self.raw.decode(list(token_ids), skip_special_tokens=False))

    monkeypatch.setattr(Tokenizer, "decode", decode)
    assert worth(hot(tokenizer, "ark"), tokenizer, "an ark") == 4
    count = len(spelled)
    assert count == len(output_ids(tokenizer))
    assert worth(hot(tokenizer, "banana"), tokenizer, "a banana.") == 7
    assert len(spelled) == count
    few = np.array(sorted({*tokenizer.encode("ark A"), *tokenizer.stop_ids}))
    HotWords(["ark"], 1.0, tokenizer, few)  # the columns of another head
    assert len(spelled) == count + len(few)


def test_a_list_and_a_file(tmp_path):
    assert read_hot_words("Ljubljana, fast Fourier transform ,Čapek :2,") == (
        "Ljubljana", "fast Fourier transform", "Čapek :2",
    )  # fmt: skip
    assert read_hot_words("TCP/IP,") == ("TCP/IP",)
    file = tmp_path / "names"
    text = "# the course\n\nLjubljana # a city\nsee, hear :0.5\nC#\tnot C\nC# :2 #\n\t#none\n"
    words = ("Ljubljana", "see, hear :0.5", "C#\tnot C", "C# :2")
    file.write_text(text, encoding="utf-8-sig")
    assert read_hot_words(str(file)) == words
    if hasattr(os, "mkfifo"):
        os.mkfifo(pipe := tmp_path / "pipe")
        writer = threading.Thread(target=pipe.write_text, args=(text,), daemon=True)
        writer.start()
        assert read_hot_words(str(pipe)) == words
        writer.join()


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("fast  Fourier", HotWord("fast  Fourier")), ("Čapek :2", HotWord("Čapek", 2.0)),
        (" a :.5", HotWord("a", 0.5)), ("12:30", HotWord("12:30")),
    ],
)  # fmt: skip
def test_words_and_weights(text, word):
    assert HotWord.parse(text) == word


@pytest.mark.parametrize(
    "text", ["ark :0", "ark :-1", "ark :much", " :2", ":2", "ark :inf", "ark :", " "]
)
def test_bad_weights_are_refused(text):
    with pytest.raises(OptionError, match="positive weight"):
        HotWord.parse(text)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("names.txt", "names.txt: no such file"),
        ("a/names", "no such file"),
        (" , ", "no hot words"),
    ],
)
def test_bad_lists_are_refused(source, message):
    with pytest.raises(OptionError, match=message):
        read_hot_words(source)


def test_a_file_that_is_no_text_is_refused(tmp_path):
    file = tmp_path / "names"
    for data in (b"\xff\xfe\x00", "Ljubljana".encode("utf-16-le")):
        file.write_bytes(data)
        with pytest.raises(OptionError, match="UTF-8"):
            read_hot_words(str(file))
