"""Parts of a manifest, as the stages of ark-mini's training need them."""

from __future__ import annotations

import json
import runpy
import sys

import pytest


@pytest.fixture
def manifest(tmp_path):
    """Ten rows in each of five shards, and one of another file."""
    rows = [
        {"audio": f"train/shard-{shard:05d}.wav", "text": f"{shard} {i}", "duration": 1.5}
        for shard in range(5)
        for i in range(10)
    ]
    rows.append({"audio": "train.wav", "text": "another", "duration": 1.5})
    path = tmp_path / "train.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def part(root, monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["part.py", *map(str, words)])
    runpy.run_path(str(root / "recipes" / "ark-mini" / "part.py"), run_name="__main__")


def texts(path):
    return [json.loads(line)["text"] for line in path.read_text().splitlines()]


def test_shards_and_rows(root, manifest, monkeypatch, capsys):
    part(root, monkeypatch, manifest, "new", "--shards", 2, 3)
    new = manifest.with_name("train-new.jsonl")
    assert texts(new) == [f"{shard} {i}" for shard in (2, 3) for i in range(10)]
    assert f"{new}: 20 rows, 0.0 h" in capsys.readouterr().out

    some = manifest.with_name("train-new-some.jsonl")
    part(root, monkeypatch, new, "some", "--rows", 7)
    drawn = texts(some)
    assert len(set(drawn)) == 7
    assert drawn == [text for text in texts(new) if text in set(drawn)]  # in their old order
    part(root, monkeypatch, new, "some", "--rows", 7)
    assert texts(some) == drawn
    part(root, monkeypatch, new, "some", "--rows", 7, "--seed", 2)
    assert texts(some) != drawn
    part(root, monkeypatch, new, "some", "--rows", 70)
    assert texts(some) == texts(new)


def test_nothing_is_written_where_there_is_nothing(root, manifest, monkeypatch, capsys):
    with pytest.raises(SystemExit) as ended:
        part(root, monkeypatch, manifest, "old", "--shards", 9, 12)
    assert ended.value.code == 2
    assert "no row of these" in capsys.readouterr().err
    assert not manifest.with_name("train-old.jsonl").exists()
