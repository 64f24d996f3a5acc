"""The embedded model on real sound: what a newcomer does first."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import ark_asr
from ark_asr.audio import load_audio
from ark_asr.engines import load_engine
from ark_asr.models.package import verify_package
from ark_asr.models.store import resolve
from ark_asr.models.tokenizer import Tokenizer
from ark_asr.training.rows import read_manifest
from ark_asr.training.validate import plain, score, transcribe_rows


@pytest.fixture(scope="module")
def model():
    with ark_asr.load() as loaded:
        yield loaded


def said(recording: Path) -> str:
    return plain(recording.with_suffix(".txt").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", ["hello", "numbers", "minute"])
def test_samples_are_heard(model, root, name):
    recording = root / "samples" / f"{name}.flac"
    transcript = model.transcribe(recording)
    assert score([said(recording)], [plain(transcript.text)]).wer < 0.05
    assert transcript.model == "ark-mini"
    for before, after in zip(transcript.segments, transcript.segments[1:], strict=False):
        assert before.end <= after.start
    for segment in transcript.segments:
        assert 0 <= segment.start < segment.end <= transcript.duration
        assert segment.confidence is not None
        assert 0 < segment.confidence <= 1


def test_the_command_line_writes_the_same(model, root):
    recording = root / "samples" / "minute.flac"
    command = [sys.executable, "-m", "ark_asr", "transcribe", str(recording), "--format", "json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    written = json.loads(done.stdout)
    assert written["text"] == model.transcribe(recording).text
    assert done.stderr == ""


def test_bytes_give_the_same_as_a_file(model, root):
    recording = root / "samples" / "hello.flac"
    assert model.transcribe(recording.read_bytes()).text == model.transcribe(recording).text


def test_what_is_open_when_the_model_is_closed_says_so(root):
    recording = root / "samples" / "minute.flac"
    sound = load_audio(recording, end=8.0)
    model = ark_asr.load()
    stream, live, scribe = model.stream(recording), model.live(), model.scribe()
    next(stream)
    asked = []

    def closed_between_two_tokens() -> bool:  # as another thread would
        asked.append(1)
        if len(asked) == 20:
            model.close()
        return False

    for use in (
        lambda: model.transcribe(recording, cancelled=closed_between_two_tokens),
        lambda: next(stream),
        lambda: live.feed(sound.samples) + live.finish(),
        lambda: scribe.write([sound]),
    ):
        with pytest.raises(ark_asr.OptionError, match="this recognizer is closed"):
            use()


def test_the_embedded_package_is_whole_and_small():
    folder = resolve(None).path
    verify_package(folder)
    assert sum(path.stat().st_size for path in folder.iterdir()) < 15 * 2**20


def test_silence_and_noise_are_not_words(model):
    rng = np.random.default_rng(0)
    for level in (0.0, 0.001, 0.05):
        sound = (level * rng.standard_normal(16_000 * 20)).astype(np.float32)
        assert model.transcribe(sound, source_rate=16_000).segments == ()


def test_long_recordings_keep_true_times(model, speech):
    manifest = speech / "eval" / "manifest.jsonl"
    rows = [json.loads(line) for line in manifest.read_text(encoding="utf-8").splitlines()]
    long = [row for row in rows if row["duration"] > 250 and row.get("segments")]
    assert long
    row = min(long, key=lambda row: row["duration"])
    transcript = model.transcribe(speech / "eval" / row["audio"])
    assert transcript.duration == pytest.approx(row["duration"], abs=0.1)
    # Where the corpus has speech, there must be a segment over most of it.
    covered = total = 0.0
    for part in row["segments"]:
        start, end = part["start"], part["end"]
        total += end - start
        covered += sum(max(min(s.end, end) - max(s.start, start), 0.0) for s in transcript.segments)
    assert covered > 0.8 * total


def test_real_digit_strings_of_unseen_speakers(model, speech):
    manifest = speech / "digits" / "manifest.jsonl"
    lines = manifest.read_text(encoding="utf-8").splitlines()
    rows = [
        row
        for row, line in zip(read_manifest(manifest), lines, strict=True)
        if '"source": "speechocean762"' in line and '"split": "test"' in line
    ]
    assert len(rows) >= 10
    found = resolve(None)
    texts = transcribe_rows(load_engine(found), Tokenizer.load(found.path), rows)
    assert score([row.text for row in rows], texts).wer < 0.25
