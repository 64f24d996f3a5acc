# ruff: noqa: RUF001 - full-width forms are what is tested
"""Each language's own way of writing numbers and words."""

from __future__ import annotations

import pytest

from ark_asr.evaluation.languages import SPELLINGS
from ark_asr.evaluation.schemes import Edits, get_scheme
from ark_asr.models.catalogue import catalogue


def errors(language, reference, hypothesis):
    return get_scheme("basic").score(reference, hypothesis, language).word_edits.total


def test_every_language_of_the_catalogue_has_rules():
    spoken = {tag for entry in catalogue() for tag in entry.languages}
    assert len(SPELLINGS) == 19
    assert spoken - {"yue"} <= set(SPELLINGS)


@pytest.mark.parametrize(
    ("language", "number"),
    [
        *((tag, "12.345,5") for tag in ("de", "es", "it", "ro", "nl", "hr", "sl")),
        *((tag, "12 345,5") for tag in ("fr", "pl", "hu", "cs", "sk", "fi", "et", "lt")),
        *((tag, "12,345.5") for tag in ("en", "zh", "ja", "ko")),
    ],
)
def test_numbers_however_they_are_grouped_are_one_word(language, number):
    if language == "zh":
        pytest.importorskip("wetext", reason="needs the package wetext")
    plain = number[:2] + number[3:]
    found = get_scheme("basic").score(f"x {number} x", f"x {plain} x", language)
    assert found.word_edits == Edits()
    assert found.ref_words == 3 or language == "zh"
    assert get_scheme("basic").score(f"x {number} x", f"x {plain} x").word_edits != Edits()


@pytest.mark.parametrize(
    ("language", "reference", "hypothesis", "count"),
    [
        ("de", "daß er, groß", "dass er groß", 0),
        ("de", "um 3.30 Uhr", "um 3:30 uhr", 0),
        ("de-CH", "1.000 Strasse", "1000 Straße", 0),
        ("fr", "l'ami de mon cœur", "l' ami de mon coeur", 0),
        ("fr", "qu\u2019il 1\u202f000", "qu'il 1000", 0),
        ("it", "l\u2019acqua", "l acqua", 0),
        ("en", "don't", "don t", 2),
        ("en", "1,000.50", "1000.50", 0),
        ("en", "a 1,000 b 10,00", "a 1000 b 10 00", 0),
        ("ro", "ţară şi", "țară și", 0),
        ("es", "¿qué? ¡ya!", "qué ya", 0),
        ("pl", "żółw", "zolw", 1),
        ("ko", "나는 학교에", "나는 학교 에", 2),
        ("ja", "２時です。", "2時です", 0),
        ("ja", "ｶﾞｷ", "ガキ", 0),
        ("xx", "1.000", "1 000", 0),
    ],
)
def test_rules_by_hand(language, reference, hypothesis, count):
    assert errors(language, reference, hypothesis) == count


@pytest.mark.parametrize(
    ("figures", "characters"),
    [
        ("我有123个苹果", "我有一百二十三个苹果"),
        ("30%", "百分之三十"),
        ("2023年3月5日", "二零二三年三月五日"),
        ("2008年", "二〇〇八年"),
        ("１．５元", "一点五元"),
        ("没有数字", "没有数字"),
    ],
)
def test_chinese_figures_are_read_out(figures, characters):
    pytest.importorskip("wetext", reason="needs the package wetext")
    assert errors("zh", figures, characters) == 0
    assert errors("zh-CN", characters, figures) == 0


def test_korean_has_both_rates():
    found = get_scheme("basic").score("나는 학교에 간다", "나는 학교 에 간다", "ko")
    assert (found.wer_errors, found.ref_words) == (2, 3)
    assert (found.cer_errors, found.ref_chars) == (0, 7)
