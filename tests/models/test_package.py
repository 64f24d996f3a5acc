"""The manifest of our packages."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ark_asr.errors import ModelFormatError
from ark_asr.graphs.convert import build_package
from ark_asr.models.package import Manifest, id_ranges, verify_package
from checkpoints import write_checkpoint


@pytest.fixture
def package(tmp_path):
    write_checkpoint(tmp_path / "source", encoder_layers=1, layers=1)
    build_package(tmp_path / "source", tmp_path / "package")
    return tmp_path / "package"


@given(st.sets(st.integers(0, 10_000), min_size=1))
def test_ranges_hold_exactly_the_ids(ids):
    ordered = np.array(sorted(ids))
    ranges = id_ranges(ordered)
    assert [id_ for first, last in ranges for id_ in range(first, last + 1)] == ordered.tolist()
    assert all(b[0] > a[1] + 1 for a, b in pairwise(ranges))


def test_one_changed_byte_is_found_and_named(package):
    file = package / "weights.bin"
    data = bytearray(file.read_bytes())
    data[1000] ^= 1
    file.write_bytes(data)
    Manifest.load(package)
    with pytest.raises(ModelFormatError, match=r"SHA-256 of weights\.bin is not"):
        verify_package(package)


def test_progress_of_the_check_covers_every_byte(package):
    read = []
    manifest = verify_package(package, read.append)
    assert sum(read) == sum(file.size for file in manifest.files.values())


WRONG = [
    ({"kind": "other"}, "kind is 'other'"),
    ({"precision": "int2"}, "precision 'int2'"),
    ({"name": None}, "name is missing"),
    ({"output_ranges": [[5, 3]]}, "not ascending"),
    ({"output_ranges": [[0, 5], [5, 7]]}, "not ascending"),
    ({"output_ranges": [[0, 100_000]]}, "not ascending"),
    ({"output_ranges": [1]}, "not a complete manifest"),
    ({"output_ranges": []}, "not ascending"),
    ({"files": {"../x": {"size": 1, "sha256": ""}}}, "not the name of a file beside it"),
    ({"files": {"weights.bin": {"size": 1, "sha256": ""}}}, "lacks encoder.onnx, decoder.onnx"),
    ({"files": {"weights.bin": {"bytes": 1}}}, "not a complete manifest"),
    ({"embedding": {"offset": 10**9, "dtype": "float16", "rows": 290, "columns": 64}}, "outside"),
    ({"embedding": {"offset": 0, "dtype": "int64", "rows": 290, "columns": 64}}, "dtype 'int64'"),
    ({"source": {"name": "x"}}, "not a complete manifest"),
]


@pytest.mark.parametrize(("change", "message"), WRONG)
def test_a_manifest_that_makes_no_sense(package, change, message):
    data = json.loads((package / "ark_asr.json").read_text())
    (package / "ark_asr.json").write_text(json.dumps(data | change))
    with pytest.raises(ModelFormatError, match=message):
        Manifest.load(package)
