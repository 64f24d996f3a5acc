"""Words one by one: confusions, formatted errors, times, confidence; and the parts of a set."""

from __future__ import annotations

import math

import kaldialign
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ark_asr.batch.records import Fields, Record, as_number, parse_record
from ark_asr.errors import OptionError
from ark_asr.evaluation.alignment import align, formatted
from ark_asr.evaluation.columns import aligned
from ark_asr.evaluation.confusions import Confusion, Insertion, WordErrors, find_mistakes
from ark_asr.evaluation.fields import split
from ark_asr.evaluation.intervals import interval
from ark_asr.evaluation.rows import Predicted, Scored, score_all
from ark_asr.evaluation.schemes import get_scheme
from ark_asr.evaluation.summary import breakdown, compare, rates
from ark_asr.evaluation.wordtimes import calibration, confidence_of, time_errors

TOKENS = st.lists(st.sampled_from(["a", "b", "ab", "c", "bc"]), max_size=7)


def scored(rows, scheme="basic", **fields) -> list[Scored]:
    """Rows of reference, hypothesis and perhaps fields of the manifest and keys of the row."""
    records, predictions = [], []
    for number, (reference, hypothesis, *more) in enumerate(rows, 1):
        extra, row = (*more, {}, {})[:2]
        records.append(
            Record(number, "x", "x", reference, -1.0, -1.0, tuple({**fields, **extra}.items()))
        )
        predictions.append(Predicted(hypothesis, None, tuple(row.items())))
    return score_all(records, predictions, get_scheme(scheme))


def test_a_whole_number_without_end_is_no_number():
    rows = scored([("one", "one", {"n": 10**400}), ("one", "one", {"n": 2})])
    assert list(split(rows, "n")) == ["2", str(10**400)]
    assert as_number(10**400) is as_number(math.inf) is as_number(True) is as_number("2") is None
    assert as_number(2) == 2.0
    with pytest.raises(OptionError, match="'end_time' must be a number of seconds"):
        parse_record({"audio": "x", "end_time": 10**400}, 1, Fields())


@given(TOKENS, TOKENS, st.booleans())
def test_an_alignment_has_every_word_and_the_fewest_errors(reference, hypothesis, merge):
    pairs = align(reference, hypothesis, merge=merge)
    assert [w for pair in pairs for w in pair.reference.split()] == reference
    assert [w for pair in pairs for w in pair.hypothesis.split()] == hypothesis
    known = kaldialign.edit_distance(reference, hypothesis, merge_compounds=merge)
    assert sum(not pair.right for pair in pairs) == known["total"]


def test_what_goes_wrong_is_counted():
    found = find_mistakes(
        scored(
            [
                ("the cat sat", "the hat sat"),
                ("the cat", "a hat"),
                ("the dog ran", "the ran off"),
                ("all right", "all right"),
            ]
        )
    )
    assert found.confusions == (Confusion("cat", "hat", 2), Confusion("the", "a", 1))
    assert found.words == (
        WordErrors("cat", 2, 2, 0), WordErrors("dog", 1, 0, 1), WordErrors("the", 3, 1, 0)
    )  # fmt: skip
    assert found.insertions == (Insertion("off", 1),)
    assert len(find_mistakes(scored([("a b c", "x y z")]), most=2).confusions) == 2


def test_joined_compounds_are_no_confusion():
    found = find_mistakes(scored([("ice cream now", "icecream no")], "english"))
    assert found.confusions == (Confusion("now", "no", 1),)
    assert not found.insertions


@pytest.mark.parametrize(
    ("reference", "hypothesis", "errors", "words", "shown"),
    [
        ("Hello, World.", "hello, World.", 1, 2, True),
        ("Hello, World.", "Hello World.", 1, 2, True),
        ("\u201cYes,\u201d he said", '"Yes," he said', 0, 3, True),
        ("all small", "All small", 1, 2, False),
        ("don't", "don't", 0, 1, False),
        ("\u4f60\u597d\uff0c\u4e16\u754c", "\u4f60\u597d\u4e16\u754c", 1, 5, True),
    ],
)
def test_formatted_errors_by_hand(reference, hypothesis, errors, words, shown):
    found = formatted(reference, hypothesis)
    assert (found.errors, found.words, found.shown) == (errors, words, shown)


def test_the_formatted_rate_leaves_out_references_without_format():
    rows = scored([("Yes, sir.", "yes sir"), ("all small", "All Small")])
    assert rates(rows).formatted_wer == 1
    assert rates(rows[1:]).formatted_wer is None


def timed(*words):
    return [{"text": t, "start": s, "end": e, "confidence": c} for t, s, e, c in words]


def test_times_and_confidence_of_words():
    spoken = timed(("one", 0.0, 0.5, 1), ("two", 0.5, 1.0, 1), ("three", 1.0, 1.5, 1))
    said = timed(("One", 0.04, 0.5, 0.9), ("tuh", 0.5, 1.0, 0.2), ("three.", 1.15, 1.6, 0.7))
    rows = scored([("one two three", "One tuh three.", {"words": spoken},
                    {"segments": [{"words": said, "text": "x", "confidence": 0.5}]})])  # fmt: skip
    found = time_errors(rows)
    assert (found.words, found.near) == (2, (0.5, 0.5, 1.0))
    assert found.start == pytest.approx((0.04 + 0.15) / 2)
    assert found.start_shift == pytest.approx((0.04 + 0.15) / 2)
    assert found.end == pytest.approx(0.05)
    right = calibration(rows)
    assert (right.words, right.right) == (3, pytest.approx(2 / 3))
    assert right.error == pytest.approx((0.1 + 0.2 + 0.3) / 3)
    assert confidence_of(rows[0]) == 0.5
    plain = scored([("one", "one")])
    assert (time_errors(plain), calibration(plain), confidence_of(plain[0])) == (None, None, None)


