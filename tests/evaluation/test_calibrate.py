"""Calibration: the curve, its error, which words are right, and the command."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from ark_asr.cli import app
from ark_asr.evaluation.calibrate import judge
from ark_asr.evaluation.reliability import calibration_error, fit_curve, held_out, reliability
from ark_asr.models.calibration import Calibration
from ark_asr.models.package import verify_package
from ark_asr.models.store import resolve
from ark_asr.models.tokenizer import Tokenizer
from ark_asr.pipeline.listener import Heard
from ark_asr.types import Audio, Hypothesis

judgements = st.lists(st.tuples(st.floats(0, 1, width=32), st.booleans()), min_size=1, max_size=300)


def columns(words):
    raw, right = zip(*words, strict=True)
    return np.array(raw, np.float32), np.array(right)


@given(judgements)
def test_a_curve_rises_and_is_never_certain(words):
    points = np.array(fit_curve(*columns(words)).points)
    assert len(points) >= 2
    assert (np.diff(points, axis=0) >= 0).all()
    assert (np.diff(points[:, 0]) > 0).all()  # or it would not be said what one probability means
    assert 0 < points[:, 1].min() <= points[:, 1].max() < 1


@given(judgements)
def test_the_diagram_holds_every_word(words):
    raw, right = columns(words)
    diagram = reliability(raw, right)
    assert sum(one.words for one in diagram) == len(words)
    assert sum(one.words * one.right for one in diagram) == pytest.approx(right.sum())
    assert 0 <= calibration_error(raw, right) <= 1


def overconfident(count, seed=0):
    """Words that are right as often as the square of their probability."""
    rng = np.random.default_rng(seed)
    raw = rng.random(count).astype(np.float32)
    return raw, rng.random(count) < raw**2


def test_the_curve_mends_what_it_has_not_seen():
    raw, right = overconfident(6000)
    recording = np.arange(6000) // 10
    assert calibration_error(raw, right) == pytest.approx(1 / 6, abs=0.02)
    assert calibration_error(held_out(raw, right, recording), right) < 0.03
    curve = fit_curve(raw, right)
    assert [curve(x) for x in (0.3, 0.6, 0.9)] == pytest.approx([0.09, 0.36, 0.81], abs=0.05)


def test_words_of_one_probability_are_right_as_often_whatever_comes_first():
    """A sure model says nearly all words with 1.0000; here those of the first hour are wrong."""
    right = np.arange(400) >= 40
    curve = fit_curve(np.full(400, 0.99999, np.float32), right)
    assert [curve(x) for x in (0.9999, 1.0)] == pytest.approx([0.9, 0.9], abs=0.05)


def test_each_recording_is_judged_by_the_others():
    """One recording holds all words that are right; its own curve would know them."""
    raw = np.full(100, 0.5, np.float32)
    recording = np.repeat([0, 1], 50)
    found = held_out(raw, recording == 0, recording, folds=2)
    assert found[0] < 0.05
    assert found[-1] > 0.95


def test_recordings_without_words_stand_between_the_others():
    """Every fifth recording is of the same fold by its number; one has a single word."""
    raw, right = overconfident(101)
    recording = np.array([0] * 100 + [5])
    found = held_out(raw, right, recording)
    assert ((found > 0) & (found < 1)).all()


@pytest.mark.parametrize(
    ("reference", "said", "right"),
    [
        ("one two three", "one to three", [True, False, True]),
        ("One, two!", "one two", [True, True]),
        ("one two", "", []),
        ("", "one", [False]),
        ("two", "one two", [False, True]),
        ("a well known fact", "a well-known fact", [True, True, True]),
        ("a well done fact", "a well-known fact", [True, False, True]),
        ("wait what", "wait - what", [True, True]),
        ("你好", "你号", [True, False]),
    ],
)
def test_which_words_are_right(byte_checkpoint, reference, said, right):
    tokenizer = Tokenizer.load(byte_checkpoint)
    ids = tuple(tokenizer.encode(said))
    silence = Audio(np.zeros(160, np.float32), 16_000)
    hypothesis = Hypothesis(ids, tuple(-0.01 * i for i in range(len(ids))), "end")
    found = judge(Heard(silence, np.zeros((1, 1), np.float32), hypothesis), reference, tokenizer)
    assert [one for _, one in found] == right
    assert all(0 < raw <= 1 for raw, _ in found)


@pytest.fixture
def model(tmp_path):
    """A copy of the embedded model that is not calibrated."""
    folder = tmp_path / "mini"
    shutil.copytree(resolve("ark-mini").path, folder)
    data = json.loads((folder / "ark_asr.json").read_text())
    data["files"].pop("calibration.json", None)
    (folder / "ark_asr.json").write_text(json.dumps(data))
    (folder / "calibration.json").unlink(missing_ok=True)
    return folder


def calibrate(model, tmp_path, root, rows, *more, text=None):
    manifest = tmp_path / "rows.jsonl"
    text = text or (root / "samples" / "numbers.txt").read_text().strip()
    lines = [{"audio": str(root / "samples" / f"{name}.flac"), "text": text} for name in rows]
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines))
    arguments = ["models", "calibrate", str(model), "-i", str(manifest), "--threads", "1", *more]
    return CliRunner().invoke(app, arguments)


def test_the_command_writes_into_the_package(model, tmp_path, root):
    rows = ["numbers"] * 17 + ["minute", "none"]
    result = calibrate(model, tmp_path, root, rows, "--dry-run")
    assert result.exit_code == 0, result.stderr
    assert Calibration.load(model) is None
    result = calibrate(model, tmp_path, root, rows)
    assert result.exit_code == 0, result.stderr
    assert "minute.flac (line 18): longer than one clip" in result.stderr
    assert "none.flac: no such file" in result.stderr
    found = Calibration.load(model)
    assert found.basis.startswith("17 recordings, ")
    assert "(taken)" in result.stderr
    verify_package(model)


def test_too_little_speech_is_refused(model, tmp_path, root):
    result = calibrate(model, tmp_path, root, ["numbers"])
    assert result.exit_code == 2
    assert "100 are needed at least" in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert Calibration.load(model) is None


def test_one_recording_is_not_enough(model, tmp_path, root, monkeypatch):
    monkeypatch.setattr("ark_asr.evaluation.calibrate._LEAST_WORDS", 3)
    result = calibrate(model, tmp_path, root, ["numbers", "none"])
    assert result.exit_code == 2
    assert "all words are about one recording" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_model_that_cannot_be_written_is_refused_before_it_listens(
    model, tmp_path, root, monkeypatch
):
    monkeypatch.setattr("os.access", lambda *_: False)
    monkeypatch.setattr("ark_asr.evaluation.calibrate.calibrate_model", lambda *_, **__: 1 / 0)
    result = calibrate(model, tmp_path, root, ["numbers"])
    assert result.exit_code == 2
    assert result.stderr.endswith("mini: cannot be written; calibrate a copy of the model\n")


def test_references_of_one_token_say_nothing_of_heads(model, tmp_path, root):
    result = calibrate(model, tmp_path, root, ["numbers"] * 17, text="a")
    assert result.exit_code == 2
    assert "no reference is longer than one token" in result.stderr


def test_info_says_what_is_known(model, tmp_path, root):
    before = CliRunner().invoke(app, ["models", "info", str(model)]).stdout
    assert "calibration  none: confidence is the model's own" in before
    after = CliRunner().invoke(app, ["models", "info", "ark-mini"]).stdout
    assert f"calibration  {Calibration.load(resolve('ark-mini').path).basis}" in after
