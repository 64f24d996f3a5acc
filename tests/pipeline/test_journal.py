"""An interrupted run goes on where it ended, and says the same as one that was not interrupted."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import stat
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from ark_asr import Journal, OptionError, Recognizer, TranscribeOptions
from ark_asr.audio import AudioStream
from ark_asr.models.tokenizer import Tokenizer
from ark_asr.pipeline.drift import Said
from ark_asr.pipeline.journal import Finished, Origin
from ark_asr.types import Segment, Word
from listener import Listener, wav

OPTIONS = TranscribeOptions(vad=False, batch_size=2, context=0)
ORIGIN = Origin("ark-asr 1", "hash", "model", "options")


class StopError(Exception):
    """The run ends here."""


@pytest.fixture(scope="module")
def model(byte_checkpoint, tmp_path_factory):
    """A model that takes clips of up to three seconds."""
    folder = tmp_path_factory.mktemp("model") / "model"
    shutil.copytree(byte_checkpoint, folder)
    numbers = {"sampling_rate": 16_000, "feature_size": 128, "n_fft": 400, "hop_length": 160}
    text = json.dumps(numbers | {"n_samples": 3 * 16_000})
    (folder / "preprocessor_config.json").write_text(text)
    return folder


@pytest.fixture
def listen(model):
    """A fresh recognizer, and what its engine was given to hear."""
    tokenizer = Tokenizer.load(model)

    def listen(name="listener"):
        engine = Listener(tokenizer, clips=700)
        return Recognizer(engine, tokenizer, name), engine.batches

    return listen


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    return wav(tmp_path_factory.mktemp("in") / "long.wav", 260)  # 13 s: at least five clips


@pytest.mark.parametrize("context", [0, 8])
def test_interrupted_after_any_batch(listen, recording, tmp_path, context):
    options = replace(OPTIONS, context=context)
    recognizer, batches = listen()
    expected = recognizer.transcribe(recording, options)
    count = 0
    while True:
        journal = Journal(tmp_path / f"{count}.journal")
        reports = []

        def report(progress, reports=reports, count=count):
            if len(reports) == count:
                raise StopError
            reports.append(progress)

        recognizer, first = listen()
        try:
            recognizer.transcribe(recording, options, journal=journal, progress=report)
        except StopError:
            pass
        else:
            break
        recognizer, second = listen()
        found = recognizer.transcribe(recording, options, journal=journal)
        assert (found.segments, found.duration) == (expected.segments, expected.duration)
        assert first + second == batches  # nothing is done twice
        count += 1
    assert count >= 3


def test_progress_tells_what_was_there_already(listen, recording, tmp_path):
    journal = Journal(tmp_path / "journal")
    expected = listen()[0].transcribe(recording, OPTIONS, journal=journal)
    reports = []
    listen()[0].transcribe(recording, OPTIONS, journal=journal, progress=reports.append)
    assert sum((report.segments for report in reports), ()) == expected.segments
    assert {report.resumed for report in reports} == {expected.segments[-1].end}
    assert reports[0].speed == 0


def test_a_journal_that_ends_anywhere(listen, recording, tmp_path):
    path = tmp_path / "journal"
    expected = listen()[0].transcribe(recording, OPTIONS, journal=Journal(path)).segments
    whole = path.read_bytes()
    rng = random.Random(0)
    first = whole.index(b"\n")
    ends = [0, 1, first, first + 1, first + 2, len(whole) - 1]
    for end in [*ends, *(rng.randrange(len(whole)) for _ in range(6))]:
        path.write_bytes(whole[:end])
        found = listen()[0].transcribe(recording, OPTIONS, journal=Journal(path))
        assert found.segments == expected
        assert path.read_bytes() == whole


def test_a_cancelled_clip_is_done_again(listen, recording, tmp_path):
    journal = Journal(tmp_path / "journal")
    recognizer, batches = listen()
    cut_short = recognizer.transcribe(
        recording, OPTIONS, journal=journal, cancelled=lambda: len(batches) == 3
    )
    assert "cancelled" in cut_short.segments[-1].flags
    expected = listen()[0].transcribe(recording, OPTIONS).segments
    assert listen()[0].transcribe(recording, OPTIONS, journal=journal).segments == expected


def test_what_has_changed_is_refused_by_name(listen, recording, tmp_path):
    path = tmp_path / "journal"
    listen()[0].transcribe(recording, OPTIONS, journal=Journal(path))
    before = path.read_bytes()
    other = wav(tmp_path / "other.wav", 50)
    for name, again in {
        "recording": lambda: listen()[0].transcribe(other, OPTIONS, journal=Journal(path)),
        "model": lambda: listen("other")[0].transcribe(recording, OPTIONS, journal=Journal(path)),
        "options": lambda: listen()[0].transcribe(
            recording, replace(OPTIONS, gain=2.0), journal=Journal(path)
        ),
        "program": lambda: listen()[0].transcribe(
            recording, OPTIONS, journal=Journal(path, "ark-asr 9")
        ),
    }.items():
        with pytest.raises(OptionError, match=f"was begun with (an)?other .*{name}"):
            again()
    assert path.read_bytes() == before


def test_the_files_of_the_model_count(listen, recording, model, tmp_path):
    shutil.copytree(model, tmp_path / "model")

    def transcribe():
        recognizer = listen()[0]
        recognizer._folder = tmp_path / "model"
        recognizer.transcribe(recording, OPTIONS, journal=Journal(tmp_path / "journal"))

    transcribe()
    transcribe()
    config = tmp_path / "model" / "config.json"
    config.write_text(config.read_text() + "\n")
    with pytest.raises(OptionError, match="another model"):
        transcribe()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems' names are text")
def test_a_model_whose_name_is_no_text(listen, recording, model, tmp_path):
    odd = tmp_path / "mod\udce9"
    shutil.copytree(model, odd)
    (odd / "read\udce9.me").touch()
    found = []
    for _ in range(2):
        recognizer, batches = listen("mod\udce9")
        recognizer._folder = odd
        journal = Journal(tmp_path / "journal")
        found.append(recognizer.transcribe(recording, OPTIONS, journal=journal).segments)
    assert found[0] == found[1]
    assert batches == []


@pytest.mark.parametrize("content", ["my diary", "my diary\n", "{}\n", '{"kind": "x"}\n', "[]\n"])
def test_a_file_that_is_no_journal_stays_as_it_is(tmp_path, content):
    path = tmp_path / "diary.txt"
    path.write_text(content)
    with pytest.raises(OptionError, match="is no journal"):
        Journal(path).open(ORIGIN)
    assert path.read_text() == content


@pytest.mark.parametrize("line", ["{garbage", "[]", '{"clips": 3}', '"text"'])
def test_a_damaged_journal_is_one_line(tmp_path, line):
    journal = Journal(tmp_path / "journal")
    journal.open(ORIGIN)
    journal.path.write_text(f"{journal.path.read_text()}{line}\n")
    before = journal.path.read_text()
    with pytest.raises(OptionError, match="journal: is a damaged journal; remove the file"):
        journal.open(ORIGIN)
    assert journal.path.read_text() == before


def test_the_recording_is_given_back_whoever_fails(listen, recording, tmp_path, monkeypatch):
    closed, close = [], AudioStream.close

    def watch(stream):
        closed.append(stream.name)
        close(stream)

    def report(_progress):
        raise StopError

    journal = Journal(tmp_path / "journal")
    listen()[0].transcribe(recording, OPTIONS, journal=journal)
    monkeypatch.setattr(AudioStream, "close", watch)
    with pytest.raises(StopError):  # by the report of what was there already
        listen()[0].transcribe(recording, OPTIONS, journal=journal, progress=report)
    assert closed


def test_only_files_can_be_resumed(listen, tmp_path):
    for source in (b"RIFF", "-", tmp_path):
        with pytest.raises(OptionError, match="only files"):
            listen()[0].transcribe(source, OPTIONS, journal=Journal(tmp_path / "journal"))
    assert not (tmp_path / "journal").exists()


def test_everything_of_a_segment_comes_back(tmp_path):
    words = (Word(0.1, 0.3, "ähm", 0.5), Word(1 / 3, 2 / 3, "会", 0.1 + 0.2, "Speaker A"))
    segment = Segment(0.1, 1 / 3, "a\n", 'r"', None, 3, ("loop", "length"), words, "Speaker B")
    done = Finished(7, (Said("t", (1, 2)), Said("", ())), (segment, replace(segment, words=())))
    journal = Journal(tmp_path / "journal")
    assert journal.open(ORIGIN) == Finished()
    journal.add(done)
    assert journal.open(ORIGIN) == done


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")
def test_only_the_owner_may_read_it(tmp_path):
    journal = Journal(tmp_path / "journal")
    journal.open(ORIGIN)
    assert stat.S_IMODE(journal.path.stat().st_mode) == 0o600
    journal.remove()
    assert not journal.path.exists()


PROGRAM = """
import dataclasses, json, sys, time
from ark_asr import Journal, Recognizer, TranscribeOptions
from ark_asr.models.tokenizer import Tokenizer
from listener import Listener

