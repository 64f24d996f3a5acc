"""RTTM files: what is right is read, what is wrong is named with its line."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ark_asr import OptionError
from ark_asr.pipeline.rttm import Rttm
from ark_asr.pipeline.speakers import SpeakerTurn

LINE = "SPEAKER meeting 1 12.340 3.200 <NA> <NA> SPEAKER_00 <NA> <NA>"


@pytest.fixture
def write(tmp_path):
    def write(text, name="turns.rttm"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


names = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zs", "Zl", "Zp"]), min_size=1)
millis = st.integers(0, 10**8)


@settings(max_examples=40)
@given(st.lists(st.tuples(millis, millis, names.filter(lambda name: name != "<NA>")), min_size=1))
def test_what_is_written_is_read(tmp_path_factory, rows):
    path = tmp_path_factory.getbasetemp() / "property.rttm"
    lines = [
        f"SPEAKER talk 1 {start / 1000:.3f} {length / 1000:.3f} <NA> <NA> {name} <NA> <NA>\r\n"
        for start, length, name in rows
    ]
    path.write_bytes(("\ufeff;; a comment\n\n" + "".join(lines)).encode())
    assert Rttm(path).turns("talk.wav", alone=True) == tuple(
        SpeakerTurn(start / 1000, start / 1000 + length / 1000, name)
        for start, length, name in rows
    )


@settings(max_examples=40)
@given(st.binary(max_size=200))
def test_anything_else_is_one_line(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "noise.rttm"
    path.write_bytes(data)
    with pytest.raises(OptionError, match=r"noise\.rttm") as caught:
        Rttm(path)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (LINE.replace("12.340", "12,340"), "3: start is '12,340'; it must be seconds"),
        (LINE.replace("12.340", "-1"), "3: start is '-1'"),
        (LINE.replace("3.200", "nan"), "3: duration is 'nan'"),
        (LINE.replace("3.200", "1e300"), "3: duration"),
        (LINE.replace("SPEAKER_00", "<NA>"), "3: names no speaker"),
        (LINE.replace("<NA> <NA> S", "S"), "3: has 8 fields; a line of RTTM has 9 or 10"),
        (LINE + " more", "3: has 11 fields"),
        (LINE.lower(), "3: begins with 'speaker'"),
        ("start,end,speaker", "3: begins with"),
    ],
)
def test_a_bad_line_is_named(write, line, said):
    with pytest.raises(OptionError, match=said):
        Rttm(write(f";; first\n{LINE}\n{line}\n"))


def test_other_kinds_of_lines_say_nothing_about_turns(write):
    info = "SPKR-INFO meeting 1 <NA> <NA> <NA> unknown SPEAKER_00 <NA> <NA>"
    noise = "NON-SPEECH meeting 1 3.0 1.0 <NA> noise <NA> <NA>"
    (turn,) = Rttm(write("\n".join([info, noise, LINE]))).turns("x", alone=True)
    assert (turn.start, turn.end, turn.speaker) == (12.34, 12.34 + 3.2, "SPEAKER_00")
    with pytest.raises(OptionError, match="no line that begins with SPEAKER"):
        Rttm(write(info))


def test_the_last_field_may_be_missing(write):
    assert Rttm(write(LINE.removesuffix(" <NA>"))).turns("x", alone=True)


def test_a_recording_is_found_by_its_name(write):
    rttm = Rttm(write("\n".join(LINE.replace("meeting", name) for name in ("one", "two.wav"))))
    assert len(rttm.turns("folder/one.mp3", alone=True)) == 1
    assert len(rttm.turns("two.wav", alone=False)) == 1
    with pytest.raises(OptionError, match=r"no turns of three, but of one, two\.wav"):
        rttm.turns("three.wav", alone=True)


def test_a_single_recording_may_have_another_name(write):
    rttm = Rttm(write(LINE))
    assert len(rttm.turns("other.wav", alone=True)) == 1
    with pytest.raises(OptionError, match="no turns of other, but of meeting"):
        rttm.turns("other.wav", alone=False)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(OptionError, match="cannot be read"):
        Rttm(tmp_path / "no.rttm")
    with pytest.raises(OptionError, match="cannot be read"):
        Rttm(tmp_path)
