"""Times as people type them."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ark_asr.cli.times import parse_time
from ark_asr.errors import OptionError
from ark_asr.writers.timestamps import timestamp


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0), ("90", 90), ("90.5", 90.5), (".5", 0.5), ("7.", 7), (" 12 ", 12),
        ("1:30", 90), ("01:30.25", 90.25), ("75:00", 4500), ("1:02:03.5", 3723.5), ("0:00:00", 0),
    ],
)  # fmt: skip
def test_examples(text, seconds):
    assert parse_time(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-1",
        "1:60",
        "1:75:00",
        "1:2:3:4",
        "1e3",
        "nan",
        "inf",
        "one",
        "1,5",
        ":30",
        "1:",
        "٣",
        "9" * 400 + ":00:00",
    ],
)
def test_anything_else_is_refused(text):
    with pytest.raises(OptionError, match="is not a time; write seconds"):
        parse_time(text)


@given(st.integers(0, 400_000_000))
def test_reads_what_the_writers_write(millis):
    assert parse_time(timestamp(millis / 1000)) == pytest.approx(millis / 1000, abs=1e-6)


@given(st.floats(0, 1e6).map(lambda value: round(value, 6)))
def test_reads_plain_seconds(seconds):
    assert parse_time(f"{seconds:f}") == pytest.approx(seconds, abs=1e-6)


@given(st.text(max_size=12))
def test_never_anything_but_a_time_or_an_option_error(text):
    with contextlib.suppress(OptionError):
        assert parse_time(text) >= 0
