"""Quantised layers: encoder, adapter and decoder take them, and the words remain."""

from __future__ import annotations

import difflib
import json
import shutil

import pytest

pytest.importorskip("vllm", reason="needs the extra vllm; `make test-vllm` runs this")

import torch
from safetensors.torch import load_file, save_file

from ark_asr.engines.torch_writer import TorchWriter
from ark_asr.engines.vllm import VllmEngine
from asked import written

pytestmark = pytest.mark.usefixtures("alone")


# By their published names; the joint layers are made of the first three, and of none of the others.
LEFT_ALONE = {
    *(f"audio_encoder.whisper.layers.0.self_attn.{name}_proj" for name in "qkv"),
    "audio_encoder.adapting.0",
    "model.layers.1.mlp.down_proj",
}


def quantised(checkpoint, folder):
    """The checkpoint as `llm-compressor` would write it: int8 weights with a scale for each row."""
    shutil.copytree(checkpoint, folder)
    tensors = {}
    for name, weight in load_file(checkpoint / "model.safetensors").items():
        layer = name.removesuffix(".weight")
        tensors[name] = weight
        if weight.ndim == 2 and "embed_" not in name and layer not in {"lm_head", *LEFT_ALONE}:
            scale = weight.float().abs().amax(1, keepdim=True) / 127
            tensors[name] = (weight / scale).round().to(torch.int8)
            tensors[f"{layer}.weight_scale"] = scale
    save_file(tensors, folder / "model.safetensors")
    eight = {"num_bits": 8, "type": "int", "symmetric": True}
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"] = {
        "quant_method": "compressed-tensors", "format": "int-quantized",
        "quantization_status": "compressed", "ignore": ["lm_head", *sorted(LEFT_ALONE)],
        "config_groups": {"all": {
            "targets": ["Linear"],
            "weights": {**eight, "strategy": "channel", "dynamic": False},
            "input_activations": {**eight, "strategy": "token", "dynamic": True},
        }},
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))


def likeness(found, expected):
    """1 for the same tokens, 0 if none is the same."""
    pairs = zip(found, expected, strict=True)
    ratios = [
        difflib.SequenceMatcher(None, a.token_ids, b.token_ids, autojunk=False).ratio()
        for a, b in pairs
    ]
    return sum(ratios) / len(ratios)


def layers(engine):
    """Every linear layer's way of computing, by its name in the model."""

    def look(model):
        return {
            name: type(module.quant_method).__name__
            for name, module in model.named_modules()
            if hasattr(module, "quant_method") and hasattr(module, "weight")
        }

    (found,) = engine._engine.apply_model(look)
    return found


def test_a_quantised_checkpoint(asks, checkpoint, tmp_path, monkeypatch):
    """Encoder, adapter and decoder compute in int8, but for the layers that the folder names."""
    monkeypatch.setenv("VLLM_DTYPE", "bfloat16")  # the matrix units of a CPU take nothing else
    quantised(checkpoint, tmp_path / "int8")
    expected = written(TorchWriter.load(checkpoint, "cpu"), asks)
    engine = VllmEngine.load(tmp_path / "int8")
    methods = layers(engine)
    plain = {name for name, method in methods.items() if method == "UnquantizedLinearMethod"}
    assert plain == {
        "audio_encoder.whisper.layers.0.self_attn.qkv_proj",
        "audio_encoder.adapting.0",
        "language_model.model.layers.1.mlp.down_proj",
    }
    assert methods["audio_encoder.whisper.layers.1.self_attn.qkv_proj"].startswith("Compressed")
    assert methods["audio_encoder.adapting.2"].startswith("Compressed")
    assert likeness(written(engine, asks), expected) > 0.8
