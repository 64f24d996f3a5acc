# ruff: noqa: RUF001 - full-width forms are what is tested
"""What counts as an error, against rows worked out by hand and an edit distance of our own."""

from __future__ import annotations

import kaldialign
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ark_asr.errors import OptionError
from ark_asr.evaluation import text as steps
from ark_asr.evaluation.english import english
from ark_asr.evaluation.intervals import difference, interval
from ark_asr.evaluation.schemes import SCHEMES, Edits, get_scheme

TEXTS = st.text(st.sampled_from("ab c'-.,1你好です한국 é“；Ａ"), max_size=12)


def distance(one, other):
    """Levenshtein's, by the book."""
    row = list(range(len(other) + 1))
    for i, a in enumerate(one, 1):
        previous, row = row, [i]
        for j, b in enumerate(other, 1):
            row.append(min(previous[j] + 1, row[-1] + 1, previous[j - 1] + (a != b)))
    return row[-1]


@pytest.mark.parametrize(
    ("reference", "hypothesis", "words", "chars", "wer_errors", "cer_errors", "without_jiwer"),
    [
        # One letter of eleven (with the space), times the ten that are no spaces.
        ("Hello, World!", "hello word", 2, 10, 1, 10 / 11, (1, 1)),
        # By characters, because the reference is Chinese.
        ("你好，世界", "你好世", 4, 4, 1, 1, (1, 1)),
        # Korean too; the space it lacks is an error only where spaces count.
        ("안녕 하세요", "안녕하세요", 5, 5, 5 / 6, 5 / 6, (0, 0)),
        # Full-width digits and signs are mapped, and the signs then taken out.
        ("１２％：３", "123", 1, 3, 0, 0, (0, 0)),
        # Curly quotes and full-width semicolons are not in the list.
        ("“a” b", "a b", 2, 4, 1, 2 / 5 * 4, (1, 2)),
        ("甲；乙", "甲乙", 3, 3, 1, 1, (1, 1)),
        # Mixed: the whole row by characters.
        ("我有 apple", "我 apple", 7, 7, 7 / 8, 7 / 8, (1, 1)),
        ("", "what is this", 0, 0, 0, 0, (0, 0)),
        ("...", "what", 0, 0, 0, 0, (0, 0)),
        ("a b c", "", 3, 3, 3, 3, (3, 3)),
        ("-5 °C", "5 °C", 2, 3, 0, 0, (0, 0)),
    ],
)
def test_ark_by_hand(reference, hypothesis, words, chars, wer_errors, cer_errors, without_jiwer):
    found = get_scheme("ark").score(reference, hypothesis)
    assert (found.ref_words, found.ref_chars) == (words, chars)
    assert found.wer_errors == pytest.approx(wer_errors)
    assert found.cer_errors == pytest.approx(cer_errors)
    found = get_scheme("ark-without-jiwer").score(reference, hypothesis)
    assert (found.ref_words, found.ref_chars) == (words, chars)
    assert (found.wer_errors, found.cer_errors) == without_jiwer


@given(TEXTS, TEXTS)
def test_ark_against_an_edit_distance_by_the_book(reference, hypothesis):
    ref, hyp = steps.published(reference), steps.published(hypothesis)
    found = get_scheme("ark-without-jiwer").score(reference, hypothesis)
    if not ref:
        assert (found.wer_errors, found.cer_errors, found.ref_words) == (0, 0, 0)
        return
    chars = distance(ref.replace(" ", ""), hyp.replace(" ", ""))
    assert found.cer_errors == chars
    cjk = steps.has_cjk(reference)
    assert found.wer_errors == (chars if cjk else distance(ref.split(), hyp.split()))
    assert found.word_edits.total == found.wer_errors
    quirk = get_scheme("ark").score(reference, hypothesis)
    assert quirk.cer_errors == pytest.approx(distance(ref, hyp) / len(ref) * found.ref_chars)


