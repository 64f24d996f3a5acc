"""What is settled never changes, and the newest word is never settled."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ark_asr.pipeline.settling import Settling

# One token per piece, as a byte-pair vocabulary would have them.
PIECES = [
    "the",
    " the",
    " ca",
    "t",
    " dog",
    "s",
    ",",
    " ",
    "你",
    "好",
    "。",
    "학교",
    "에",
    "서",
    " 갔",
]


def decode(tokens):
    return "".join(PIECES[token] for token in tokens)


def ids(text):
    """Longest piece first."""
    found = []
    while text:
        best = max((p for p in PIECES if text.startswith(p)), key=len)
        found.append(PIECES.index(best))
        text = text[len(best) :]
    return found


def settled_after(*looks):
    """Looks are whole texts; each must go on from what is settled, as a session asks for it."""
    settling = Settling(decode)
    for look in looks:
        rest = look.removeprefix(decode(settling.tokens))
        settling.look(ids(rest))
    return decode(settling.tokens)


def test_one_look_settles_nothing():
    assert settled_after("the cat the dog") == ""


def test_what_two_looks_agree_on_is_settled_but_for_the_newest_word():
    assert settled_after("the cat", "the cat") == "the"
    assert settled_after("the cat", "the cat the") == "the cat"
    assert settled_after("the dog", "the cat the") == "the"


def test_a_word_is_settled_whole():
    # " ca" is common to both looks, but it is not a word of either.
    assert settled_after("the ca", "the cat the") == "the"


def test_punctuation_goes_with_its_word():
    assert settled_after("the cat, the", "the cat, the dog") == "the cat, the"


def test_without_spaces_every_character_can_settle():
    assert settled_after("你好。", "你好。") == "你好"


def test_korean_has_spaces():
    # The first look had not heard the end of the word.
    assert settled_after("학교에", "학교에서") == ""
    assert settled_after("학교에서", "학교에서 갔") == "학교에서"
    assert settled_after("你학교", "你학교에") == "你"


def test_what_contradicts_the_settled_words_is_not_shown():
    settling = Settling(decode)
    for look in ("the cat", "the cat the"):
        settling.look(settling.behind(ids(look)))
    assert decode(settling.tokens) == "the cat"
    assert decode(settling.behind(ids("the cat the dog"))) == " the dog"
    assert settling.behind(ids("the dog the cat")) == ()
    assert settling.behind(ids("the")) == ()


@given(st.lists(st.lists(st.integers(0, len(PIECES) - 1), max_size=12), max_size=8))
def test_settled_text_only_grows(looks):
    settling = Settling(decode)
    before, previous = [], []
    for look in looks:
        settling.look(look)
        now = settling.tokens
        assert now[: len(before)] == before
        new = now[len(before) :]
        # Both looks said it, and the latest one said something behind it.
        assert new == look[: len(new)] == previous[: len(new)]
        assert not new or len(look) > len(new)
        before, previous = list(now), look[len(new) :]
