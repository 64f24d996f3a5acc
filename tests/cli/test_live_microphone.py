"""`ark-asr live` with a microphone: one that is pulled out, and a real sound server.

The sound server is PulseAudio with loudspeakers that exist in software only; a microphone hears
what is played on them. Debian: `apt install pulseaudio pulseaudio-utils libasound2-plugins
libportaudio2`, and the extra `mic`.
"""

from __future__ import annotations

import glob
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import types
from ctypes.util import find_library

import pytest
from typer.testing import CliRunner

from ark_asr.audio import SAMPLE_RATE, load_audio
from ark_asr.cli import app
from programs import started

SAID = "there was a light in the window of the house"
# Sinks by what their monitor is called as a microphone: Hz and channels.
SINKS = {"lectern": (44_100, 2), "desk": (48_000, 1), "telephone": (8_000, 1)}


class Webcam:
    """The part of the library sounddevice that is used; it is pulled out after a recording."""

    PortAudioError = type("PortAudioError", (Exception,), {})
    default = types.SimpleNamespace(device=[0, -1])

    def __init__(self, samples):
        self.samples = samples

    def query_devices(self):
        rate = float(SAMPLE_RATE)
        return [
            {"name": "webcam", "hostapi": 0, "max_input_channels": 1, "default_samplerate": rate}
        ]

    def InputStream(self, *, callback, finished_callback, **options):
        def start():
            callback(self.samples[:, None], len(self.samples), None, None)
            finished_callback()

        return types.SimpleNamespace(start=start, close=lambda: None)


def test_what_was_heard_before_the_microphone_went_is_kept(root, monkeypatch, tmp_path):
    samples = load_audio(root / "samples" / "hello.flac").samples[: 2 * SAMPLE_RATE]
    monkeypatch.setitem(sys.modules, "sounddevice", Webcam(samples))
    notes = tmp_path / "notes.txt"
    result = CliRunner().invoke(app, ["live", "--output", str(notes)])
    assert result.exit_code == 2
    assert result.stderr == (
        "ark-asr: the microphone 'webcam' is gone: no more sound comes from it\n"
    )
    assert result.stdout.startswith("there was a light in the")
    assert notes.read_text() == result.stdout


def _missing():
    programs = [name for name in ("pulseaudio", "pactl", "paplay") if shutil.which(name) is None]
    if programs:
        return f"no sound server: {', '.join(programs)} not installed"
    if find_library("portaudio") is None:
        return "PortAudio (libportaudio2) not installed"
    if not glob.glob("/usr/lib/*/alsa-lib/libasound_module_pcm_pulse.so"):  # noqa: PTH207
        return "ALSA's plug-in for PulseAudio (libasound2-plugins) not installed"
    try:
        import sounddevice  # noqa: F401
    except ModuleNotFoundError:
        return "the extra 'mic' is not installed"
    return None


class Hall:
    """A private sound server."""

    def __init__(self, folder):
        socket = folder / "native"
        home = folder / "home"
        home.mkdir()
        (home / ".asoundrc").write_text(
            "pcm.!default { type pulse }\nctl.!default { type pulse }\n"
            + "".join(f"pcm.{name} {{ type pulse device {name}.monitor }}\n" for name in SINKS)
        )
        own = {
            "HOME": str(home),
            "PULSE_RUNTIME_PATH": str(folder),
            "PULSE_STATE_PATH": str(folder),
        }
        modules = [f"module-native-protocol-unix socket={socket} auth-anonymous=1"]
        modules += [
            f"module-null-sink sink_name={name} rate={rate} channels={channels}"
            for name, (rate, channels) in SINKS.items()
        ]
        loads = [part for module in modules for part in ("-L", module)]
        self.environment = {**os.environ, **own, "PULSE_SERVER": f"unix:{socket}"}
        self.process = subprocess.Popen(
            [
                "pulseaudio",
                "-n",
                "--daemonize=no",
                "--exit-idle-time=-1",
                "--use-pid-file=no",
                *loads,
            ],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            self.until(lambda: len(self.listed("sinks")) == len(SINKS))
        except BaseException:
            self.process.kill()
            raise

    def until(self, done):
        for _ in range(600):
            if done():
                return
            time.sleep(0.1)
        raise AssertionError("the sound server did not get there")

    def listed(self, what):
        answer = subprocess.run(
            ["pactl", "list", "short", what],
            env=self.environment, check=False, capture_output=True, text=True,
        )  # fmt: skip
        return answer.stdout.splitlines()

    def live(self, *arguments):
        return started(
            [sys.executable, "-m", "ark_asr", "live", "--threads", "1", *arguments],
            env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def play(self, sink, path):
        self.until(lambda: self.listed("source-outputs"))  # someone listens
        command = ["paplay", f"--device={sink}", str(path)]
        return subprocess.Popen(command, env=self.environment, stderr=subprocess.DEVNULL)


@pytest.fixture
def hall(tmp_path):
    if reason := _missing():
        pytest.skip(reason)
    hall = Hall(tmp_path)
    yield hall
    hall.process.kill()
    hall.process.wait()


@pytest.mark.parametrize("name", SINKS)
def test_what_is_played_in_the_hall_is_written_down(hall, root, name):
    with hall.live("--device", name, "--json") as process:
        with hall.play(name, root / "samples" / "hello.flac") as player:
            assert player.wait(180) == 0
        for line in process.stdout:
            if json.loads(line)["kind"] == "final":
                break
        process.send_signal(signal.SIGINT)
        rest, errors = process.communicate(timeout=180)
    final = json.loads(line)
    # Eight kilohertz cost a word now and then.
    assert len(set(final["settled"].split()) & set(SAID.split())) >= len(set(SAID.split())) - 1
    assert (rest, errors, process.returncode) == ("", "ark-asr: stopped\n", 0)


def test_a_sound_server_that_dies_costs_one_line_and_no_words(hall, root):
    with hall.live("--json") as process:
        with hall.play("lectern", root / "samples" / "minute.flac"):
            partial = json.loads(process.stdout.readline())
            while not partial["settled"]:
                partial = json.loads(process.stdout.readline())
            hall.process.kill()
        rest, errors = process.communicate(timeout=180)
    final = json.loads(rest.splitlines()[-1])
    assert final["kind"] == "final"
    assert final["settled"]
    assert errors == "ark-asr: the microphone 'default' is gone: no more sound comes from it\n"
    assert process.returncode == 2


def test_the_microphones_are_listed_and_none_is_invented(hall):
    with hall.live("--list-devices") as process:
        listed, errors = process.communicate(timeout=180)
    names = [line.partition(": ")[2] for line in listed.splitlines()]
    assert {*SINKS, "default (the system's choice)"} <= set(names)
    hall.process.kill()
    hall.process.wait()
    with hall.live() as process:
        said, errors = process.communicate(timeout=180)
    assert (said, errors) == ("", "ark-asr: no microphone is known to the system\n")
    assert process.returncode == 2
