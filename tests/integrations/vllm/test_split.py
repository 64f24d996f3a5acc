"""The model in several processes: the words of the whole one."""

from __future__ import annotations

import json
import shutil

import pytest

pytest.importorskip("vllm", reason="needs the extra vllm; `make test-vllm` runs this")

from ark_asr.engines import vllm
from ark_asr.engines.base import Ask
from ark_asr.engines.torch_writer import TorchWriter
from ark_asr.engines.vllm import VllmEngine
from ark_asr.errors import ModelError
from asked import written
from checkpoints import write_checkpoint

pytestmark = pytest.mark.usefixtures("alone")


def assert_same(found, expected):
    assert [one.token_ids for one in found] == [one.token_ids for one in expected]
    for one, other in zip(found, expected, strict=True):
        assert one.logprobs == pytest.approx(other.logprobs, abs=1e-3)
        assert one.stop == other.stop


def test_tensor_parallel(asks, checkpoint, tmp_path, monkeypatch):
    """Heads, keys and values, feed-forward, adapter and vocabulary: a half in each process."""
    folder = tmp_path / "split"
    sizes = {"hidden": 128, "heads": 4, "kv_heads": 2, "head_dim": 32, "size": 128}
    write_checkpoint(folder, **sizes, encoder_heads=4, tied=False, scale=2.0)
    config = json.loads((folder / "config.json").read_text())
    config["architectures"] = ["ArkasrForConditionalGeneration"]
    (folder / "config.json").write_text(json.dumps(config))
    shutil.copy(checkpoint / "preprocessor_config.json", folder)
    monkeypatch.setenv("VLLM_TENSOR_PARALLEL_SIZE", "2")
    asks = [Ask(ask.audio, 12) for ask in asks]  # two busy cores take their time for each
    expected = written(TorchWriter.load(folder, "cpu"), asks)
    assert len({one.token_ids for one in expected}) == len(asks)
    assert_same(written(VllmEngine.load(folder), asks), expected)


def test_pipeline_parallel(asks, checkpoint, monkeypatch):
    """Two stages of the decoder's three layers; the encoder is in the first.

    Compiled in form only: vLLM's CPU build does not run the second stage as it is, and its compiler
    would take minutes.
    """
    traced = {"compilation_config": {"mode": 2, "backend": "eager"}}
    settings = {"pipeline_parallel_size": 2, "enforce_eager": False, **traced}
    monkeypatch.setattr(vllm, "settings_from_variables", lambda: settings)
    asks = [Ask(ask.audio, 12) for ask in asks]
    expected = written(TorchWriter.load(checkpoint, "cpu"), asks)
    assert_same(written(VllmEngine.load(checkpoint), asks), expected)


def test_a_size_that_does_not_divide_is_refused(checkpoint, monkeypatch):
    monkeypatch.setenv("VLLM_TENSOR_PARALLEL_SIZE", "2")
    with pytest.raises(ModelError, match="divisible by tensor parallel size"):
        VllmEngine.load(checkpoint)
