"""The road of docs/adapting.md, from a manifest to a package that is used, on a tiny model."""

from __future__ import annotations

import json
import runpy
import sys

import pytest
from typer.testing import CliRunner

import checkpoints
import tones
from ark_asr.cli import app


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
    ark_asr(
        "train", "supervised", root / "recipes" / "adapt" / "lora.toml", "--start", start,
        "--train", voice / "train.jsonl", "--dev", voice / "dev.jsonl", "-o", tmp_path / "adapted",
        "--set", "optim.steps=2", "--set", "threads=1", "--set", "data.workers=0",
    )  # fmt: skip
    best, package = tmp_path / "adapted" / "best", tmp_path / "package"
    ark_asr("models", "convert", best, package, "--precision", "fp32")
    ark_asr("models", "check", best, package, "--audio", voice / "test.jsonl",
            "--min-same-transcripts", "1.0")  # fmt: skip
    ark_asr("transcribe", material / "tones.wav", "--model", package, "-o", tmp_path / "out.txt")
    assert (tmp_path / "out.txt").exists()


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
