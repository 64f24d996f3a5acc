"""The verb `live`, with the embedded model and recordings as a user would give them."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from typer.main import get_command
from typer.testing import CliRunner

from ark_asr.audio import load_audio
from ark_asr.cli import app
from ark_asr.cli.captions import Screen, loudness, meter
from ark_asr.types import LiveEvent, LiveOptions
from programs import started


def run(*arguments, stdin=None):
    result = CliRunner().invoke(app, ["live", *map(str, arguments)], input=stdin)
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result


@pytest.fixture(scope="module")
def hello(root):
    return root / "samples" / "hello.flac"


def test_the_times_are_those_of_the_library():
    given = {option.name: option.default for option in get_command(app).commands["live"].params}
    times = {"step", "pause", "max_utterance", "lead", "threshold"}
    assert {name: given[name] for name in times} == {
        name: getattr(LiveOptions(), name) for name in times
    }


def test_a_recording_gives_a_line_per_utterance_and_appends_it(hello, tmp_path):
    output = tmp_path / "notes.txt"
    output.write_text("before\n")
    result = run(hello, "--output", output)
    assert result.exit_code == 0
    assert len(result.stdout.split()) > 1
    assert output.read_text() == "before\n" + result.stdout


def test_a_recording_may_be_named_by_an_option(hello):
    assert run("--input", hello).stdout == run(hello).stdout
    result = run(hello, "--input", hello)
    assert result.exit_code == 2
    assert "say the same" in result.stderr


def test_a_pipe_of_samples_says_the_same(hello):
    pcm = (load_audio(hello).samples * 32767).astype("<i2").tobytes()
    lines = run(hello).stdout
    assert run("-", "--fast", stdin=pcm).stdout == lines
    assert run("-", stdin=pcm).stdout == lines


def test_json_has_every_event(hello):
    result = run(hello, "--json")
    events = [json.loads(line) for line in result.stdout.splitlines()]
    assert {event["kind"] for event in events} == {"partial", "final"}
    assert [event["settled"] for event in events if event["kind"] == "final"] == (
        run(hello).stdout.splitlines()
    )
    final = events[-1]
    assert final["segments"][0]["text"] == final["settled"]
    assert 0 < final["confidence"] <= 1


def finals(result):
    events = [json.loads(line) for line in result.stdout.splitlines()]
    return [event for event in events if event["kind"] == "final"]


def test_finished_words_have_times_on_request(hello):
    (final,) = finals(run(hello, "--json", "--words"))
    (segment,) = final["segments"]
    assert [word["text"] for word in segment["words"]] == final["settled"].split()
    assert final["start"] <= segment["words"][0]["start"] < segment["words"][-1]["end"]
    assert finals(run(hello, "--json"))[0]["segments"][0]["words"] == []


def test_hot_words_are_heard_live(hello):
    usual = run(hello).stdout
    assert "kink" not in usual
    assert "kink" in run(hello, "--hotwords", "kink :50").stdout
    assert "kink" in run(hello, "--hotwords", "kink", "--hotword-boost", "25").stdout


def test_how_utterances_are_found(hello):
    def spans(*options):
        return [(event["start"], event["end"]) for event in finals(run(hello, "--json", *options))]

    ((start, end),) = spans()
    assert len(spans("--max-utterance", "1")) > 1
    assert spans("--lead", "0") > [(start, end)]
    assert spans("--threshold", "0.999") != [(start, end)]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--words", "-"], "--words needs --json"),
        (["--hotword-boost", "2", "-"], "--hotword-boost needs --hotwords"),
        (["--hotwords", "names.txt", "-"], "names.txt: no such file of hot words"),
        (["--hotwords", "a :b", "-"], "'a :b' is not a word and"),
        (["--max-utterance", "0.5", "-"], "max_utterance is 0.5 s; it must be at least 1 s"),
        (["--threshold", "1.5", "-"], "threshold is 1.5; it is a probability"),
        (["nothing.wav"], "nothing.wav: no such file"),
        (["https://h/a.ogg"], "pipe it: curl -s https://h/a.ogg | ark-asr transcribe -"),
        (["--begin", "3", "-"], "--begin is for recordings"),
        (["--device", "1", "-"], "--device is for the microphone"),
        (["--fast"], "a microphone cannot be read faster"),
        (["--rate", "5", "-"], "rate is 5; it must be a whole number of Hz"),
        (["--rate", "0", "-"], "rate is 0; it must be a whole number of Hz"),
        (["--rate", "8000", "nothing.wav"], "--rate is for samples on standard input"),
        (["--rate", "8000"], "--rate is for samples on standard input"),
    ],
)
def test_bad_input_is_one_line(arguments, line):
    result = run(*arguments)
    assert result.exit_code == 2
    assert line in result.stderr
    assert result.stderr.count("\n") == 1


def test_past_the_end_of_a_recording_is_one_line(hello):
    result = run(hello, "--begin", "1:00:00")
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1


def test_a_damaged_recording_says_where(hello, tmp_path):
    half = tmp_path / "half.flac"
    half.write_bytes(hello.read_bytes()[:40_000])
    result = run(half)
    assert result.exit_code == 0
    assert result.stdout.startswith("there was")
    assert result.stderr.startswith(f"ark-asr: {half}: damaged at second 1.8 (")
    assert result.stderr.count("\n") == 1


def test_an_output_that_cannot_be_written_is_one_line(hello, tmp_path):
    result = run(hello, "--output", tmp_path)
    assert result.exit_code == 2
    assert str(tmp_path) in result.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full disk here")
def test_a_full_disk_is_one_line(hello):
    result = run(hello, "--output", "/dev/full")
    assert result.exit_code == 2
    assert result.stderr == "ark-asr: [Errno 28] No space left on device\n"


def test_ctrl_c_ends_with_what_was_said(hello):
    pcm = (load_audio(hello).samples * 32767).astype("<i2").tobytes()
    with started(
        [sys.executable, "-m", "ark_asr", "live", "-", "--json"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdin.write(pcm[: len(pcm) // 4 * 2])
        process.stdin.flush()
        assert b"partial" in process.stdout.readline()
        time.sleep(0.2)  # it waits for more sound now
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read().splitlines()
        said = process.stderr.read()
        assert (process.wait(60), said) == (0, b"ark-asr: stopped\n")
    assert json.loads(rest[-1])["kind"] == "final"


def partial(**more):
    return LiveEvent("partial", 1, 0.0, 1.0, settled="the cat", pending=" sat", **more)


def test_the_screen_shows_settled_and_pending_words_apart():
    console = Console(file=io.StringIO(), force_terminal=True, width=60)
    screen = Screen(console, None)
    screen.show([partial(lag=0.25)], np.full(1600, 0.5, np.float32))
    view = screen.view()
    assert view.plain.splitlines()[0] == "the cat sat"
    assert {view.plain[span.start : span.end]: span.style for span in view.spans[:2]} == {
        "the cat": "bold",
        " sat": "dim",
    }
    assert "0.2 s behind" in view.plain
    assert "too slow" not in view.plain


def test_the_screen_says_when_the_machine_is_too_slow():
    screen = Screen(Console(file=io.StringIO()), None)
    screen.show([partial(behind=True)])
    assert "too slow" in screen.view().plain


def test_a_finished_line_stays_on_the_screen_and_goes_to_the_file():
    console, file = Console(file=io.StringIO(), width=60), io.StringIO()
    screen = Screen(console, file)
    screen.show([LiveEvent("final", 1, 61.0, 62.0, settled="the cat sat")])
    assert console.file.getvalue() == "1:01  the cat sat\n"
    assert file.getvalue() == "the cat sat\n"
    assert "cat" not in screen.view().plain


def test_the_meter_follows_the_loudness():
    levels = [meter(loudness(np.full(160, a, np.float32))) for a in (0.0, 0.01, 0.1, 1.0)]
    assert levels == sorted(levels)
    assert len(set(levels)) == 4