@given(TEXTS, TEXTS)
@example("", "a b")
def test_basic_against_an_edit_distance_by_the_book(reference, hypothesis):
    found = get_scheme("basic").score(reference, hypothesis)
    ref, hyp = (steps.words(steps.plain(one)) for one in (reference, hypothesis))
    assert (found.wer_errors, found.ref_words) == (distance(ref, hyp), len(ref))
    assert found.cer_errors == distance("".join(ref), "".join(hyp))
    assert found.word_edits.total == found.wer_errors


@pytest.mark.parametrize(
    ("reference", "hypothesis", "edits", "words"),
    [
        ("It\u2019s a dog's life, isn't it?", "it's a DOG'S life isn't it", Edits(), 6),
        ("'quoted' words", "quoted words", Edits(), 2),
        ("今日は２時です", "今日は2時だ", Edits(1, 1, 0), 7),
        ("二〇〇八年 人々々", "二〇一八年 人々", Edits(1, 1, 0), 8),
        ("𠮷𠮷野家 アㇰㇷ゚", "吉𠮷野家 アㇰㇷ゚", Edits(1, 0, 0), 8),
        ("나는 학교에 간다", "나는 학교 에 간다", Edits(1, 0, 1), 3),
        ("one two", "one three four", Edits(1, 0, 1), 2),
        ("one two", "", Edits(0, 2, 0), 2),
        ("", "one two", Edits(0, 0, 2), 0),
        ("naïve café", "NAÏVE CAFE\u0301", Edits(), 2),
    ],
)
def test_basic_by_hand(reference, hypothesis, edits, words):
    found = get_scheme("basic").score(reference, hypothesis)
    assert (found.word_edits, found.ref_words) == (edits, words)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("I'm gonna, uh, [laughs] go", "i am going to go"),
        ("We won't; they can't", "we will not they can not"),
        ("Two hundred and five men and women", "205 men and women"),
        ("twenty-three and four", "23 and 4"),
        ("three million one hundred thousand and two", "3100002"),
        ("one two three", "1 2 3"),
        ("twenty ten", "20 10"),
        ("1,234,567 people, 50%", "1234567 people 50 percent"),
        ("$20 & 3.5", "20 dollars and 3 point 5"),
        ("£1,000 or € 5.", "1000 pounds or 5 euros"),
        ("£20 Million, $1.5 billion", "20 million pounds 1 point 5 billion dollars"),
        ("£20m, €5.5bn", "20m 5 point 5bn"),
        ("3.14 or three point one four", "3 point 1 4 or 3 point 1 4"),
        ("release 1.20.3", "release 1 point 2 0 point 3"),
        ("the colours of the theatre", "the colors of the theater"),
        ("Mr. Smith said OK", "mister smith said okay"),
        ("a thousand and one nights", "a thousand and 1 nights"),
        ("hundred", "hundred"),
        ("one thousand and", "1000 and"),
        ("between one thousand and two thousand", "between 1000 and 2000"),
        ("between one hundred and two hundred", "between 100 and 200"),
        ("one hundred two hundred", "100 200"),
        ("one hundred and two thousand", "102000"),
    ],
)
def test_english(text, expected):
    assert english(text) == expected


@given(st.integers(0, 10**12 - 1))
def test_english_numbers_in_words_are_their_figures(value):
    assert english(spell(value)) == str(value)


