"""An adapter of the decoder's layers: the words of the model that has taken it in."""

from __future__ import annotations

import json
import shutil
from functools import partial

import pytest

pytest.importorskip("vllm", reason="needs the extra vllm; `make test-vllm` runs this")

import torch
from safetensors.torch import load_file, save_file
from vllm.lora.request import LoRARequest

from ark_asr.engines import vllm
from ark_asr.engines.torch_writer import TorchWriter
from ark_asr.engines.vllm import VllmEngine
from asked import written

pytestmark = pytest.mark.usefixtures("alone")

RANK, ALPHA = 8, 16


def adapted(checkpoint, adapter, merged):
    """Write an adapter in PEFT's form, and the checkpoint with its products in the weights."""
    shutil.copytree(checkpoint, merged)
    adapter.mkdir()
    weights = {k: v.float() for k, v in load_file(checkpoint / "model.safetensors").items()}
    parts, layers = {}, set()
    random = torch.Generator().manual_seed(0)
    for name, weight in list(weights.items()):
        if not name.startswith("model.layers.") or not name.endswith("_proj.weight"):
            continue
        layer = name.removesuffix(".weight")
        layers.add(layer.rpartition(".")[2])
        down = torch.randn(RANK, weight.shape[1], generator=random)
        up = torch.randn(weight.shape[0], RANK, generator=random) * 0.4 * weight.std() / RANK
        parts[f"base_model.model.{layer}.lora_A.weight"] = down
        parts[f"base_model.model.{layer}.lora_B.weight"] = up
        weights[name] = weight + ALPHA / RANK * up @ down
    save_file(weights, merged / "model.safetensors")
    save_file(parts, adapter / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": RANK, "lora_alpha": ALPHA, "bias": "none"}
    said = json.dumps(config | {"target_modules": sorted(layers)})
    (adapter / "adapter_config.json").write_text(said)


def test_an_adapter_writes_what_the_merged_model_writes(asks, checkpoint, tmp_path, monkeypatch):
    """And a request without it, before, what the model writes."""
    adapted(checkpoint, tmp_path / "adapter", tmp_path / "merged")
    plain = written(TorchWriter.load(checkpoint, "cpu"), asks)
    merged = written(TorchWriter.load(tmp_path / "merged", "cpu"), asks)
    assert [one.token_ids for one in merged] != [one.token_ids for one in plain]
    settings = {"enable_lora": True, "max_lora_rank": RANK}
    monkeypatch.setattr(vllm, "settings_from_variables", lambda: settings)
    engine = VllmEngine.load(checkpoint)
    found = engine.write(asks, [lambda: False] * len(asks))
    assert [one.token_ids for one in found] == [one.token_ids for one in plain]
    request = LoRARequest("a-voice", 1, str(tmp_path / "adapter"))
    core = engine._engine
    monkeypatch.setattr(core, "add_request", partial(core.add_request, lora_request=request))
    found = written(engine, asks)
    assert [one.token_ids for one in found] == [one.token_ids for one in merged]
