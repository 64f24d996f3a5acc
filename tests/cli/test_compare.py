from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

import stand_ins
from ark_asr.cli import app
from listener import read_jsonl, write_jsonl

GERMAN = ("--language-field", "x", "--language", "de")


def compare(*arguments):
    result = CliRunner().invoke(app, ["compare", *map(str, arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result


@pytest.fixture
def manifest(root, tmp_path):
    rows = [{"audio": str(root / "samples" / f"{name}.flac"), "language": "en",
             "text": (root / "samples" / f"{name}.txt").read_text()}
            for name in ("hello", "numbers")]  # fmt: skip
    return write_jsonl(tmp_path / "in.jsonl", rows)


def test_two_systems_and_one_that_is_not_here(manifest, tmp_path):
    pytest.importorskip("onnx_asr", reason="needs the extra 'onnx-asr'")
    other = stand_ins.onnx_asr(tmp_path / "random")
    out = tmp_path / "out"
    result = compare("--models", "ark-mini", f"random=onnx-asr:{other}", "ark-asr-0.6b", "--input",
                     manifest, "--output", out, "--threads", 1, "--warm-up", 0)  # fmt: skip
    assert result.exit_code == 1
    assert "ark-asr-0.6b: not run: " in result.stdout
    assert "ark-asr models pull ark-asr-0.6b" in result.stdout
    data = json.loads((out / "comparison.json").read_text())
    mini, random, absent = data["rows"]
    assert (mini["runs_on"], random["runs_on"]) == ("ark-asr, onnx", "ONNX Runtime")
    assert mini["rates"]["wer"] < random["rates"]["wer"]
    assert random["wer"]["difference"] > 0
    assert absent["status"] == "not run"
    assert [row["audio"] for row in read_jsonl(out / "random.jsonl")] == [
        row["audio"] for row in read_jsonl(manifest)
    ]
    assert {path.name for path in out.iterdir()} == {
        "comparison.json", "comparison.md", "comparison.html", "ark-mini.jsonl", "random.jsonl",
    }  # fmt: skip
    # What a system wrote can be looked at with `ark-asr evaluate`.
    scored = CliRunner().invoke(app, ["evaluate", "-i", str(manifest), "-o", str(tmp_path / "s"),
                                      "--predictions", str(out / "ark-mini.jsonl")])  # fmt: skip
    assert scored.exit_code == 0, scored.stderr
    wer = json.loads((tmp_path / "s.summary.json").read_text())["rates"]["wer"]
    assert wer == pytest.approx(mini["rates"]["wer"])


def test_all_ran(manifest):
    result = compare("ark-mini", "-i", manifest, "--threads", 1, "--warm-up", 0, "--quiet")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.splitlines()[1].startswith("ark-mini")


def test_what_would_end_it_is_said_before_anything_is_heard(manifest, tmp_path, monkeypatch):
    monkeypatch.setattr("ark_asr.evaluation.compare.run.run", lambda *_: 1 / 0)
    (tmp_path / "file").write_text("x")
    own = write_jsonl(tmp_path / "ark-mini.jsonl", read_jsonl(manifest))
    before = own.read_bytes()
    for arguments, message in (
        (["ark-mini", "ark-minni", "-i", manifest], "no model 'ark-minni'"),
        (["ark-mini", "-i", manifest, "-o", tmp_path / "file" / "out"], "cannot be written"),
        (["ark-mini", "-i", own, "-o", tmp_path], "ark-mini.jsonl is an input"),
    ):
        result = compare(*arguments)
        assert result.exit_code == 2
        (line,) = result.stderr.splitlines()
        assert message in line
    assert own.read_bytes() == before


def test_known_systems_are_listed():
    result = compare("--list")
    assert result.exit_code == 0
    assert "cohere-transcribe" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["ark-mini"], "say what to compare"),
        (["--input", "IN"], "say what to compare"),
        (["ark-mini", "ark-mini", "-i", "IN"], "two systems are called ark-mini"),
        (["ark-mini", "-i", "IN", "--scheme", "best"], "scheme 'best' is not known"),
        (["ark-mini", "-i", "IN", "--threads", "0"], "threads is 0"),
        (["ark-mini", "-i", "IN", "--text-field", "x"], "no record has a reference ('x')"),
        (["ark-mini", "-i", "IN", "--resample-by", "x"], "no record of the input has a field 'x'"),
        (["ark-asr-0.6b", "-i", "IN", "--scheme", "english", *GERMAN], "is for 'en' only"),
        (["cohere-transcribe", "-i", "IN", "--language-field", "x"], "must be told the language"),
        (["wisper", "-i", "IN"], "no model 'wisper'"),
        (["ark-mini", "-i", "gone.jsonl"], "gone.jsonl: cannot be read"),
    ],
)
def test_bad_options_are_one_line(manifest, arguments, message):
    result = compare(*[manifest if word == "IN" else word for word in arguments], "--quiet")
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_what_cannot_be_fetched_is_not_run(manifest, monkeypatch):
    """A port where nobody listens stands for a hub that is down."""
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    result = compare("ark-asr-0.6b", "-i", manifest, "--download", "--threads", 1)
    assert result.exit_code == 1
    assert "ark-asr-0.6b: fetching ark-asr-0.6b" in result.stderr
    assert "ark-asr-0.6b: not run: ark-asr-0.6b: could not be fetched" in result.stdout


@pytest.mark.parametrize("asked", [["ark-mini", "--download"], ["http://127.0.0.1:9/v1"]])
def test_offline_is_kept(manifest, asked, monkeypatch):
    monkeypatch.setenv("ARK_ASR_OFFLINE", "1")
    result = compare(*asked, "-i", manifest)
    assert result.exit_code == 2
    assert "needs a connection, and --offline allows none" in result.stderr
