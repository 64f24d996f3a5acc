"""What the runtime does besides computing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ark_asr.engines import sessions
from ark_asr.engines.graph import Graph
from ark_asr.errors import ModelFormatError

OURS = """
import numpy as np, ark_asr
with ark_asr.load() as model:
    model.transcribe(np.zeros(48_000, np.float32), source_rate=16_000)
"""


def left_behind(code, home):
    """Files that a program leaves in the home of a user who has none."""
    home.mkdir()
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("XDG", "ORT"))}
    kept.pop("CI", None)  # the runtime is silent there, but nobody's laptop is a CI machine
    home_of = {"HOME": str(home), "USERPROFILE": str(home), "LOCALAPPDATA": str(home)}
    subprocess.run([sys.executable, "-c", code], env=kept | home_of, check=True, timeout=300)
    return {path.relative_to(home).as_posix() for path in home.rglob("*") if path.is_file()}


def test_nothing_is_kept_for_the_runtimes_maker(tmp_path):
    assert left_behind(OURS, tmp_path / "home") == set()


def test_the_test_sees_what_the_runtime_keeps_by_itself(tmp_path):
    probe = Path(sessions.__file__).with_name("probe.onnx")
    alone = f"import onnxruntime; onnxruntime.InferenceSession({str(probe)!r})"
    if not left_behind(alone, tmp_path / "home"):
        pytest.skip("this build of ONNX Runtime keeps nothing")


def test_a_graph_that_cannot_be_loaded_is_told_of_in_the_error_only(tmp_path, capfd):
    """The runtime's own second attempt is announced on standard output, where transcripts go."""
    damaged = tmp_path / "damaged.onnx"
    probe = Path(sessions.__file__).with_name("probe.onnx").read_bytes()
    damaged.write_bytes(probe.replace(b"MatMulInteger", b"MatMul\xffnteger"))
    with pytest.raises(ModelFormatError, match=r"damaged\.onnx: ONNX Runtime cannot load it"):
        Graph(damaged)
    assert capfd.readouterr() == ("", "")
