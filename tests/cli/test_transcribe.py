"""The verb `transcribe` as a user meets it: what is printed, what is written, how it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import wave

import numpy as np
import pytest
from typer.testing import CliRunner

from ark_asr import ModelNotFoundError, Recognizer
from ark_asr.cli import app
from ark_asr.engines.scripted import ScriptedEngine
from ark_asr.models.tokenizer import Tokenizer
from ark_asr.writers import FORMATS
from programs import started


class Stubborn(ScriptedEngine):
    """Is interrupted by Ctrl-C when it hears a given clip."""

    interrupted_at = None

    def embed_audio(self, mels):
        if self._heard == self.interrupted_at:
            raise KeyboardInterrupt
        return super().embed_audio(mels)


@pytest.fixture
def program(monkeypatch, byte_checkpoint):
    """Run `ark-asr` with a model that says the given words, clip after clip."""
    tokenizer = Tokenizer.load(byte_checkpoint)

    def program(*arguments, says=(), interrupted_at=None, **options):
        engine = Stubborn(tokenizer.config, [tokenizer.encode(words) for words in says])
        engine.interrupted_at = interrupted_at
        loaded = []

        def load(cls, model=None, *, engine=None, threads=None):
            loaded.append((model, engine, threads))
            return scripted

        scripted = Recognizer(engine, tokenizer, "scripted")
        monkeypatch.setattr(Recognizer, "load", classmethod(load))
        result = CliRunner().invoke(app, ["transcribe", *map(str, arguments)], **options)
        result.loaded = loaded
        assert result.exception is None or isinstance(result.exception, SystemExit)
        return result

    return program


def wav(path, seconds=2.0):
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = np.random.default_rng(1).normal(0, 900, round(seconds * 16_000)).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(samples.tobytes())
    return path


@pytest.fixture
def one(tmp_path):
    return wav(tmp_path / "in" / "one.wav")


@pytest.fixture
def two(tmp_path):
    return wav(tmp_path / "in" / "two.wav")


def test_text_on_standard_output_and_nothing_else_anywhere(program, one):
    result = program(one, "--no-vad", says=["hello there"])
    assert (result.stdout, result.stderr, result.exit_code) == ("hello there\n", "", 0)


def test_long_recordings_come_segment_by_segment(program, tmp_path):
    words = [f"part{number}" for number in range(6)]
    result = program(wav(tmp_path / "long.wav", 70), "--no-vad", says=words)
    lines = result.stdout.splitlines()
    assert len(lines) >= 3
    assert lines == words[: len(lines)]


def test_several_recordings_are_told_apart(program, one, two):
    result = program(one, two, "--no-vad", says=["hello", "there"])
    assert result.stdout == f"==> {one} <==\nhello\n==> {two} <==\nthere\n"


def test_one_bad_recording_does_not_stop_the_others(program, one, two, tmp_path):
    text = tmp_path / "letter.txt"
    text.write_text("dear sound")
    missing = tmp_path / "missing.wav"
    result = program(one, missing, tmp_path, text, two, "--no-vad", says=["hello", "there"])
    assert result.exit_code == 2
    assert "hello\n" in result.stdout
    assert "there\n" in result.stdout
    lines = result.stderr.splitlines()
    assert len(lines) == 3
    for line, bad in zip(lines, (missing, tmp_path, text), strict=True):
        assert line.startswith("ark-asr: ")
        assert str(bad) in line


@pytest.mark.parametrize(
    ("name", "begins"),
    [("srt", "1\n00:00:00,000 --> "), ("vtt", "WEBVTT\n"), ("tsv", "start\tend\ttext\n")],
)
def test_other_formats_on_standard_output(program, one, name, begins):
    result = program(one, "--no-vad", "--format", name, says=["hello"])
    assert result.stdout.startswith(begins)
    assert "hello" in result.stdout


def test_jsonl_of_several_recordings_is_one_stream(program, one, two):
    result = program(one, two, "--no-vad", "-f", "jsonl", says=["hello", "there"])
    found = [json.loads(line) for line in result.stdout.splitlines()]
    assert [(line["source"], line["text"]) for line in found] == [
        (str(one), "hello"), (str(two), "there")
    ]  # fmt: skip


def test_files(program, one, two, tmp_path):
    out = tmp_path / "new" / "out"
    result = program(
        one, two, "--no-vad", "-f", "txt,json", "-f", "srt", "-o", out, says=["hello", "there"]
    )
    assert (result.stdout, result.exit_code) == ("", 0)
    assert sorted(path.name for path in out.iterdir()) == sorted(
        f"{stem}.{suffix}" for stem in ("one", "two") for suffix in ("txt", "json", "srt")
    )
    assert (out / "two.txt").read_text() == "there\n"
    assert json.loads((out / "one.json").read_text())["source"] == str(one)
    assert len(result.stderr.splitlines()) == 6


def test_a_name_that_is_no_utf8(program, one, tmp_path):
    odd = wav(tmp_path / "in" / os.fsdecode(b"caf\xe9\n.wav"))
    formats = ",".join(FORMATS)
    result = program(odd, "--no-vad", "-f", formats, "-o", tmp_path / "out", says=["hello"])
    assert result.exit_code == 0
    written = json.loads((tmp_path / "out" / f"{odd.stem}.json").read_text())
    assert written["source"].endswith("caf\\udce9\n.wav")
    result = program(one, odd, "--no-vad", says=["hello", "there"])
    assert result.stdout.splitlines()[2].endswith("caf\\udce9\\n.wav <==")


def test_quiet(program, one, tmp_path):
    result = program(one, "--no-vad", "-o", tmp_path, "--quiet", says=["hello"])
    assert (result.stdout, result.stderr) == ("", "")


def test_same_names_are_refused_before_the_model_is_loaded(program, tmp_path):
    files = [wav(tmp_path / folder / "x.wav") for folder in "ab"]
    result = program(*files, "-o", tmp_path / "out", says=["hello", "there"])
    assert result.exit_code == 2
    assert "would both be written" in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert result.loaded == []
    assert not (tmp_path / "out").exists()


def test_ctrl_c_keeps_what_was_written_before_and_leaves_no_half(program, one, two, tmp_path):
    out = tmp_path / "out"
    result = program(
        one, two, "--no-vad", "-o", out, says=["hello", "there"], interrupted_at=1
    )  # fmt: skip
    assert result.exit_code == 130
    assert [path.name for path in out.iterdir()] == ["one.txt"]
    assert result.stderr.splitlines()[-1] == "ark-asr: interrupted"


def test_a_folder_that_cannot_be_written_is_one_line(program, one, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "one.txt").mkdir()  # in the way, also for root
    result = program(one, "--no-vad", "-o", tmp_path / "out", says=["hello"])
    assert (result.exit_code, result.loaded) == (2, [])
    assert len(result.stderr.splitlines()) == 1
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["one.txt"]


def test_standard_input(program, one):
    result = program("-", "--no-vad", says=["hello"], input=one.read_bytes())
    assert (result.stdout, result.exit_code) == ("hello\n", 0)


def test_begin_and_end(program, tmp_path):
    result = program(
        wav(tmp_path / "a.wav", 70), "--no-vad", "--begin", "1:00", "--end", "65.5", "-f", "tsv",
        says=["hello"],
    )  # fmt: skip
    assert result.stdout.splitlines()[1] == "60000\t65500\thello"


def test_options_reach_the_model(program, one):
    result = program(
        one, "--no-vad", "--model", "m", "--engine", "torch", "--threads", "3", says=["hello"]
    )
    assert result.loaded == [("m", "torch", 3)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--begin", "soon"], "'soon' is not a time"),
        (["--begin", "2", "--end", "1"], "end"),
        (["--batch-size", "0"], "batch_size is 0"),
        (["--format", "doc"], "format 'doc' is not known"),
    ],
)
def test_bad_options_are_one_line(program, one, arguments, message):
    result = program(one, "--no-vad", *arguments, says=["hello"])
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_model_that_is_not_there_is_one_line(one, monkeypatch):
    result = CliRunner().invoke(app, ["transcribe", str(one), "--model", "no-such-model"])
    assert result.exit_code == 2
    assert "no-such-model" in result.stderr
    assert len(result.stderr.splitlines()) == 1
    with pytest.raises(ModelNotFoundError):
        Recognizer.load("no-such-model")


SLOW = """
import signal, sys, time
# A shell's background job, as a CI's may be, starts with Ctrl-C ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
import ark_asr.cli
from ark_asr import Recognizer
from ark_asr.engines.scripted import ScriptedEngine
from ark_asr.models.tokenizer import Tokenizer
from ark_asr.writers import FORMATS

