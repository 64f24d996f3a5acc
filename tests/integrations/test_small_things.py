"""Samples, language tags and devices as other programs give them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ark_asr.errors import ArkWarning, AudioError, OptionError
from ark_asr.integrations.devices import cpu_instead
from ark_asr.integrations.languages import language_of, primary
from ark_asr.integrations.sound import from_pcm, rms
from ark_asr.models.store import languages_of


@given(st.lists(st.integers(-(2**15), 2**15 - 1)))
def test_samples_keep_their_value(values):
    samples = from_pcm(np.array(values, "<i2").tobytes())
    assert samples.dtype == np.float32
    assert (samples * 2**15).tolist() == values


def test_half_a_sample_is_refused():
    with pytest.raises(AudioError, match="3 bytes"):
        from_pcm(b"abc")


@pytest.mark.parametrize("data", [None, "ab", np.zeros(4, np.int16), np.zeros(4, np.float32)])
def test_what_is_not_bytes_is_refused(data):
    with pytest.raises(AudioError, match=f"must be bytes, not {type(data).__name__}"):
        from_pcm(data)


def test_all_kinds_of_bytes_are_taken():
    values = np.arange(3, dtype="<i2")
    for data in (values.tobytes(), bytearray(values.tobytes()), memoryview(values)):
        assert (from_pcm(data) * 2**15).tolist() == [0, 1, 2]


def test_rms():
    assert rms(np.empty(0, np.float32)) == 0
    assert rms(np.full(100, -0.25, np.float32)) == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("tag", "wanted"),
    [(None, None), ("", None), (" ", None), ("auto", None), ("und", None), ("en", "en"),
     ("EN", "en"), ("en-US", "en"), ("pt_BR", "pt"), ("zh-Hant-TW", "zh"), ("x-klingon", "x")],
)  # fmt: skip
def test_the_language_of_a_tag(tag, wanted):
    assert primary(tag) == wanted


@given(st.text())
def test_any_text_is_taken_for_a_tag(tag):
    assert language_of(tag, ("en",)) in ("en", None)


@pytest.mark.parametrize(
    ("tag", "known", "wanted"),
    [
        ("en-GB", ("en",), "en"), (None, ("en",), "en"), ("", ("en",), "en"),
        # English is all it writes, but the caller says that something else is spoken.
        ("pt", ("en",), None),
        (None, ("zh", "en"), None), ("de", ("zh", "en", "de"), "de"), ("pt", ("zh", "en"), None),
        ("pt", (), "pt"), (None, (), None),
    ],
)  # fmt: skip
def test_what_can_be_said_of_the_language(tag, known, wanted):
    assert language_of(tag, known) == wanted


def test_languages_of_models():
    assert languages_of("ark-mini") == ("en",)
    assert len(languages_of("ark-asr-0.6b")) == 19
    assert languages_of("my own") == ()


@pytest.mark.parametrize(
    ("device", "compute_type"),
    [("cpu", None), ("auto", None), ("auto", "auto"), ("cpu", "default"), ("cpu", "int8")],
)
def test_what_is_there_is_not_warned_of(device, compute_type):
    cpu_instead(device, compute_type, "int8")


@pytest.mark.parametrize(
    ("device", "compute_type"),
    [("cuda", "float16"), ("cuda:1", None), ("cpu", "float16"), ("mps", "int8")],
)
def test_what_is_not_there_is(device, compute_type):
    with pytest.warns(ArkWarning, match="on the CPU as int8"):
        cpu_instead(device, compute_type, "int8")


@pytest.mark.parametrize(("device", "compute_type"), [("gpu", None), ("cpu", "int5"), ("", None)])
def test_what_is_no_device_is_refused(device, compute_type):
    with pytest.raises(OptionError, match="must be"):
        cpu_instead(device, compute_type, "int8")