def spell(value):
    small = [
        "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
        "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen",
        "nineteen",
    ]  # fmt: skip
    tens = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
    scales = {"billion": 10**9, "million": 10**6, "thousand": 1000, "hundred": 100}
    if value < 20:
        return small[value]
    if value < 100:
        rest = f"-{small[value % 10]}" if value % 10 else ""
        return tens[value // 10 - 2] + rest
    name, size = next((name, size) for name, size in scales.items() if value >= size)
    rest = f" {spell(value % size)}" if value % size else ""
    return f"{spell(value // size)} {name}{rest}"


@given(st.text(max_size=40))
def test_normalising_twice_changes_nothing_more_and_never_fails(text):
    for step in (steps.plain, steps.published):
        assert step(step(text)) == step(text)
    english(text)


UNSEEN = "\u00ad\u034f\u061c\u180e\u200c\u200d\u200e\u200f\u202b\u2060\u2066\ufe0f\ufeff\U000e0067"


@given(
    st.text(st.sampled_from("ab c'-.,1$5&你다é❤می"), max_size=12),
    st.sampled_from(UNSEEN),
    st.data(),
)
def test_what_is_neither_seen_nor_heard_changes_nothing_wherever_it_stands(text, mark, data):
    at = data.draw(st.integers(0, len(text)))
    marked = text[:at] + mark + text[at:]
    assert steps.plain(marked) == steps.plain(text)
    assert english(marked) == english(text)


@pytest.mark.parametrize(
    ("reference", "hypothesis", "edits", "words"),
    [
        ("Co\u00adope\u00adration", "cooperation", Edits(), 1),
        # Persian: the non-joiner is within a word; written with a space they are two.
        ("می\u200cخواهم", "میخواهم", Edits(), 1),
        ("می\u200cخواهم", "می خواهم", Edits(1, 0, 1), 1),
        # Hindi: the joiner chooses a shape.
        ("क्\u200dष", "क्ष", Edits(), 1),
        ("I \u2764\ufe0f you", "I you", Edits(), 2),
        # The zero-width space stands between words (Khmer).
        ("ខ្ញុំ\u200bស្រលាញ់", "ខ្ញុំ ស្រលាញ់", Edits(), 2),
    ],
)
def test_what_is_unseen_by_hand(reference, hypothesis, edits, words):
    found = get_scheme("basic").score(reference, hypothesis)
    assert (found.word_edits, found.ref_words) == (edits, words)


def test_english_joins_compounds():
    found = get_scheme("english").score("the ice cream van", "the icecream van")
    assert found.word_edits.total == 0


def test_schemes_have_their_names():
    assert [get_scheme(name).name for name in SCHEMES] == list(SCHEMES)
    with pytest.raises(OptionError, match="'x' is not known; take one of basic, english"):
        get_scheme("x")


def random_runs(seed, count=150):
    rng = np.random.default_rng(seed)
    refs = [list(rng.choice(list("abcdefgh"), rng.integers(3, 15))) for _ in range(count)]
    runs = [
        [[w if rng.random() > rate else "x" for w in ref] for ref in refs] for rate in (0.1, 0.2)
    ]
    return refs, *runs


def test_intervals_against_kaldialign():
    refs, one, two = random_runs(1)
    known = kaldialign.bootstrap_wer_ci(refs, one, two, replications=4000)
    units = list(map(len, refs))
    counts = [
        [kaldialign.edit_distance(r, h)["total"] for r, h in zip(refs, run, strict=True)]
        for run in (one, two)
    ]
    for run, name in zip(counts, ("system1", "system2"), strict=True):
        found = interval(run, units)
        assert (found.high + found.low) / 2 == pytest.approx(known[name]["wer"], abs=0.004)
        assert (found.high - found.low) / 2 == pytest.approx(known[name]["ci95"], rel=0.1)
    found = difference(*counts, units)
    assert found.interval.low > 0.05
    assert found.better == pytest.approx(known["p_s2_improv_over_s1"], abs=0.01)
    swapped = difference(*counts[::-1], units)
    assert swapped.difference == pytest.approx(-found.difference)
    assert swapped.better == 1


def test_groups_are_drawn_whole():
    # Two speakers, one always right, one always wrong: far less sure than 200 utterances seem.
    errors, units = [0] * 100 + [1] * 100, [1] * 200
    apart = interval(errors, units)
    together = interval(errors, units, ["a"] * 100 + ["b"] * 100)
    assert apart.high - apart.low < 0.2
    assert (together.low, together.high) == (0, 1)
    assert interval(errors, units, ["a"] * 200) is None
    assert interval([3], [4]) is None
    assert difference([1], [2], [3]) is None


def test_the_same_predictions_differ_by_nothing():
    found = difference([1, 0, 2], [1, 0, 2], [3, 4, 5])
    assert (found.difference, found.interval.low, found.interval.high) == (0, 0, 0)
    assert found.better == 0
