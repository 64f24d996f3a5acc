"""Speakers on the command line: names in the output, one line for what is wrong, nothing kept."""

from __future__ import annotations

import json
import re
import wave

import numpy as np
import pytest
from typer.testing import CliRunner

import speaker_models
from ark_asr import Recognizer
from ark_asr.audio import load_audio
from ark_asr.cli import app
from ark_asr.engines.scripted import ScriptedEngine
from ark_asr.models.tokenizer import Tokenizer

RATE = 16_000
RTTM = "SPEAKER {name} 1 {start} {length} <NA> <NA> {who} <NA> <NA>\n"


@pytest.fixture
def program(monkeypatch, byte_checkpoint):
    """Run `ark-asr transcribe` with a model that says the given words, clip after clip."""
    tokenizer = Tokenizer.load(byte_checkpoint)

    def program(*arguments, says=()):
        engine = ScriptedEngine(tokenizer.config, [tokenizer.encode(words) for words in says])
        scripted = Recognizer(engine, tokenizer, "scripted")
        monkeypatch.setattr(Recognizer, "load", classmethod(lambda cls, *_, **__: scripted))
        result = CliRunner().invoke(app, ["transcribe", *map(str, arguments)])
        assert result.exception is None or isinstance(result.exception, SystemExit)
        return result

    return program


@pytest.fixture
def wav(tmp_path):
    def wav(name, channels=1, seconds=4.0):
        path = tmp_path / "in" / name
        path.parent.mkdir(exist_ok=True)
        shape = (round(seconds * RATE), channels)
        with wave.open(str(path), "wb") as file:
            file.setnchannels(channels)
            file.setsampwidth(2)
            file.setframerate(RATE)
            noise = np.random.default_rng(1).normal(0, 900, shape).astype("<i2")
            file.writeframes(noise.tobytes())
        return path

    return wav


@pytest.fixture
def rttm(tmp_path):
    def rttm(*turns, name="talk"):
        path = tmp_path / "turns.rttm"
        lines = [RTTM.format(name=name, start=s, length=e - s, who=who) for s, e, who in turns]
        path.write_text("".join(lines))
        return path

    return rttm


def test_names_of_an_rttm_file_are_shown_as_they_are(program, wav, rttm):
    turns = rttm((0, 2, "Ada"), (2, 4, "SPEAKER_01"))
    result = program(
        wav("talk.wav"), "--no-vad", "--speakers", turns, "--word-times", "estimate",
        says=["aaaa bbbb cccc dddd"],
    )  # fmt: skip
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == "Ada: aaaa bbbb\nSPEAKER_01: cccc dddd\n"


def test_every_word_has_its_speaker_in_json(program, wav, rttm):
    turns = rttm((0, 2, "Ada"), (2, 4, "Bob"))
    result = program(
        wav("talk.wav"), "--no-vad", "--speakers", turns, "--word-times", "estimate", "-f", "json",
        says=["aaaa bbbb cccc dddd"],
    )  # fmt: skip
    segments = json.loads(result.stdout)["segments"]
    assert [segment["speaker"] for segment in segments] == ["Ada", "Bob"]
    words = [(word["text"], word["speaker"]) for one in segments for word in one["words"]]
    assert words == [("aaaa", "Ada"), ("bbbb", "Ada"), ("cccc", "Bob"), ("dddd", "Bob")]


def test_one_file_for_several_recordings(program, wav, rttm):
    one, two = wav("one.wav"), wav("two.wav")
    result = program(
        one, two, "--no-vad", "--speakers", rttm((0, 4, "Ada"), name="one"), "--word-times",
        "estimate", says=["hello", "bye"],
    )  # fmt: skip
    assert result.exit_code == 2
    assert "Ada: hello" in result.stdout
    assert "has no turns of two, but of one" in result.stderr


def test_channels(program, wav):
    result = program(wav("call.wav", channels=2), "--no-vad", "--channels", says=["hello", "yes?"])
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == "Speaker A: hello\nSpeaker B: yes?\n"


def test_channels_of_a_mono_recording(program, wav):
    result = program(wav("talk.wav"), "--channels", says=["x"])
    assert (result.exit_code, result.stdout) == (2, "")
    assert "talk.wav: has one channel" in result.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--channels", "--speakers", "auto"], "leave out --speakers"),
        (["--channels", "--resume", "-o", "out"], "--resume cannot go on with --channels"),
        (["--num-speakers", "2"], "--num-speakers needs --speakers auto"),
        (["--speaker-models", "x", "--speakers", "a.rttm"], "--speaker-models needs"),
        (["--speakers", "none.rttm"], r"none.rttm: cannot be read"),
        (["--speakers", "auto", "--speaker-models", "none"], "segmentation.onnx: no such file"),
        (["--speakers", "auto"], "ark-asr models pull titanet-small"),
    ],
)
def test_what_does_not_go_is_said_in_one_line(program, wav, tmp_path, monkeypatch, options, said):
    monkeypatch.chdir(tmp_path)
    result = program(wav("talk.wav"), *options)
    assert result.exit_code == 2
    assert said in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_voices_are_told_apart_and_nothing_is_kept_of_them(
    program, root, tmp_path, monkeypatch, capfd
):
    pytest.importorskip("sherpa_onnx", reason="the extra 'speakers' is not installed")
    models = speaker_models.write_models(tmp_path / "models")
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.chdir(home)
    for name in ("HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "TMPDIR", "ARK_ASR_HOME"):
        monkeypatch.setenv(name, str(home))
    sound = load_audio(root / "samples" / "hello.flac")
    talk = home / "talk.wav"
    with wave.open(str(talk), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes((sound.samples * 32_767).astype("<i2").tobytes())
    result = program(
        talk, "--speakers", "auto", "--num-speakers", 1, "--speaker-models", models, "--threads", 1,
        "--word-times", "estimate", "-o", home / "out", "-f", "txt,json", says=["hello there"] * 9,
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    assert (home / "out" / "talk.txt").read_text().startswith("Speaker A: hello there")
    files = {path.relative_to(home).as_posix() for path in home.rglob("*") if path.is_file()}
    assert files == {"talk.wav", "out/talk.txt", "out/talk.json"}
    assert {path.name for path in models.iterdir()} == {"segmentation.onnx", "embedding.onnx"}
    written = (home / "out" / "talk.json").read_text()
    assert "embedding" not in written
    assert capfd.readouterr() == ("", "")


def test_fewer_speakers_than_were_told_are_said(program, root, tmp_path):
    pytest.importorskip("sherpa_onnx", reason="the extra 'speakers' is not installed")
    models = speaker_models.write_models(tmp_path / "models")
    result = program(
        root / "samples" / "hello.flac", "--speakers", "auto", "--num-speakers", 99,
        "--speaker-models", models, "--threads", 1, "--word-times", "estimate",
        says=["hello there"] * 9,
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    assert re.search(r"hello\.flac: the voices of \d+, not of 99, were told apart", result.stderr)
