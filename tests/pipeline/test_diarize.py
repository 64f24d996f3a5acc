"""sherpa-onnx itself on real speech, with tiny models: the whole road, not its quality."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections import defaultdict

import numpy as np
import pytest

import speaker_models
from ark_asr import MissingExtraError, ModelFormatError, ModelNotFoundError, OptionError
from ark_asr.audio import load_audio
from ark_asr.models.speakers import SpeakerModels
from ark_asr.pipeline.diarize import Diarizer

pytest.importorskip("sherpa_onnx", reason="the extra 'speakers' is not installed")
RATE = 16_000
REAL = "ARK_ASR_TEST_SPEAKER_MODELS"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return speaker_models.write_models(tmp_path_factory.mktemp("speaker-models"))


@pytest.fixture(scope="module")
def pair(folder):
    return Diarizer(SpeakerModels.find(folder), count=2, threads=1)


@pytest.fixture(scope="module")
def talk(speech):
    """Two readers in turn: samples, and who (0 or 1) reads from when to when."""
    corpus = speech / "commands_and_sentences"
    clips = defaultdict(list)
    for line in (corpus / "manifest.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        if row["source"].lower().startswith("libri") and 4 < row["duration"] < 9:
            clips[row["speaker"]].append(corpus / row["audio"])
    readers = ("librispeech-4406", "librispeech-5652")
    if any(len(clips[reader]) < 2 for reader in readers):
        pytest.skip("this copy of the speech data leaves out the readers that the test joins")
    pieces, truth, at = [], [], 0.0
    for number in range(4):
        who = number % 2
        sound = load_audio(clips[readers[who]][number // 2 * 2 + who])
        pieces.append(sound.samples)
        truth.append((at, at + sound.duration, who))
        at += sound.duration
    return np.concatenate(pieces), truth


def share_right(turns, truth):
    """Of the time that has a turn, the share with the right reader, under the better naming."""
    times = np.arange(0, truth[-1][1], 0.01)
    true, found = np.zeros(len(times), int), np.full(len(times), -1)
    for start, end, who in truth:
        true[(times >= start) & (times < end)] = who
    for turn in turns:
        found[(times >= turn.start) & (times < turn.end)] = turn.speaker == "Speaker B"
    known = found >= 0
    right = (found[known] == true[known]).mean()
    return max(right, 1 - right), known.mean()


def test_two_readers_in_turn(pair, talk):
    samples, truth = talk
    turns = pair.turns(samples, source_rate=RATE)
    assert turns[0].speaker == "Speaker A"
    assert {turn.speaker for turn in turns} == {"Speaker A", "Speaker B"}
    assert [turn.start for turn in turns] == sorted(turn.start for turn in turns)
    right, covered = share_right(turns, truth)
    # A sanity check of times and names, with models that know next to nothing of voices.
    assert right > 0.8
    assert covered > 0.8


def test_a_part_of_a_recording_keeps_its_times(pair, talk):
    samples, truth = talk
    begin, end = 3.0, truth[1][1]
    turns = pair.turns(samples, source_rate=RATE, begin=begin, end=end)
    assert all(begin <= turn.start < turn.end <= end + 1e-3 for turn in turns)
    alone = pair.turns(samples[3 * RATE : round(end * RATE)], source_rate=RATE)
    assert [turn.start for turn in turns] == pytest.approx([turn.start + begin for turn in alone])


def test_one_speaker(folder, talk):
    one = Diarizer(SpeakerModels.find(folder), count=1, threads=1)
    samples = talk[0][: 6 * RATE]
    assert {turn.speaker for turn in one.turns(samples, source_rate=RATE)} == {"Speaker A"}


def test_in_one_window_there_are_as_many_speakers_as_were_told(tmp_path, talk):
    models = SpeakerModels.find(speaker_models.write_models(tmp_path, quiet=True))
    loud = talk[0][RATE : RATE + RATE * 9 // 10]
    loud = loud / np.abs(loud).max()
    both = np.concatenate([loud, loud * 0.02])  # 1.8 s, of a window of 2 s
    found = Diarizer(models, threads=1).turns(both, source_rate=RATE)
    assert {turn.speaker for turn in found} == {"Speaker A", "Speaker B"}
    told = Diarizer(models, count=1, threads=1).turns(both, source_rate=RATE)
    assert {turn.speaker for turn in told} == {"Speaker A"}
    assert told[-1].end <= 1.8


@pytest.mark.parametrize("count", [2, None])
def test_two_readers_in_turn_with_real_weights(talk, count):
    folder = os.environ.get(REAL)
    if not folder:
        pytest.skip(f"no real speaker models: {REAL} names a folder of recipes/speakers")
    samples, truth = talk
    turns = Diarizer(SpeakerModels.find(folder), count=count, threads=1).turns(
        samples, source_rate=RATE
    )
    assert {turn.speaker for turn in turns} == {"Speaker A", "Speaker B"}
    right, covered = share_right(turns, truth)
    assert right > 0.97
    assert covered > 0.8  # readers pause


def test_progress_and_cancelling(pair, talk):
    samples, reports = talk[0][: 8 * RATE], []
    assert pair.turns(samples, source_rate=RATE, progress=reports.append)
    assert [report.done for report in reports] == sorted(report.done for report in reports)
    assert (reports[-1].done, reports[-1].total) == (8, 8)
    asked = []
    stop = {"progress": asked.append, "cancelled": lambda: len(asked) == 2}
    assert pair.turns(samples, source_rate=RATE, **stop) == ()
    assert len(asked) == 2


@pytest.mark.parametrize("seconds", [0.05, 0.5, 5.0])
def test_where_nobody_speaks_there_are_no_turns(pair, seconds, capfd):
    silence = np.zeros(round(seconds * RATE), np.float32)
    assert pair.turns(silence, source_rate=RATE) == ()
    assert capfd.readouterr() == ("", "")


def test_a_pipe_is_refused(pair):
    with pytest.raises(OptionError, match="a pipe can be read only once"):
        pair.turns("-")


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"count": 0}, "0 speakers make no sense; at least 1"),
        ({"count": 1.5}, "count is 1.5; it must be a whole number or None"),
        ({"count": True}, "count is True"),
        ({"threshold": 0.0}, "threshold is 0.0; it must be between 0 and 2"),
        ({"threshold": "x"}, "threshold is 'x'; it must be a number"),
        ({"threads": -3}, "threads is -3; it must be 1 to"),
    ],
)
def test_options_that_make_no_sense(folder, options, line):
    with pytest.raises(OptionError, match=line):
        Diarizer(SpeakerModels.find(folder), **options)


def test_a_graph_that_cannot_be_loaded(folder, tmp_path):
    (tmp_path / "embedding.onnx").write_bytes((folder / "embedding.onnx").read_bytes())
    data = (folder / "segmentation.onnx").read_bytes()
    (tmp_path / "segmentation.onnx").write_bytes(data.replace(b"AveragePool", b"AveragePoor"))
    with pytest.raises(ModelFormatError, match=r"segmentation\.onnx"):
        Diarizer(SpeakerModels.find(tmp_path), threads=1)


def test_without_the_library_one_line_says_what_to_install(folder, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        "ark_asr.pipeline.diarize.find_spec",
        lambda name: None if name == "sherpa_onnx" else find(name),
    )
    with pytest.raises(MissingExtraError, match=r"pip install 'ark-asr\[speakers\]'"):
        Diarizer(SpeakerModels.find(folder))


def test_without_models_one_line_says_how_to_get_them():
    with pytest.raises(ModelNotFoundError, match=r"models pull pyannote-segmentation-3\.0, "):
        SpeakerModels.find()


def test_nothing_is_loaded_before_it_is_asked_for():
    code = "import sys, ark_asr.pipeline; print('sherpa_onnx' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
