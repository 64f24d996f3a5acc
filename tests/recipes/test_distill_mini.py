"""The miniature reproduction's commands, from a teacher to a table, in two updates."""

from __future__ import annotations

import json
import runpy
import shutil
import sys

import pytest
import torch
from safetensors.torch import load_file

import tones


@pytest.fixture
def recipe(root, monkeypatch):
    def run(name, *words):
        monkeypatch.setattr(sys, "argv", [name, *map(str, words)])
        runpy.run_path(str(root / "recipes" / "distill-mini" / name), run_name="__main__")

    return run


@pytest.fixture
def work(root, recipe, tmp_path):
    """What start.py writes, with ark-mini as the teacher."""
    manifest = tones.write_material(tmp_path) / "train.jsonl"
    rows = [json.loads(line) for line in manifest.read_text().splitlines()]
    for row in rows:
        row["duration"] = row["end_time"] - row["begin_time"]
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    recipe("start.py", "--teacher", root / "checkpoints" / "ark-mini", "--train", manifest,
           "--dev", manifest, "--out", tmp_path / "work", "--labelled-hours", "0.003",
           "--encoder-layers", 0, 7, "--decoder-layers", 2)  # fmt: skip
    return tmp_path / "work"


def test_a_student_is_part_of_what_it_is_cut_out_of(root, work, recipe, tmp_path, capsys):
    whole = load_file(root / "checkpoints" / "ark-mini" / "model.safetensors")
    student = load_file(work / "start" / "model.safetensors")
    layers = "audio_encoder.whisper.layers"
    name = "self_attn.q_proj.weight"
    assert torch.equal(student[f"{layers}.1.{name}"], whole[f"{layers}.7.{name}"])
    into, out = (whole[f"{layers}.7.{part}.weight"] for part in ("fc1", "fc2"))
    kept = [int((into == row).all(dim=1).nonzero()) for row in student[f"{layers}.1.fc1.weight"]]
    assert len(set(kept)) == len(into) // 4
    assert torch.equal(student[f"{layers}.1.fc2.weight"], out[:, kept])

    sets = [(work / f"{name}.jsonl").read_text() for name in ("labelled", "unlabelled")]
    assert all(sets)
    assert not set(sets[0].splitlines()) & set(sets[1].splitlines())

    recipe("start.py", "--teacher", work / "start", "--cut", root / "checkpoints" / "ark-mini",
           "--train", work / "dev.jsonl", "--dev", work / "dev.jsonl", "--out", tmp_path / "other",
           "--encoder-layers", 0, 7, "--decoder-layers", 2)  # fmt: skip
    again = load_file(tmp_path / "other" / "start" / "model.safetensors")
    assert all(torch.equal(again[name], weight) for name, weight in student.items())
    assert "its teacher" in capsys.readouterr().out


@pytest.mark.slow
def test_from_a_trunk_to_a_table(work, recipe, capsys):
    shutil.copyfile(work / "unlabelled.jsonl", work / "teacher-data.jsonl")
    options = ["--work", work, "--processes", 1, "--updates"]
    every = ["--set", "log_every=1"]
    recipe("run.py", "trunk", *options, 1, *every)
    recipe("run.py", "td+opd", *options, 2, *every)
    folder = work / "seed-1"
    assert (folder / "td+opd.1" / "best").is_dir()
    log = (folder / "td+opd" / "log.jsonl").read_text().splitlines()
    assert [row["step"] for row in map(json.loads, log) if "agreement" in row] == [1]

    scoring = [work / "dev.jsonl", "--work", work, "--limit", 3, "--workers", 1,
               "--pairs", "trunk:td+opd", "--out", work / "table.md"]  # fmt: skip
    recipe("table.py", *scoring)
    table = (work / "table.md").read_text()
    recipe("table.py", *scoring, "--again", "trunk")
    assert (work / "table.md").read_text() == table
    assert "| (trunk) | Base + TD + OPD | (teacher) |" in table
    assert "Base + TD + OPD - (trunk)" in table
    recipe("table.py", *scoring, "--seeds", 2)  # nothing is there but what all seeds share
    assert "| words | (teacher) |" in (work / "table.md").read_text()
    recipe("curves.py", "--work", work, "--out", work / "curves.png")
    assert (work / "curves.png").stat().st_size > 10_000
    recipe("run.py", "td+opd", *options, 2, *every)
    assert (folder / "td+opd" / "log.jsonl").read_text().splitlines() == log  # finished: it stays
