"""The clean-up: the published rules, the two differences, and what must hold for any text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ark_asr.decoding.text import clean
from ark_asr.models.tokenizer import CONTROL_TOKENS


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("hello world", "hello world"),
        ("hello<|im_end|>", "hello"),
        ("hello<|im_end|><|endoftext|><|endoftext|>", "hello"),
        ("hello<|user|>more", "hello"),
        ("hello<|assistant|> more<|im_end|>", "hello"),
        ("<|im_end|>hello", ""),
        ("en<|text|> hello", "hello"),
        ("a<|text|>b<|text|>c", "b c"),
        ("a<|im_end|>b<|text|>c", "a"),
        ("<|bicodec_semantic_17|>one<|bicodec_global_3|> two", "one two"),
        ("<|start_content|>one<|end_content|>", "one"),
        ("  one \n\t two  ", "one two"),
        (". hello", "hello"),
        (".,;:!?- hello", "hello"),
        (" . ", ""),
        ("", ""),
        ("it is -5", "it is -5"),
        ("yes.", "yes."),
        # What the published rule loses:
        ("-5 degrees", "-5 degrees"),
        (". -5 degrees", "-5 degrees"),
        ("-.5", "-.5"),
        ("--5", "-5"),
        # and what stays noise:
        ("- 5", "5"),
        ("- five", "five"),
        (".5", "5"),
        # Not markers:
        ("1 < 2 | 3 > 2", "1 < 2 | 3 > 2"),
        ("<text>", "<text>"),
    ],
)
def test_rules(raw, expected):
    assert clean(raw) == expected


pieces = st.sampled_from(
    [*CONTROL_TOKENS, "<|text|>", "<|bicodec_global_1|>", "<|", "|>", "<", ">"]
)
raw_texts = st.lists(st.one_of(pieces, st.text(max_size=4), st.sampled_from("-.,5 \n"))).map(
    "".join
)


@given(raw_texts)
def test_cleaning_twice_changes_nothing_more(raw):
    assert clean(clean(raw)) == clean(raw)


@given(raw_texts)
def test_no_control_token_no_odd_space_is_left(raw):
    text = clean(raw)
    assert not any(token in text for token in (*CONTROL_TOKENS, "<|text|>"))
    assert text == " ".join(text.split())
    assert not text.startswith((",", ".", ";", ":", "!", "?"))


@given(st.lists(st.text("abcXYZ0123äé'.,-", min_size=1), min_size=1))
def test_words_stay_as_they_are(words):
    words[0] = "w" + words[0]
    assert clean(" ".join(words)) == " ".join(words)