class Slow(ScriptedEngine):
    def embed_audio(self, mels):
        print("listening", file=sys.stderr, flush=True)
        time.sleep(3600)

tokenizer = Tokenizer.load(sys.argv.pop(1))
model = Recognizer(Slow(tokenizer.config, []), tokenizer, "slow")
Recognizer.load = classmethod(lambda *_, **__: model)
ark_asr.cli.main()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for a child")
def test_a_real_ctrl_c(one, tmp_path, byte_checkpoint):
    out = tmp_path / "out"
    command = [
        sys.executable,
        "-c",
        SLOW,
        byte_checkpoint,
        "transcribe",
        one,
        "--no-vad",
        "-o",
        out,
    ]
    with started(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr.readline() == "listening\n"
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
    assert (process.returncode, rest) == (130, "ark-asr: interrupted\n")
    assert not out.exists()


LOOP = "and so on " * 40


def test_strict_ends_with_1_and_names_the_seconds(program, one, two, tmp_path):
    arguments = (one, two, "--no-vad", "--strict", "-o", tmp_path / "out")
    result = program(*arguments, says=["fine", LOOP, LOOP, LOOP])
    assert result.exit_code == 1
    assert f"{two}: 0.00 to 2.00 s were not understood (loop)" in result.stderr
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["one.txt"]


def test_a_recording_that_cannot_be_used_outweighs_one_that_was_not_understood(program, one):
    result = program(one, "nothing.wav", "--no-vad", "--strict", says=[LOOP, LOOP, LOOP])
    assert result.exit_code == 2


def test_resume_needs_a_place_and_a_file(program, one, tmp_path):
    result = program(one, "--resume", says=["x"])
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "--output-dir" in result.stderr
    result = program("-", "--resume", "-o", tmp_path, says=["x"], input=b"RIFF")
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "--resume needs files" in result.stderr


def test_an_address_is_not_fetched_and_the_next_recording_is_done(program, one):
    url = "https://example.org/a.ogg?x=1&y=2"
    result = program(url, "file:///tmp/no.wav", one, "-q", "--no-vad", says=["hello"])
    assert result.exit_code == 2
    assert result.stdout.endswith("hello\n")
    first, second = result.stderr.splitlines()
    assert first.startswith(f"ark-asr: {url}: is an address, and addresses are not fetched; ")
    assert first.endswith(f"download it first, or pipe it: curl -s '{url}' | ark-asr transcribe -")
    assert second == (
        "ark-asr: file:///tmp/no.wav: is an address; give the path of the file: /tmp/no.wav"
    )


def test_of_a_recording_that_cannot_be_used_nothing_is_noted(program, one, tmp_path):
    out = tmp_path / "out"
    result = program(tmp_path / "no.wav", "--resume", "-o", out)
    assert result.stderr == f"ark-asr: {tmp_path / 'no.wav'}: no such file\n"
    arguments = (one, "--no-vad", "-q", "--resume", "-o", out)
    result = program(*arguments, "--begin", "500")
    assert "is beyond the end" in result.stderr
    assert not list(out.iterdir())
    assert program(*arguments, says=["hello"]).exit_code == 0


def test_an_interrupted_run_goes_on_and_leaves_nothing_behind(program, tmp_path):
    recording, out = wav(tmp_path / "in" / "long.wav", 70), tmp_path / "out"
    arguments = (recording, "--no-vad", "-q", "--batch-size", "1", "--resume", "-o", out)
    result = program(*arguments, says=["one", "two", "three", "four"], interrupted_at=2)
    assert result.exit_code == 130
    assert [path.name for path in out.iterdir()] == [".long.ark-asr-journal"]
    result = program(*arguments, says=["three", "four"])
    assert (result.exit_code, result.stderr) == (0, "")
    assert [path.name for path in out.iterdir()] == ["long.txt"]
    assert (out / "long.txt").read_text().split() == ["one", "two", "three"]


def test_with_another_option_it_does_not_go_on(program, tmp_path):
    recording, out = wav(tmp_path / "in" / "long.wav", 70), tmp_path / "out"
    arguments = (recording, "--no-vad", "--resume", "-o", out)
    program(*arguments, says=["one", "two", "three"], interrupted_at=1)
    result = program(*arguments, "--context", "4", says=["one", "two", "three"])
    assert result.exit_code == 2
    assert "was begun with other options" in result.stderr


def test_readings_are_in_json(program, tmp_path):
    file = wav(tmp_path / "a.wav")
    done = program(file, "--no-vad", "--nbest", 2, "-f", "json", "-q", says=["hello"])
    (segment,) = json.loads(done.stdout)["segments"]
    assert segment["text"] == "hello"
    assert [set(other) for other in segment["alternatives"]] == [{"text", "confidence"}]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--nbest", "2"], "--nbest needs --format json or jsonl"),
        (["--hotword-boost", "2"], "--hotword-boost needs --hotwords"),
        (["--hotwords", "names.txt"], "names.txt: no such file of hot words"),
        (["--hotwords", "a :b"], "'a :b' is not a word and"),
        (["--hotwords", "a", "--beam-size", "1"], "beam_size of at least 2"),
        (["--beam-size", "9"], "beam_size is 9"),
    ],
)
def test_options_of_the_search_that_make_no_sense(program, tmp_path, options, message):
    done = program(wav(tmp_path / "a.wav"), *options)
    assert done.exit_code == 2
    assert message in done.stderr
    assert not done.loaded  # said before a model is loaded


def test_hot_words_and_an_instruction_reach_the_road(program, tmp_path, monkeypatch):
    seen = []
    transcribe = Recognizer.transcribe

    def watch(self, source, options, **more):
        seen.append(options)
        return transcribe(self, source, options, **more)

    monkeypatch.setattr(Recognizer, "transcribe", watch)
    (tmp_path / "names").write_text("Čapek :2\n# none\nLjubljana\n", encoding="utf-8")
    done = program(
        wav(tmp_path / "a.wav"), "--no-vad", "--hotwords", tmp_path / "names",
        "--hotword-boost", 0.7, "--instruction", "Write numbers as words.", says=["hello"],
    )  # fmt: skip
    assert done.stdout == "hello\n"
    (options,) = seen
    assert options.hotwords == ("Čapek :2", "Ljubljana")
    assert (options.hotword_boost, options.instruction) == (0.7, "Write numbers as words.")


def test_who_stops_reading_ends_it_without_a_word(root):
    sample = str(root / "samples" / "hello.flac")
    with started(
        [sys.executable, "-m", "ark_asr", "transcribe", sample, "nothing.flac"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        process.stdout.close()
        _, errors = process.communicate(timeout=300)
    assert (errors, process.returncode) == (b"", 1)