class Slow(Listener):
    def step(self, state, token_ids):
        time.sleep(0.004)
        return super().step(state, token_ids)

model, recording, journal = sys.argv[1:]
tokenizer = Tokenizer.load(model)
found = Recognizer(Slow(tokenizer, clips=700), tokenizer, "slow").transcribe(
    recording, TranscribeOptions(vad=False, batch_size=2), journal=Journal(journal)
)
print(json.dumps([dataclasses.asdict(segment) for segment in found.segments]))
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no SIGKILL")
def test_killed_at_random_points(model, recording, tmp_path):
    tests = Path(__file__).parent.parent
    path = tmp_path / "journal"
    command = [sys.executable, "-c", PROGRAM, model, recording, path]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tests), *sys.path])}
    rng = random.Random()

    def start():
        return subprocess.Popen(
            [*map(str, command)], env=environment, stdout=subprocess.PIPE, text=True
        )

    sizes = []
    for _ in range(2):
        before = path.stat().st_size if path.exists() else 0
        with start() as running:
            while running.poll() is None and not (
                path.exists() and path.stat().st_size > max(before, 1)
            ):
                time.sleep(0.001)
            time.sleep(rng.uniform(0, 0.2))
            running.kill()
        sizes.append(path.stat().st_size)
    assert sizes == sorted(sizes)
    with start() as last:
        resumed = json.loads(last.communicate(timeout=250)[0])
    path.unlink()
    with start() as whole:
        assert json.loads(whole.communicate(timeout=250)[0]) == resumed
    assert len(resumed) >= 5
