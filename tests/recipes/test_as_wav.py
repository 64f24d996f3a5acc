"""Manifests rewritten to WAV say the same and sound the same."""

from __future__ import annotations

import json
import runpy
import sys

import numpy as np
import pytest

import tones
from ark_asr.training.rows import read_manifest, read_samples


@pytest.fixture
def as_wav(root, monkeypatch):
    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["as_wav.py", *map(str, arguments)])
        runpy.run_path(str(root / "recipes" / "ark-mini" / "as_wav.py"), run_name="__main__")

    return run


def test_clips_lie_one_behind_the_other_and_sound_the_same(tmp_path, as_wav):
    material = tones.write_material(tmp_path)
    given = material / "train.jsonl"
    as_wav(given, "--out", tmp_path / "wav")
    before, after = read_manifest(given), read_manifest(tmp_path / "wav" / "train.jsonl")
    assert [row.text for row in before] == [row.text for row in after]
    ends = [0.0]
    for old, new in zip(before, after, strict=True):
        assert new.begin == ends[-1]
        ends.append(new.end)
        one, other = read_samples(old, 16_000), read_samples(new, 16_000)
        np.testing.assert_allclose(other, one, atol=2 / 32768)
    kept = [json.loads(line) for line in given.read_text().splitlines()]
    got = [json.loads(line) for line in (tmp_path / "wav" / "train.jsonl").read_text().splitlines()]
    assert all(set(old) <= set(new) for old, new in zip(kept, got, strict=True))


def test_a_manifest_is_never_written_over(tmp_path, as_wav):
    material = tones.write_material(tmp_path)
    before = (material / "train.jsonl").read_bytes()
    with pytest.raises(SystemExit, match="would be written over"):
        as_wav(material / "train.jsonl", "--out", material)
    assert (material / "train.jsonl").read_bytes() == before
