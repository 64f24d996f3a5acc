"""Films of several audio tracks on the command line: one is chosen, or it is said which was."""

from __future__ import annotations

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from ark_asr import Recognizer
from ark_asr.audio import load_audio
from ark_asr.cli import app
from ark_asr.engines.scripted import ScriptedEngine
from ark_asr.models.tokenizer import Tokenizer
from films import RATE, film


@pytest.fixture
def program(monkeypatch, byte_checkpoint):
    """Run a verb with a model that says the given words, clip after clip."""
    tokenizer = Tokenizer.load(byte_checkpoint)

    def program(verb, *arguments, says=("hello",)):
        engine = ScriptedEngine(tokenizer.config, [tokenizer.encode(words) for words in says])
        scripted = Recognizer(engine, tokenizer, "scripted")
        monkeypatch.setattr(Recognizer, "load", classmethod(lambda cls, *_, **__: scripted))
        result = CliRunner().invoke(app, [verb, *map(str, arguments)])
        assert result.exception is None or isinstance(result.exception, SystemExit)
        return result

    return program


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "film.mkv"
    path.write_bytes(film())
    return path


def taken(path):
    return (
        f"{path}: has 2 audio tracks and none was asked for; "
        'track 1 was taken (eng, "Film", flac, 1 channel)'
    )


def test_who_does_not_choose_is_told_once_and_all_else_is_as_ever(program, path):
    result = program("transcribe", path, "--no-vad", "-f", "json")
    assert (result.exit_code, result.stderr) == (0, f"ark-asr: {taken(path)}\n")
    assert json.loads(result.stdout)["warnings"] == [taken(path)]
    result = program("transcribe", path, "--no-vad")
    assert (result.exit_code, result.stdout) == (0, "hello\n")
    assert result.stderr.count("none was asked for") == 1


def test_who_chooses_is_told_nothing(program, path):
    result = program("transcribe", path, "--no-vad", "--track", 2, "-f", "json")
    assert (result.exit_code, result.stderr) == (0, "")
    assert json.loads(result.stdout)["warnings"] == []


def test_a_track_that_is_not_there(program, path):
    result = program("transcribe", path, "--track", 3)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == (
        f"ark-asr: {path}: has 2 audio tracks, there is none of number 3; they are "
        '1 (eng, "Film", flac, 1 channel), 2 (deu, "Kommentar", flac, 1 channel)\n'
    )


@pytest.mark.parametrize("verb", ["transcribe", "live", "batch"])
def test_a_number_that_no_track_has(program, path, tmp_path, verb):
    recording = [path] if verb != "batch" else ["-i", tmp_path, "-o", tmp_path / "out.jsonl"]
    result = program(verb, *recording, "--track", 0)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "ark-asr: track is 0; it must be a whole number, 1 for the first\n"
    assert not (tmp_path / "out.jsonl").exists()


def test_channels_are_those_of_the_track(program, path):
    """Each channel is heard by itself, and still there is one line for the recording."""
    noise = np.random.default_rng(2).normal(0, 0.1, (2, 4 * RATE)).astype(np.float32)
    path.write_bytes(film(({}, {}), sounds=[noise, noise[0]]))
    says = ["hello", "yes?"]
    result = program("transcribe", path, "--channels", "--no-vad", says=says)
    assert (result.exit_code, result.stdout) == (0, "Speaker A: hello\nSpeaker B: yes?\n")
    assert result.stderr.count("track 1 was taken (flac, 2 channels)") == 1
    result = program("transcribe", path, "--channels", "--track", 2)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "film.mkv: has one channel" in result.stderr


def test_the_same_track_is_searched_for_speakers(program, path, monkeypatch):
    asked = []

    class Diarizer:
        def __init__(self, *_, **__):
            pass

        def turns(self, source, *, begin, end, track, progress):
            asked.append(track)
            return ()

    monkeypatch.setattr("ark_asr.pipeline.diarize.Diarizer", Diarizer)
    monkeypatch.setattr("ark_asr.models.speakers.SpeakerModels.find", lambda _: None)
    result = program(
        "transcribe", path, "--no-vad", "--track", 2, "--speakers", "auto", "--word-times",
        "estimate",
    )  # fmt: skip
    assert (result.exit_code, asked) == (0, [2])


def test_rows_of_a_batch(program, path, tmp_path):
    rows, output = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    rows.write_text(json.dumps({"audio": str(path), "text": ""}) + "\n")
    result = program("batch", "-i", rows, "-o", output, "--no-vad")
    assert result.exit_code == 0
    assert result.stderr.count(taken(path)) == 1
    assert json.loads(output.read_text())["pred_text"] == "hello"
    result = program("batch", "-i", rows, "-o", output, "--overwrite", "--no-vad", "--track", 2)
    assert result.exit_code == 0
    assert "audio tracks" not in result.stderr
    result = program("batch", "-i", rows, "-o", output, "--overwrite", "--track", 3)
    assert result.exit_code == 1
    assert "there is none of number 3; they are 1 (" in json.loads(output.read_text())["error"]


def test_live_captions(program, path):
    result = program("live", path)
    assert result.exit_code == 0
    assert result.stderr.count(taken(path)) == 1
    assert "audio tracks" not in program("live", path, "--track", 2).stderr
    result = program("live", "-", "--track", 2)
    assert result.exit_code == 2
    assert "--track is for recordings" in result.stderr


def test_the_other_track_is_what_the_model_hears(root, tmp_path):
    """With the model itself: silence is track 1, and someone speaks on track 2."""
    hello = load_audio(root / "samples" / "hello.flac").samples
    assert len(hello) > RATE
    path = tmp_path / "film.mkv"
    path.write_bytes(film(sounds=[np.zeros_like(hello), hello]))
    said = {}
    for number in (1, 2):
        result = CliRunner().invoke(app, ["transcribe", str(path), "--track", str(number), "-q"])
        assert (result.exit_code, result.stderr) == (0, "")
        said[number] = result.stdout.strip()
    alone = CliRunner().invoke(app, ["transcribe", str(root / "samples" / "hello.flac"), "-q"])
    assert said == {1: "", 2: alone.stdout.strip()}
    assert said[2]
