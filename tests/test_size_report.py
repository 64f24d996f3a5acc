"""The table and picture of `benchmarks/real_size.py`."""

from __future__ import annotations

import importlib
import sys

import pytest


@pytest.fixture
def report(root, monkeypatch):
    monkeypatch.syspath_prepend(str(root / "benchmarks"))
    yield importlib.import_module("size_report")
    for name in ("size_report", "size_ways"):
        sys.modules.pop(name, None)


def measured(total):
    tasks = {"total 10": total, "total 30": 3 * total, "ten minutes": 60 * total}
    return tasks | {"load": 2.0, "first 10": total / 2, "peak": 1.5e9}


def test_rounds_are_compared_best_by_best_and_each_with_its_own(report):
    """A neighbour who slows one way in one round must not make another way look fast."""
    figures = report.Figures()
    for number, (ours, theirs) in enumerate([(1.0, 4.0), (3.0, 12.0), (1.5, 3.0)], 1):
        figures.add(number, "machine", {"memory": 7e9, "products": 1e12})
        figures.add(number, "fp32", measured(theirs))
        figures.add(number, "int8", measured(ours))
    assert figures.ways == ["int8", "fp32"]
    assert figures.times("fp32", "total 10") == (3.0, 4.0)
    text = report.table(figures)
    assert "1.00 / 1.50" in text
    assert "0.100 / 0.150" in text
    assert "fp32 takes 3.0, 3.0, 3.0 times as long as int8" in text
    assert "median of the rounds' own ratios 4.0, 4.0, 4.0" in text
    assert "before round 3: memory is read at 7.0 GB/s, int8 products reach 1.00 TOP/s" in text
    again = report.Figures.read(["a title", *figures.raw(), ""])
    assert report.table(again) == text


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_the_committed_figures_are_drawn_the_same_each_time(report, root, tmp_path, suffix):
    lines = (root / "benchmarks" / "results" / "real_size.txt").read_text().splitlines()
    figures = report.Figures.read(lines)
    assert {"int8", "official", "fp32", "bf16"} <= {*figures.ways}
    # What the table above the raw figures says is what they say.
    assert all(row in lines for row in report.table(figures).splitlines() if "takes" in row)
    paths = [tmp_path / f"{name}.{suffix}" for name in "ab"]
    for path in paths:
        report.draw(figures, path)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert 5_000 < paths[0].stat().st_size < 100_000