@pytest.mark.parametrize(
    "value", [10**400, True, "0.5", None], ids=["long", "bool", "text", "none"]
)
def test_a_confidence_that_is_no_number_is_none(value):
    rows = scored([("one", "one", {}, {"segments": [{"text": "one", "confidence": value}]})])
    assert confidence_of(rows[0]) is None


@pytest.mark.parametrize(
    "words",
    ["one", ["one"], [{"text": "one"}], [{"start": 1, "end": 2}],
     [{"text": "one", "start": 1, "end": 10**400}]],
)  # fmt: skip
def test_words_of_another_form_are_refused(words):
    rows = scored([("one", "one", {"words": words}, {"segments": []})])
    with pytest.raises(OptionError, match="line 1 of the input: words must be objects with text"):
        time_errors(rows)


def test_numbers_come_in_bins_of_about_as_many_rows():
    values = np.random.default_rng(0).permutation(1000) / 100
    rows = scored([("a", "a", {"duration": float(value)}) for value in values])
    parts = split(rows, "duration")
    assert [len(part) for part in parts.values()] == [200] * 5
    assert next(iter(parts)) == "0 to 1.99"
    for name, part in parts.items():
        low, high = map(float, name.split(" to "))
        assert {low <= one.field("duration") <= high for one in part} == {True}


@pytest.mark.parametrize("count", [3, 40])
@pytest.mark.parametrize(("first", "step"), [(1_700_000_000.5, 1.0), (1.0, 1e-6), (-5e-9, 1e-12)])
def test_numbers_that_are_near_each_other_stay_apart(first, step, count):
    rows = scored([("a", "a", {"at": first + step * number}) for number in range(count)])
    sizes = [len(part) for part in split(rows, "at").values()]
    assert sizes == ([1, 1, 1] if count == 3 else [8] * 5)


def test_values_keep_their_order_and_lists_count_under_each():
    rows = scored(
        [("a", "a", {"n": n, "tags": tags}) for n, tags in
         [(10, ["x", "y"]), (9, ["x"]), (None, []), (9, None), (True, ["y", "y"]), ("", "")]]
    )  # fmt: skip
    assert {name: len(part) for name, part in split(rows, "n").items()} == {
        "9": 2, "10": 1, "(none)": 2, "true": 1
    }  # fmt: skip
    assert list(split(rows, "n")) == ["9", "10", "(none)", "true"]
    assert {name: len(part) for name, part in split(rows, "tags").items()} == {
        "(none)": 3, "x": 2, "y": 2
    }  # fmt: skip
    with pytest.raises(OptionError, match="no record of the input has a field 'colour'"):
        breakdown(rows, ["colour"])


def test_schemes_are_not_mixed():
    basic, english = (scored([("a b", "a c")] * 3, name) for name in ("basic", "english"))
    assert compare("x", basic, basic).wer.difference == 0
    for run in (lambda: compare("x", basic, english), lambda: rates([*basic, *english])):
        with pytest.raises(OptionError, match=r"different schemes \(basic 4, english 4\)"):
            run()


def test_a_scheme_for_english_refuses_another_language():
    assert scored([("a", "a")], "english", language="en-GB")[0].score.ref_words == 1
    with pytest.raises(OptionError, match="line 1 of the input is 'de', but the scheme 'english'"):
        scored([("a", "a")], "english", language="de")


def test_a_language_of_the_record_wins_over_the_default():
    records = [Record(1, "x", "x", "1.000", -1.0, -1.0, (("language", "de"),)),
               Record(2, "x", "x", "1.000", -1.0, -1.0)]  # fmt: skip
    predictions = [Predicted("1000", None, ())] * 2
    found = score_all(records, predictions, get_scheme("basic"), language="en")
    assert [one.score.word_edits.total for one in found] == [0, 1]


def test_a_part_without_the_resampled_field_is_no_error():
    rows = scored([("a b", "a c", {"speaker": "s"}), ("a b", "a b", {}), ("a", "b", {})])
    assert rates(rows[1:], "speaker").wer_interval is None
    assert interval([1, 0], [1, 1], ["(none)", "(none)"]) is None


def test_a_table_stays_one_whatever_its_cells_hold():
    """Names of a manifest's fields may hold anything; Han are twice as wide as letters."""
    lines = aligned(
        ("", "n"), [("a\nb\x1b[31m", "10"), ("李明", "2"), ("e\u0301é", "3")], numbers=True
    )
    assert lines == [
        " " * 15 + "n",
        "a\\nb\\x1b[31m  10",
        "李明" + " " * 11 + "2",
        "e\u0301é" + " " * 13 + "3",
    ]
    assert aligned(("x", "y"), [("李明", "b"), ("a", "")]) == ["x     y", "李明  b", "a"]
