"""The road of docs/adapting.md, from a manifest to a package that is used, on a tiny model."""

from __future__ import annotations

import json
import runpy
import sys

import numpy as np
import pytest
from typer.testing import CliRunner

import checkpoints
import tones
from ark_asr.cli import app
from ark_asr.training.config import TrainConfig
from ark_asr.training.overrides import Overrides
from ark_asr.training.run import prepare


def ark_asr(*arguments):
    found = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert found.exit_code == 0, found.output
    return found


def split(root, monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["split.py", *map(str, arguments)])
    runpy.run_path(str(root / "recipes" / "adapt" / "split.py"), run_name="__main__")


def rows(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.slow
def test_a_newcomer_gets_from_recordings_to_a_package(root, tmp_path, monkeypatch):
    material = tones.write_material(tmp_path)
    start = tmp_path / "checkpoint"
    geometry = {"encoder_layers": 1, "layers": 1, "max_positions": 2048}
    checkpoints.write_checkpoint(start, dtype="BF16", scale=0.05, **geometry)
    voice = tmp_path / "voice"
    split(root, monkeypatch, material / "train.jsonl", voice, "--group", "text")
    trained = ark_asr(
        "train", "supervised", root / "recipes" / "adapt" / "lora.toml", "--start", start,
        "--train", voice / "train.jsonl", "--dev", voice / "dev.jsonl", "-o", tmp_path / "adapted",
        "--set", "optim.steps=2", "--set", "log_every=1", "--set", "threads=1",
        "--set", "data.workers=0",
    )  # fmt: skip
    assert " 2  loss " in trained.output
    assert "ctc" not in trained.output  # losses that this recipe does not have
    best, package = tmp_path / "mean", tmp_path / "package"
    ark_asr("train", "average", tmp_path / "adapted" / "best", start, "-o", best)
    ark_asr("models", "convert", best, package, "--precision", "fp32")
    ark_asr("models", "check", best, package, "--audio", voice / "test.jsonl",
            "--min-same-transcripts", "1.0")  # fmt: skip
    ark_asr("transcribe", material / "tones.wav", "--model", package, "-o", tmp_path / "out.txt")
    assert (tmp_path / "out.txt").exists()


def test_the_recipe_fits_what_the_small_model_hears_at_once(root, tmp_path):
    material = tones.write_material(tmp_path)
    manifest = material / "train.jsonl"
    mini = root / "checkpoints" / "ark-mini"
    overrides = Overrides(mini, tmp_path / "adapted", (manifest,), (manifest,))
    config = TrainConfig.load(root / "recipes" / "adapt" / "lora.toml", overrides)
    run = prepare(config, resume=False, skip_bad=False)
    assert run.config.data.max_seconds == run.tokenizer.features.clip_seconds < 30


def test_rows_that_belong_together_are_in_one_set(root, tmp_path, monkeypatch):
    given = [
        {"audio": f"{n % 7}.wav", "text": "x", "speaker": "ab"[n % 2], "duration": 1}
        for n in range(70)
    ]
    (tmp_path / "all.jsonl").write_text("\n".join(map(json.dumps, given)))
    folder = tmp_path / "sets" / "deep"
    split(root, monkeypatch, tmp_path / "all.jsonl", folder, "--dev", "0.3", "--test", "0.3",
          "--only", "speaker=a")  # fmt: skip
    sets = {name: rows(folder / f"{name}.jsonl") for name in ("train", "dev", "test")}
    assert sum(map(len, sets.values())) == 35
    names = [{row["audio"] for row in found} for found in sets.values()]
    assert sum(map(len, names)) == len(set.union(*names)) == 7
    assert {row["audio"] for found in sets.values() for row in found} == {
        f"../../{n}.wav" for n in range(7)
    }


def lines(tmp_path, *rows):
    path = tmp_path / "all.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + "\r\n".join([*map(json.dumps, rows), ""]).encode())
    return path


@pytest.mark.parametrize("count", range(3, 9))
def test_of_few_recordings_no_set_is_empty(root, tmp_path, monkeypatch, capsys, count):
    given = [
        {"audio": f"{n % count}.wav", "text": "x", "begin_time": n, "end_time": n + 3}
        for n in range(40)
    ]
    split(root, monkeypatch, lines(tmp_path, *given), tmp_path)
    sets = [rows(tmp_path / f"{name}.jsonl") for name in ("train", "dev", "test")]
    assert all(sets)
    assert sum(len({row["audio"] for row in found}) for found in sets) == count
    assert sum(
        float(line.split(", ")[1].split()[0])
        for line in capsys.readouterr().out.split("\n")
        if line
    ) == pytest.approx(2.0, abs=0.16)  # 40 x 3 s, in tenths of a minute


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"audio": "a.wav", "text": "x"}, "1 different audio: too few for dev and test"),
        ({"text": "x"}, "all.jsonl:1: has no 'audio'"),
        ([], "all.jsonl:1: not a JSON object"),
    ],
)
def test_what_cannot_be_divided_is_said(root, tmp_path, monkeypatch, row, says):
    with pytest.raises(SystemExit, match=says):
        split(root, monkeypatch, lines(tmp_path, row), tmp_path / "sets")
    assert not (tmp_path / "sets").exists()


def test_whole_recordings_get_the_length_that_training_needs(root, tmp_path, monkeypatch):
    seconds = {f"{n}.wav": 1 + n / 4 for n in range(4)}
    for name, length in seconds.items():
        tones.write_wav(tmp_path / name, np.zeros(round(length * tones.RATE)))
    given = [{"audio": name, "text": "x", "duration": None} for name in seconds]
    split(root, monkeypatch, lines(tmp_path, *given), tmp_path / "sets")
    found = [row for path in (tmp_path / "sets").iterdir() for row in rows(path)]
    assert {row["audio"].removeprefix("../"): row["duration"] for row in found} == seconds
    (tmp_path / "2.wav").write_bytes(b"no sound")
    with pytest.raises(SystemExit, match=r"2\.wav: "):
        split(root, monkeypatch, lines(tmp_path, *given), tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_addresses_stay_what_they_are(root, tmp_path, monkeypatch):
    given = [{"audio": f"s3://bucket/{n}.wav", "text": "x", "duration": 1} for n in range(9)]
    split(root, monkeypatch, lines(tmp_path, *given), tmp_path / "sets")
    found = [
        row for name in ("train", "dev", "test") for row in rows(tmp_path / f"sets/{name}.jsonl")
    ]
    assert sorted(row["audio"] for row in found) == [row["audio"] for row in given]
