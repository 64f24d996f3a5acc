"""What was measured of a model, on disk."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ark_asr.errors import ModelFormatError
from ark_asr.graphs.convert import build_package
from ark_asr.models.calibration import CALIBRATION_FILE, Calibration, Curve, Head
from ark_asr.models.package import Manifest, verify_package
from checkpoints import write_checkpoint

FOUND = Calibration(
    (Head(0, 1), Head(2, 0)), Curve(((0.1, 0.2), (0.5, 0.5), (0.9, 0.8))), "9 recordings"
)


@pytest.fixture
def package(tmp_path):
    write_checkpoint(tmp_path / "source", encoder_layers=1, layers=1)
    build_package(tmp_path / "source", tmp_path / "package")
    return tmp_path / "package"


def test_what_is_saved_is_loaded(tmp_path):
    assert Calibration.load(tmp_path) is None
    FOUND.save(tmp_path)
    assert Calibration.load(tmp_path) == FOUND
    assert [path.name for path in tmp_path.iterdir()] == [CALIBRATION_FILE]


def test_a_package_knows_its_calibration_and_the_next_one(package):
    for basis in ("first", "second, which is longer"):
        found = Calibration(FOUND.heads, FOUND.confidence, basis)
        found.save(package)
        assert Calibration.load(package) == found
        assert CALIBRATION_FILE in verify_package(package).files
    assert not list(package.glob("*.partial"))


@pytest.mark.parametrize("calls", [1, 2, 3, 4])
def test_cut_short_it_is_still_a_whole_model(package, monkeypatch, calls):
    from pathlib import Path

    FOUND.save(package)
    replace, done = Path.replace, []

    def fails(self, target):
        done.append(target)
        if len(done) == calls:
            raise KeyboardInterrupt
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", fails)
    later = Calibration(FOUND.heads, FOUND.confidence, "a second time")
    try:
        later.save(package)
    except KeyboardInterrupt:
        assert calls < 4
    Manifest.load(package)
    assert Calibration.load(package) in (FOUND, later)


def test_conversion_takes_the_calibration_along(package, tmp_path):
    FOUND.save(tmp_path / "source")
    build_package(tmp_path / "source", tmp_path / "other")
    assert Calibration.load(tmp_path / "other") == FOUND
    verify_package(tmp_path / "other")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "x"}, "not a calibration of this version"),
        ({"format_version": 2}, "not a calibration of this version"),
        ({"basis": None}, "basis is missing"),
        ({"heads": []}, "pairs of layer and head"),
        ({"heads": [[1]]}, "pairs of layer and head"),
        ({"heads": ["ab"]}, "pairs of layer and head"),
        ({"heads": [[float("inf"), 0]]}, "pairs of layer and head"),
        ({"confidence": [[0.5, 0.5]]}, "at least two ascending"),
        ({"confidence": [[0.5, 0.5], [0.6, 0.4]]}, "at least two ascending"),
        ({"confidence": [[0.5, 0.5], [0.6, 1.4]]}, "at least two ascending"),
        ({"confidence": [[0, 0], [float("nan"), 1]]}, "at least two ascending"),
        ({"confidence": [1, 2]}, "at least two ascending"),
        ({"confidence": [[0, 0], [10**400, 1]]}, "at least two ascending"),
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path, change, message):
    FOUND.save(tmp_path)
    path = tmp_path / CALIBRATION_FILE
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ModelFormatError, match=message):
        Calibration.load(tmp_path)


@given(st.floats(0, 1), st.floats(0, 1))
def test_the_curve_rises_and_stays_between_its_ends(a, b):
    low, high = sorted((a, b))
    assert 0.2 <= FOUND.confidence(low) <= FOUND.confidence(high) <= 0.8
