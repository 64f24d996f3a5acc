"""The ONNX Runtime engine's behaviour around the numbers."""

from __future__ import annotations

import json
import platform
from pathlib import Path

import numpy as np
import pytest

from ark_asr.engines import load_engine, sessions
from ark_asr.engines.grouping import encoder_groups, prefill_groups
from ark_asr.engines.ort import OnnxEngine
from ark_asr.engines.scripted import ScriptedEngine
from ark_asr.errors import ModelFormatError, ModelNotFoundError, OptionError
from ark_asr.graphs.convert import build_package
from ark_asr.graphs.probe import build_probe
from ark_asr.models.config import ModelConfig
from ark_asr.types import Prompt
from checkpoints import write_checkpoint


@pytest.fixture
def package(tmp_path):
    write_checkpoint(tmp_path / "source", max_positions=40)
    build_package(tmp_path / "source", tmp_path / "package", precision="int8")
    return tmp_path / "package"


def prompts(config, *lengths):
    audio = np.ones((1, config.decoder.hidden_size), np.float32)
    return [Prompt([config.audio_token_id, *range(n - 1)], audio) for n in lengths]


def test_no_room_is_said_before_anything_is_computed(package):
    engine = OnnxEngine.load(package)
    with pytest.raises(
        OptionError, match="30 and 11 new tokens need 41 positions; the model has 40"
    ):
        engine.start(prompts(engine.config, 5, 30), 11)


def test_a_full_row_is_not_written_past_its_end(package):
    engine = OnnxEngine.load(package)
    state = engine.start(prompts(engine.config, 5, 8), 1)
    state = engine.step(state, np.array([1, 2]))
    with pytest.raises(OptionError, match="a row is full"):
        engine.step(state, np.array([1, 2]))


def test_audio_must_fit_the_prompt(package):
    engine = OnnxEngine.load(package)
    prompt = Prompt([engine.config.audio_token_id], np.ones((2, 64), np.float32))
    with pytest.raises(OptionError, match="1 audio ids, but 2 embeddings"):
        engine.start([prompt], 1)


def test_no_prompt(package):
    with pytest.raises(OptionError, match="no prompt"):
        OnnxEngine.load(package).start([], 1)


def test_no_clip(package):
    assert OnnxEngine.load(package).embed_audio([]) == []


def test_the_longest_clip_and_one_frame_more(package):
    engine = OnnxEngine.load(package)
    (audio,) = engine.embed_audio([np.zeros((128, 3000), np.float32)])
    assert len(audio) == 375
    with pytest.raises(OptionError, match="3001 frames; the model takes 3000"):
        engine.embed_audio([np.zeros((128, 3001), np.float32)])


@pytest.mark.parametrize("order", [[1, 0], [1, 1], [1, 0, 1], [1]])
def test_rows_can_be_put_in_another_order(package, order):
    engine = OnnxEngine.load(package, threads=1)
    asked = prompts(engine.config, 5, 8)
    state = engine.step(engine.start(asked, 4), np.array([1, 2]))  # one binding is made already
    before = state.logits.copy()
    state = engine.select(state, np.array(order))
    np.testing.assert_array_equal(state.logits, before[order])
    state = engine.step(state, np.arange(3, 3 + len(order)))
    assert state.positions.tolist() == [(7, 10)[row] for row in order]
    for place, row in enumerate(order):
        alone = engine.step(engine.start(asked[row : row + 1], 4), np.array([1 + row]))
        alone = engine.step(alone, np.array([3 + place]))
        np.testing.assert_allclose(state.logits[place], alone.logits[0], atol=1e-4)


def test_states_are_independent(package):
    engine = OnnxEngine.load(package, threads=1)
    first = engine.start(prompts(engine.config, 5), 3)
    alone = engine.step(engine.start(prompts(engine.config, 5), 3), np.array([7])).logits.copy()
    other = engine.start(prompts(engine.config, 9, 12), 3)
    engine.step(other, np.array([1, 2]))
    np.testing.assert_array_equal(engine.step(first, np.array([7])).logits, alone)


