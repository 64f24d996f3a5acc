"""Words of an answer and their tokens: any script, any way of cutting text into tokens."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer as RawTokenizer
from tokenizers import decoders, pre_tokenizers
from tokenizers.models import BPE

from ark_asr.decoding.text import clean
from ark_asr.decoding.words import spell, word_spans


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("hello world", ["hello", "world"]),
        ("<|text|>. Hello,  world!<|im_end|>x", ["Hello,", "world!"]),
        ("well-known twenty-one 1,000.5 -5", ["well-known", "twenty-one", "1,000.5", "-5"]),
        ("你好，世界。", ["你", "好，", "世", "界。"]),  # noqa: RUF001
        ("二〇〇八年々々", ["二", "〇", "〇", "八", "年", "々", "々"]),  # noqa: RUF001
        ("他说「你好」吗", ["他", "说", "「你", "好」", "吗"]),
        ("用Python写", ["用", "Python", "写"]),
        ("3月 A股", ["3", "月", "A", "股"]),
        ("コーヒー", ["コ", "ー", "ヒ", "ー"]),
        ("ที่นี่", ["ที่", "นี่"]),
        ("한국어 말", ["한국어", "말"]),
        ("שלום עולם", ["שלום", "עולם"]),
        ("مرحبا بالعالم", ["مرحبا", "بالعالم"]),
        ("cafe\u0301 na\u0308iv", ["cafe\u0301", "na\u0308iv"]),
        ("good 👍🏽 👩‍👩‍👧 day", ["good", "👍🏽", "👩‍👩‍👧", "day"]),
        ("wait – what", ["wait", "–", "what"]),  # noqa: RUF001
        ("𠀀𠀁", ["𠀀", "𠀁"]),
        ("", []),
    ],
)
def test_words(text, words):
    assert [text[first:end] for first, end in word_spans(text)] == words


def letters(*tokens):
    """A decoder whose tokens are whole pieces of text."""
    return range(len(tokens)), lambda ids: "".join(tokens[i] for i in ids)


def places(ids, decode):
    return [(word.text, word.first, word.end) for word in spell(ids, decode)]


def test_a_word_has_its_tokens():
    ids, decode = letters("<|x|>", "hel", "lo", " wor", "ld", " ", "a")
    assert places(ids, decode) == [("hello", 1, 3), ("world", 3, 5), ("a", 6, 7)]


def test_words_share_a_token_evenly():
    assert places(*letters("你好", "a b")) == [
        ("你", 0, 0.5), ("好", 0.5, 1), ("a", 1, 1.5), ("b", 1.5, 2),
    ]  # fmt: skip
    assert [list(word.tokens) for word in spell(*letters("你好", "a b"))] == [[0], [0], [1], [1]]


@pytest.fixture(scope="module")
def byte_tokenizer():
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    raw = RawTokenizer(BPE({letter: id_ for id_, letter in enumerate(alphabet)}, []))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    raw.decoder = decoders.ByteLevel()
    return raw


def test_a_character_of_several_tokens_has_them_all(byte_tokenizer):
    ids = byte_tokenizer.encode("a好 é").ids
    assert places(ids, byte_tokenizer.decode) == [("a", 0, 1), ("好", 1, 4), ("é", 5, 7)]


scripts = st.one_of(
    st.text(max_size=30),
    st.text("abc def-1,5 你好。ไทยที่ かな ـשמعر 👍🏽é\u0301", max_size=40),
)


@given(text=scripts, data=st.data())
def test_words_are_the_cleaned_text_and_in_order(byte_tokenizer, text, data):
    """Whatever the tokens: bytes, or pieces of characters cut anywhere."""
    if data.draw(st.booleans()):
        ids, decode = byte_tokenizer.encode(text).ids, byte_tokenizer.decode
    else:
        cuts = sorted(data.draw(st.sets(st.integers(0, len(text)), max_size=8)) | {0, len(text)})
        ids, decode = letters(*(text[a:b] for a, b in pairwise(cuts)))
    words = spell(ids, decode)
    assert "".join(word.text for word in words) == "".join(clean(decode(ids)).split())
    edges = [edge for word in words for edge in (word.first, word.end)]
    assert edges == sorted(edges)
    assert all(0 <= word.first < word.end <= len(ids) for word in words)


@given(st.lists(st.integers(0, 255), max_size=12))
def test_bytes_that_are_no_text(byte_tokenizer, ids):
    words = spell(ids, byte_tokenizer.decode)
    assert "".join(word.text for word in words) == "".join(
        clean(byte_tokenizer.decode(ids)).split()
    )
    assert all(0 <= word.first < word.end <= len(ids) for word in words)
