"""Timestamps: exact, ordered, never 60.000 s."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ark_asr.writers.timestamps import milliseconds, timestamp

times = st.floats(0, 360_000)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "00:00:00.000"),
        (1.5, "00:00:01.500"),
        (59.9996, "00:01:00.000"),
        (3599.9999, "01:00:00.000"),
        (3661.001, "01:01:01.001"),
        (360_000, "100:00:00.000"),
    ],
)
def test_examples(seconds, text):
    assert timestamp(seconds) == text
    assert timestamp(seconds, ",") == text.replace(".", ",")


@given(times)
def test_form_and_value(seconds):
    match = re.fullmatch(r"(\d{2,}):([0-5]\d):([0-5]\d)\.(\d{3})", timestamp(seconds))
    assert match
    hours, minutes, secs, millis = map(int, match.groups())
    written = ((hours * 60 + minutes) * 60 + secs) * 1000 + millis
    assert abs(written - seconds * 1000) <= 0.5 + 1e-6


@given(times, times)
def test_order_is_kept(one, other):
    low, high = sorted((one, other))
    assert milliseconds(low) <= milliseconds(high)


@pytest.mark.parametrize("bad", [-0.001, float("nan"), float("inf")])
def test_times_that_cannot_be_written(bad):
    with pytest.raises(ValueError, match="finite and not negative"):
        timestamp(bad)