def test_a_state_of_another_engine(package):
    engine = OnnxEngine.load(package)
    config = ModelConfig.load(package)
    scripted = ScriptedEngine(config, [[1]])
    scripted.embed_audio([np.zeros((128, 8), np.float32)])
    state = scripted.start([Prompt([1], np.zeros((1, 64), np.float32))], 1)
    with pytest.raises(TypeError, match="another engine"):
        engine.step(state, np.array([1]))


@pytest.mark.parametrize("name", ["encoder.onnx", "weights.bin", "tokenizer.json"])
def test_a_missing_file_is_named(package, name):
    (package / name).unlink()
    with pytest.raises(ModelNotFoundError, match=name):
        OnnxEngine.load(package)


def test_a_short_file_is_named(package):
    file = package / "weights.bin"
    file.write_bytes(file.read_bytes()[:-5])
    with pytest.raises(ModelFormatError, match=r"weights\.bin.*expected"):
        OnnxEngine.load(package)


def test_a_damaged_graph_is_named(package):
    file = package / "decoder.onnx"
    file.write_bytes(b"\0" * file.stat().st_size)
    with pytest.raises(ModelFormatError, match=r"decoder\.onnx.*cannot load"):
        OnnxEngine.load(package)


def test_another_format_version(package):
    data = json.loads((package / "ark_asr.json").read_text())
    (package / "ark_asr.json").write_text(json.dumps(data | {"format_version": 99}))
    with pytest.raises(ModelFormatError, match="format version 99"):
        OnnxEngine.load(package)


def test_the_exact_int8_kernel_gives_the_same_numbers(package, monkeypatch):
    """What an x86 without VNNI is made to use, run here."""
    usual = OnnxEngine.load(package)
    monkeypatch.setattr(sessions, "int8_saturates", lambda: True)
    exact = OnnxEngine.load(package)
    found = [engine.start(prompts(engine.config, 5, 9), 1).logits for engine in (usual, exact)]
    np.testing.assert_allclose(*found, atol=1e-4)


def test_the_probe_is_the_one_that_is_built(tmp_path):
    build_probe(tmp_path / "probe.onnx")
    shipped = Path(sessions.__file__).parent / "probe.onnx"
    assert shipped.read_bytes() == (tmp_path / "probe.onnx").read_bytes()
    assert not sessions.int8_saturates() or platform.machine() in ("x86_64", "AMD64")


def test_threads(package):
    with pytest.raises(OptionError, match="threads is 0"):
        OnnxEngine.load(package, threads=0)


def test_a_package_runs_without_onnx_and_torch(package, root):
    import subprocess
    import sys

    code = (
        "import sys, numpy as np\n"
        "from ark_asr.engines import load_engine\n"
        f"engine = load_engine({str(package)!r}, threads=1)\n"
        "assert engine.embed_audio([np.zeros((128, 20), np.float32)])[0].shape[0] == 2\n"
        "print([name for name in ('onnx', 'torch') if name in sys.modules])\n"
    )
    env = {"PYTHONPATH": str(root / "src")}
    run = subprocess.run(
        [sys.executable, "-c", code], env=env, check=False, capture_output=True, text=True
    )
    assert (run.returncode, run.stdout.strip(), run.stderr) == (0, "[]", "")


def test_one_door_to_all_engines(package):
    assert isinstance(load_engine(package), OnnxEngine)
    assert type(load_engine(package.parent / "source", "torch")).__name__ == "TorchEngine"
    with pytest.raises(ModelFormatError, match="checkpoint, which runs on engine 'torch'"):
        load_engine(package.parent / "source", "onnx")
    with pytest.raises(ModelFormatError, match="package, which runs on engine 'onnx'"):
        load_engine(package, "torch")
    with pytest.raises(OptionError, match="'tensorrt' is not known here; onnx and torch are"):
        load_engine(package, "tensorrt")


def test_short_clips_of_similar_length_are_encoded_together():
    assert list(encoder_groups([100, 3000, 95, 20, 100])) == [[3], [2, 0, 4], [1]]
    assert list(encoder_groups([])) == []


def test_neighbouring_prompts_of_similar_length_are_fed_together():
    assert list(prefill_groups([100, 98, 30, 31, 200, 200, 200])) == [
        (0, 2), (2, 4), (4, 6), (6, 7),
    ]  # fmt: skip
