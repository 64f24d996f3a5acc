"""Each field of the options takes what its annotation says, and refuses all else in one line."""

from __future__ import annotations

import dataclasses
from types import NoneType
from typing import get_args, get_type_hints

import numpy as np
import pytest

import ark_asr
from ark_asr import types
from ark_asr.audio import CutOptions
from ark_asr.errors import OptionError
from ark_asr.kinds import Checked
from ark_asr.types import LiveOptions, TranscribeOptions
from ark_asr.writers.options import DocumentOptions, SubtitleOptions

OPTIONS = (TranscribeOptions, LiveOptions, CutOptions, SubtitleOptions, DocumentOptions)
FIELDS = [
    pytest.param(options, item.name, id=f"{options.__name__}.{item.name}")
    for options in OPTIONS
    for item in dataclasses.fields(options)
]
# Of each kind some, and things that Python would take for another: True is 1, "no" is true.
VALUES = [None, True, False, 0, 1, 1.0, 0.5, float("nan"), 10**400, 10**5000, "", "1", "no",
          "attention", b"1", (), ("a",), ("a", 1), [], ["a"], {}, {"a": 1}, {"a"}, iter(["a"]),
          object(), int, np.int64(1), np.float32(1), np.bool_(True), np.zeros(2)]  # fmt: skip


def fits(value, hint) -> bool:
    """What the annotation says, read without the code that is tested."""
    kinds = {str(one) for one in get_args(hint)} if NoneType in get_args(hint) else {str(hint)}
    names = {
        NoneType: "<class 'NoneType'>", bool: "<class 'bool'>", int: "<class 'int'>",
        float: "<class 'float'>", str: "<class 'str'>",
    }  # fmt: skip
    if isinstance(value, tuple):
        return "tuple[str, ...]" in kinds and all(isinstance(text, str) for text in value)
    if type(value) is str and value in get_args(hint):
        return True
    return names.get(type(value)) in kinds or (type(value) is int and names[float] in kinds)


def test_all_options_are_looked_at_here():
    named = {name for name in dir(types) if name.endswith("Options")}
    assert {getattr(types, name) for name in named} <= set(OPTIONS)


@pytest.mark.parametrize(("options", "name"), FIELDS)
def test_a_value_of_another_kind_is_refused_in_one_line(options, name):
    hint, taken = get_type_hints(options)[name], 0
    for value in VALUES:
        try:
            made = options(**{name: value})
        except OptionError as error:
            line = str(error)
            assert name in line
            assert "\n" not in line
            assert len(line) < 200
            continue
        assert fits(getattr(made, name), hint), f"{name} took {value!r}"
        taken += 1
    assert 0 < taken < len(VALUES)
    with pytest.raises(OptionError, match=f"^{name} is <object .*>; it must be .*"):
        options(**{name: object()})


@pytest.mark.parametrize(("options", "name"), FIELDS)
def test_a_value_of_the_kind_is_taken(options, name):
    usual = getattr(options(), name)
    assert getattr(options(**{name: usual}), name) == usual
    if type(usual) in (int, float):  # also as numpy has it, and then it is Python's
        found = getattr(options(**{name: np.float64(usual) if type(usual) is float else
                                   np.int64(usual)}), name)  # fmt: skip
        assert (found, type(found)) == (usual, type(usual))


def test_what_is_expected_is_named():
    for wrong, line in (
        ({"begin": "1"}, "begin is '1'; it must be a number or None"),
        ({"vad": "no"}, "vad is 'no'; it must be True, False or None"),
        ({"words": 1}, "words is 1; it must be True or False"),
        ({"hotwords": 5}, "hotwords is 5; it must be several texts in a tuple"),
        ({"hotwords": "ark"}, "hotwords is 'ark'; it must be several texts in a tuple"),
        ({"word_times": "x"}, "word_times is 'x'; it must be attention or estimate"),
    ):
        with pytest.raises(OptionError) as caught:
            TranscribeOptions(**wrong)
        assert str(caught.value) == line


def test_a_list_of_hot_words_becomes_a_tuple():
    assert TranscribeOptions(hotwords=["ark"]) == TranscribeOptions(hotwords=("ark",))
    hash(TranscribeOptions(hotwords=["ark"]))


def test_a_field_of_a_kind_that_is_not_known_cannot_stay_unchecked():
    @dataclasses.dataclass(frozen=True)
    class New(Checked):
        weights: dict[str, float] = dataclasses.field(default_factory=dict)

    # The class is local, so the annotation must be its value.
    New.__annotations__["weights"] = dict[str, float]
    with pytest.raises(TypeError, match="no value can be held against dict"):
        New()


@pytest.mark.parametrize(
    ("wrong", "line"),
    [
        ({"model": 5}, "model is 5; it must be text, a path or None"),
        ({"model": b"ark-mini"}, "model is b'ark-mini'; it must be text, a path or None"),
        ({"engine": 5}, "engine is 5; it must be text or None"),
        ({"threads": "2"}, "threads is '2'; it must be a whole number"),
        ({"threads": 2.5}, "threads is 2.5; it must be a whole number"),
        ({"threads": True}, "threads is True; it must be a whole number"),
    ],
)
def test_arguments_of_load_are_refused_in_one_line(wrong, line):
    with pytest.raises(OptionError) as caught:
        ark_asr.load(**wrong)
    assert str(caught.value) == line
