"""A microphone, with a sound card that is pretended; a real sound server: tests/cli."""

from __future__ import annotations

import sys
import types

import numpy as np
import pytest

from ark_asr.audio import SAMPLE_RATE
from ark_asr.audio import microphone as module
from ark_asr.audio.microphone import Microphone
from ark_asr.errors import AudioError, MissingExtraError


def sound_input(name, hostapi=0, channels=1, rate=48_000.0):
    return {
        "name": name,
        "hostapi": hostapi,
        "max_input_channels": channels,
        "default_samplerate": rate,
    }


SPEAKER = sound_input("speaker", channels=0, rate=44_100.0)


class Card:
    """The part of the library sounddevice that is used."""

    PortAudioError = type("PortAudioError", (Exception,), {})

    def __init__(self, *devices, own=1):
        self.devices = devices
        self.default = types.SimpleNamespace(device=[own, 0])
        self.streams = []
        self.broken = False

    def query_devices(self):
        return list(self.devices)

    def InputStream(self, **options):
        if self.broken:
            raise self.PortAudioError("Error opening InputStream:\nDevice unavailable")
        stream = types.SimpleNamespace(start=lambda: None, close=lambda: None, **options)
        self.streams.append(stream)
        return stream


@pytest.fixture
def card(monkeypatch):
    def pretend(*devices, own=1):
        card = Card(SPEAKER, *devices, own=own)
        monkeypatch.setitem(sys.modules, "sounddevice", card)
        return card

    return pretend


def test_a_microphone_is_resampled_from_its_own_rate(card):
    sounds = card(sound_input("webcam"))
    microphone = Microphone("webcam")
    (stream,) = sounds.streams
    assert (stream.samplerate, stream.channels, stream.dtype) == (48_000.0, 1, "float32")
    for _ in range(10):
        stream.callback(np.full((4800, 1), 0.25, np.float32), 4800, None, None)
    microphone.close()
    heard = np.concatenate(list(microphone))
    assert len(heard) == pytest.approx(SAMPLE_RATE, abs=200)
    assert heard[1000:-1000] == pytest.approx(0.25, abs=1e-3)


def test_both_sockets_of_an_interface_are_heard(card):
    sounds = card(sound_input("interface", channels=8, rate=16_000.0))
    microphone = Microphone()
    (stream,) = sounds.streams
    assert stream.channels == 2
    stream.callback(np.array([[0.0, 0.5], [0.25, 0.0]], np.float32), 2, None, None)
    microphone.close()
    assert np.concatenate(list(microphone)).tolist() == [0.25, 0.125]


def test_a_microphone_that_goes_away_gives_what_it_heard_and_says_so(card):
    sounds = card(sound_input("webcam", rate=16_000.0))
    blocks = iter(Microphone())
    (stream,) = sounds.streams
    stream.callback(np.ones((1600, 1), np.float32), 1600, None, None)
    stream.finished_callback()
    assert len(next(blocks)) == 1600
    assert len(next(blocks)) == 0
    with pytest.raises(AudioError, match="'webcam' is gone"):
        next(blocks)


def test_a_driver_that_falls_silent_is_noticed(card, monkeypatch):
    monkeypatch.setattr(module, "_PATIENCE", 0.01)
    card(sound_input("webcam"))
    with pytest.raises(AudioError, match="'webcam' is gone"):
        list(Microphone())


def test_the_system_chooses_and_the_list_says_what(card):
    sounds = card(sound_input("webcam"), sound_input("headset"), own=2)
    assert Microphone.devices() == ["1: webcam", "2: headset (the system's choice)"]
    Microphone()
    assert sounds.streams[0].device == 2


@pytest.mark.parametrize(
    ("wanted", "taken"),
    [("2", 2), ("HEAD", 2), ("webcam", 1), ("cam (left)", 3)],
)
def test_a_microphone_is_chosen_by_number_or_name(card, wanted, taken):
    sounds = card(sound_input("webcam"), sound_input("headset"), sound_input("webcam (left)"))
    Microphone(wanted)
    assert sounds.streams[0].device == taken


def test_of_one_device_under_several_interfaces_the_usual_one_is_taken(card):
    sounds = card(sound_input("mapper", 1), sound_input("headset", 0), sound_input("headset", 1))
    Microphone("headset")
    assert sounds.streams[0].device == 3


@pytest.mark.parametrize(
    ("wanted", "line"),
    [
        ("nothing", "there is no microphone 'nothing'; inputs: 1: webcam; 2: webcam 2"),
        ("0", "there is no microphone '0'; inputs"),  # the loudspeaker
        ("9", "there is no microphone '9'; inputs"),
        ("cam", "several microphones are called 'cam'; inputs: 1: webcam; 2: webcam 2"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_those_that_are_known(card, wanted, line):
    card(sound_input("webcam"), sound_input("webcam 2"))
    with pytest.raises(AudioError) as refused:
        Microphone(wanted)
    assert line in str(refused.value)


def test_no_microphone_at_all_is_said(card):
    card(own=-1)
    assert Microphone.devices() == []
    for device in (None, "0", "webcam"):
        with pytest.raises(AudioError, match=r"^no microphone is known to the system$"):
            Microphone(device)


def test_a_system_that_has_not_chosen_is_not_chosen_for(card):
    card(sound_input("webcam"), own=-1)
    with pytest.raises(AudioError, match=r"not chosen.*1: webcam"):
        Microphone()


def test_a_microphone_in_use_is_one_line(card):
    card(sound_input("webcam")).broken = True
    with pytest.raises(AudioError, match=r"'webcam' cannot be opened \(.*Device unavailable\)"):
        Microphone()


def test_a_microphone_that_cannot_start_is_given_back(card, monkeypatch):
    sounds, closed = card(sound_input("webcam")), []

    def fails(**_options):
        def start():
            raise sounds.PortAudioError("Error starting stream: Device unavailable")

        return types.SimpleNamespace(start=start, close=lambda: closed.append(True))

    monkeypatch.setattr(sounds, "InputStream", fails)
    with pytest.raises(AudioError, match=r"'webcam' cannot be opened \(Error starting stream"):
        Microphone()
    assert closed == [True]


def test_without_the_library_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(MissingExtraError, match=r"ark-asr\[mic\]"):
        Microphone()
