"""One audio track of several: the right one is heard, and who did not choose is told."""

from __future__ import annotations

import io

import numpy as np
import pytest

from ark_asr.audio import load_audio, open_audio
from ark_asr.audio.capture import file_blocks
from ark_asr.errors import AudioDecodeError, AudioError, AudioWarning, OptionError
from ark_asr.types import Audio
from films import RATE, TWO, film, tone

TAKEN = (
    "bytes: has 2 audio tracks and none was asked for; "
    'track 1 was taken (eng, "Film", flac, 1 channel)'
)


def warnings_of(data, **options):
    with open_audio(data, **options) as sound:
        list(sound)
        return sound.warnings


@pytest.mark.parametrize(
    ("container", "codec"),
    [("matroska", "flac"), ("avi", "pcm_s16le"), ("mov", "alac"), ("mp4", "flac"), ("ogg", "flac")],
)
def test_each_track_is_heard_by_its_number(container, codec):
    data = film(({}, {}, {}), container, codec)
    for number in (1, 2, 3):
        heard = load_audio(data, track=number).samples
        np.testing.assert_allclose(heard, tone(number), atol=1e-4)


def test_pictures_are_no_track():
    data = film(first_picture=True)
    np.testing.assert_allclose(load_audio(data, track=1).samples, tone(1), atol=1e-4)
    with pytest.raises(AudioError, match="has 2 audio tracks, there is none of number 3"):
        load_audio(data, track=3)


@pytest.mark.parametrize("container", ["matroska", "mov"])
def test_a_track_is_heard_from_a_second_on(container):
    """Some containers are sought in, others are opened a second time: both find the track again."""
    sounds = [tone(number, 8.0) for number in (1, 2)]
    codec = {"matroska": "flac", "mov": "alac"}[container]
    data = film(container=container, codec=codec, sounds=sounds)
    heard = load_audio(data, track=2, begin=5.5, end=6)
    assert heard.start == 5.5
    np.testing.assert_allclose(heard.samples, sounds[1][88_000:96_000], atol=1e-4)


def test_of_several_the_one_that_was_taken_is_named_once():
    sounds = [tone(number, 8.0) for number in (1, 2)]
    data = film(sounds=sounds)
    assert warnings_of(data) == [TAKEN]
    assert warnings_of(data, begin=5.5) == [TAKEN]  # it is opened a second time for that
    with pytest.warns(AudioWarning, match="2 audio tracks") as told:
        load_audio(data)
    assert len(told) == 1


def test_who_chose_is_told_nothing_nor_is_there_anything_to_tell_of_one():
    assert warnings_of(film(), track=1) == warnings_of(film(), track=2) == []
    assert warnings_of(film(({},))) == []
    assert warnings_of(film(({},)), track=1) == []


def test_what_is_told_is_no_damage():
    data = film(({}, {}), "mp4")
    line = "bytes: has 2 audio tracks and none was asked for; track 1 was taken (flac, 1 channel)"
    with open_audio(data) as sound:
        list(sound)
        assert (sound.notes, sound.damage) == ((line,), [])
    half = len(data) // 2
    with open_audio(data[:half] + bytes(2_000) + data[half + 2_000 :]) as sound:
        list(sound)
        assert sound.warnings == [line, *sound.damage]
        assert "damaged at second" in sound.damage[0]


def test_a_track_that_is_not_there_names_those_that_are():
    with pytest.raises(AudioError) as refused:
        open_audio(film(), track=3)
    assert str(refused.value) == (
        "bytes: has 2 audio tracks, there is none of number 3; they are "
        '1 (eng, "Film", flac, 1 channel), 2 (deu, "Kommentar", flac, 1 channel)'
    )
    with pytest.raises(AudioError, match=r"has one audio track, .* number 2; it is 1 \(flac, 1 ch"):
        open_audio(film(({},)), track=2)
    with pytest.raises(AudioError, match=r"16 \(flac, 1 channel\) and 3 more$"):
        open_audio(film(({},) * 19), track=99)


def test_quicktime_calls_a_title_name():
    with pytest.raises(AudioError, match=r'1 \(eng, "Film", alac, 1 channel\), 2 \("Kommentar", '):
        open_audio(film((TWO[0], {"title": "Kommentar"}), "mov", "alac"), track=3)


def test_a_title_cannot_end_a_line_or_paint_a_terminal():
    with pytest.raises(AudioError) as refused:
        open_audio(film(({"title": "a\n\x1b[31m" + "b" * 500}, {})), track=3)
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 300


def test_without_a_decoder_another_track_is_taken():
    data = film().replace(b"A_FLAC", b"A_NONE", 1)
    first, second = '1 was taken (eng, "Film"', '2 was taken (deu, "Kommentar"'
    assert warnings_of(data) == [TAKEN.replace(first, second)]
    with pytest.warns(AudioWarning):
        np.testing.assert_allclose(load_audio(data).samples, tone(2), atol=1e-4)
    with pytest.raises(AudioDecodeError, match=r'no decoder for track 1 \(eng, "Film", unknown co'):
        open_audio(data, track=1)
    with pytest.raises(AudioDecodeError, match="nothing in it can be decoded"):
        open_audio(data.replace(b"A_FLAC", b"A_NONE", 1))


def test_samples_without_a_file_are_one_track():
    for source, rate in ((tone(1), RATE), (Audio(tone(1), RATE), None)):
        assert len(load_audio(source, source_rate=rate, track=1).samples) == len(tone(1))
        with pytest.raises(AudioError, match="has one audio track, there is none of number 2"):
            open_audio(source, source_rate=rate, track=2)


@pytest.mark.parametrize("track", [0, -1, 0.5, True, "deu"])
def test_what_is_no_number_of_a_track(track):
    with pytest.raises(OptionError, match="whole number, 1 for the first"):
        open_audio(film(), track=track)


def test_live_captions_are_told_before_the_sound_comes():
    told = []
    blocks = file_blocks(io.BytesIO(film()), warn=told.append)
    next(blocks)
    assert told == [TAKEN.replace("bytes", "stream")]
    list(blocks)
    assert len(told) == 1
    heard = np.concatenate(list(file_blocks(film(), track=2, warn=told.append)))
    np.testing.assert_allclose(heard, tone(2), atol=1e-4)
    assert len(told) == 1
