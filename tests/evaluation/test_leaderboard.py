"""The leaderboard's scheme: rows read off the published rules, and another implementation."""

from __future__ import annotations

import json
from importlib import resources

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

pytest.importorskip("whisper_normalizer", reason="needs the package whisper-normalizer")

from ark_asr.evaluation.leaderboard import whisper_normaliser
from ark_asr.evaluation.schemes import Edits, get_scheme

WORDS = (
    "one two twenty thirty hundred thousand and a half point oh double five 3 7.5 1,000 $20 "
    "dollars cents percent % first third 2nd it's won't can't Mr. colour GREY kinda uh [noise] "
    "(aside) café x. - ' minus plus o'clock they'd been"
)
TEXTS = st.lists(st.sampled_from(WORDS.split()), max_size=10).map(" ".join)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # Appendix C of the paper, rule by rule.
        ("so [laughs] he said (quietly) yes", "so he said yes"),
        ("hmm mm mhm mmm uh um well", "well"),
        ("he 's won't y'all", "he is will not you all"),
        ("1,234,567 people", "1234567 people"),
        ("The end. Of 3.5 things.", "the end of 3.5 things"),
        ("naïve façade; ok?", "naive facade ok"),
        ("ten thousand dollars", "$10000"),
        ("two dollars and seven cents", "$2.07"),
        ("the colour of the theatre, realised", "the color of the theater realized"),
        ("one two three and a half per cent", "123.5%"),
        ("twenty twenty one", "2021"),
        ("double oh seven", "007"),
        ("the first of the nineteen sixties", "the 1st of the 1960s"),
        # Not in Whisper, though in later releases of the package.
        ("the cause is kinda sorta there", "the cause is kinda sorta there"),
        ("", ""),
        # A quirk: of three dots one is left, which then counts as a word.
        ("...", "."),
    ],
)
def test_normalising_by_the_published_rules(text, expected):
    assert whisper_normaliser()(text) == expected


@pytest.fixture(scope="module")
def theirs():
    """The normaliser of transformers, with the package's list of spellings."""
    module = pytest.importorskip("transformers.models.whisper.english_normalizer")
    file = resources.files("whisper_normalizer").joinpath("normalizers/english.json")
    return module.EnglishTextNormalizer(json.loads(file.read_text(encoding="utf-8")))


@given(text=TEXTS)
@example(text="and a half")
@example(text="twenty one hundred and five")
@example(text="...")
def test_it_is_the_normaliser_of_transformers(theirs, text):
    assert whisper_normaliser()(text) == theirs(text).strip()


@given(st.text(max_size=30))
def test_any_text_can_be_scored(text):
    found = get_scheme("leaderboard").score(text, text)
    assert (found.word_edits, found.wer_errors, found.cer_errors) == (Edits(), 0, 0)


@pytest.mark.parametrize(
    ("reference", "hypothesis", "edits", "words"),
    [
        ("It's ten past two.", "it is 10 past 2", Edits(), 5),
        ("the ice cream van", "the icecream van", Edits(), 4),
        ("whitepaper", "white paper", Edits(), 1),
        ("uh yes", "yes", Edits(), 1),
        ("um", "what is this", Edits(0, 0, 3), 0),
        ("", "two words", Edits(0, 0, 2), 0),
        ("two words", "", Edits(0, 2, 0), 2),
        ("he said no", "he says so", Edits(2, 0, 0), 3),
    ],
)
def test_leaderboard_by_hand(reference, hypothesis, edits, words):
    found = get_scheme("leaderboard").score(reference, hypothesis)
    assert (found.word_edits, found.ref_words) == (edits, words)
    assert found.wer_errors == edits.total
