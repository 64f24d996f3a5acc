"""The publisher's ONNX package of a checkpoint, made by PyTorch's exporter and ONNX Runtime's
quantiser: graphs that nobody here wrote, in the published layout.
"""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper
from onnxruntime.quantization import QuantType, quantize_dynamic
from torch import nn

from ark_asr.modeling.model import ArkForConditionalGeneration
from ark_asr.models.config import ModelConfig

COPIED = ("config.json", "generation_config.json", "preprocessor_config.json", "tokenizer.json",
          "tokenizer_config.json")  # fmt: skip


ENCODER, ADAPTER, DECODER = "audio_encoder_whisper", "audio_encoder_adapter", "llm_kv_cpu_fp32"


def export_package(checkpoint: Path, folder: Path, *, positions=256):
    """Write the package in float32."""
    folder.mkdir(parents=True)
    for name in COPIED:
        if (checkpoint / name).is_file():
            shutil.copyfile(checkpoint / name, folder / name)
    config = ModelConfig.load(checkpoint)
    text = config.decoder
    model = ArkForConditionalGeneration.load(checkpoint, torch.float32, "cpu").eval()
    export(
        Ear(model), folder / f"{ENCODER}_fp32.onnx",
        [torch.randn(1, config.encoder.mel_bins, 100)], ["audios"], ["encoded_audio_features"],
        {"audios": {2: "frames"}},
    )  # fmt: skip
    merged = config.merge_factor * config.encoder.hidden_size
    export(
        model.audio_encoder.adapting, folder / f"{ADAPTER}_fp32.onnx",
        [torch.randn(1, 12, merged)], ["merged_audio_features"], ["audio_embeddings"],
        {"merged_audio_features": {1: "slots"}},
    )  # fmt: skip
    caches = [f"cache_{kind}_{i}" for i in range(text.layers) for kind in ("key", "value")]
    deltas = [f"{kind}_delta_{i}" for i in range(text.layers) for kind in ("key", "value")]
    cache = torch.zeros(1, positions, text.kv_heads, text.head_dim)
    mask = torch.ones(1, positions, dtype=torch.int64)
    export(
        Mouth(model), folder / f"{DECODER}.onnx",
        [torch.randn(1, 12, text.hidden_size), mask, torch.arange(12), *[cache] * len(caches)],
        ["inputs_embeds", "attention_mask", "cache_position", *caches], ["logits", *deltas],
        {"inputs_embeds": {1: "new"}, "cache_position": {0: "new"}},
    )  # fmt: skip
    write_embedding(folder, model.model.embed_tokens.weight.detach().numpy())
    numbers = {
        "hidden_size": text.hidden_size, "num_layers": text.layers,
        "num_key_value_heads": text.kv_heads, "num_attention_heads": text.heads,
        "max_total_len": positions,
    }  # fmt: skip
    (folder / f"{DECODER}.json").write_text(json.dumps(numbers))


def quantize_package(source: Path, folder: Path, *, weight=QuantType.QInt8, per_channel=True):
    """Write an int8 package of one in float32."""
    folder.mkdir(parents=True)
    for path in source.iterdir():
        if path.suffix != ".onnx" or path.name.startswith("embedding"):
            shutil.copyfile(path, folder / path.name)
    for name, raw in ((ENCODER, f"{ENCODER}_fp32"), (ADAPTER, f"{ADAPTER}_fp32"),
                      (DECODER, DECODER)):  # fmt: skip
        quantize_dynamic(
            source / f"{raw}.onnx", folder / f"{name}_int8.onnx", per_channel=per_channel,
            weight_type=weight, op_types_to_quantize=["MatMul"],
        )  # fmt: skip


class Ear(nn.Module):
    """Log-mels to encoder states, the adapter's norm included."""

    def __init__(self, model) -> None:
        super().__init__()
        self.encoder = model.audio_encoder

    def forward(self, audios):
        return self.encoder.layer_norm(self.encoder.whisper(audios))


class Mouth(nn.Module):
    """One step of the decoder over caches ``[1, positions, kv_heads, head_dim]``."""

    def __init__(self, model) -> None:
        super().__init__()
        self.decoder, self.head = model.model, model.lm_head
        replace_norms(self.decoder)

    def forward(self, embeds, mask, position, *caches):
        cache = Given(caches, position)
        hidden = self.decoder(embeds, position[None], cache)
        logits = (
            self.head(hidden[:, -1:]) + 0 * mask[:, :1, None]
        )  # the mask is an input all the same
        return logits, *cache.deltas


class Given:
    """A cache that comes in from outside, and what is new in it."""

    def __init__(self, caches, position) -> None:
        self.keys, self.values = ([c.transpose(1, 2) for c in caches[i::2]] for i in (0, 1))
        self.position, self.deltas = position, []

    def update(self, layer, positions, *new):
        found = []
        for old, part in zip((self.keys[layer], self.values[layer]), new, strict=True):
            self.deltas.append(part.transpose(1, 2))
            found.append(old.index_copy(2, self.position, part))
        return found


class PlainNorm(nn.Module):
    """As Qwen2's own class computes it; the exporter knows no other."""

    def __init__(self, norm) -> None:
        super().__init__()
        self.weight, self.eps = norm.weight, norm.eps

    def forward(self, x):
        return self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps))


def replace_norms(module):
    for name, child in module.named_children():
        if isinstance(child, nn.RMSNorm):
            setattr(module, name, PlainNorm(child))
        else:
            replace_norms(child)


def export(module, path, arguments, inputs, outputs, dynamic):
    with warnings.catch_warnings(), torch.inference_mode(False):
        warnings.simplefilter("ignore")  # the exporter itself is deprecated, and says much more
        torch.onnx.export(
            module, tuple(arguments), str(path), dynamo=False, opset_version=17, input_names=inputs,
            output_names=outputs, dynamic_axes=dynamic,
        )  # fmt: skip


def write_embedding(folder: Path, table):
    """A look-up whose table is a raw file beside it."""
    table = np.ascontiguousarray(table, np.float32)
    (folder / "embedding_fp32.data").write_bytes(table.tobytes())
    tensor = TensorProto(
        name="table", dims=table.shape, data_type=TensorProto.FLOAT,
        data_location=TensorProto.EXTERNAL,
    )  # fmt: skip
    tensor.external_data.add(key="location", value="embedding_fp32.data")
    ids = helper.make_tensor_value_info("input_ids", TensorProto.INT64, [1, "length"])
    rows = helper.make_tensor_value_info(
        "embeddings", TensorProto.FLOAT, [1, "length", table.shape[1]]
    )
    node = helper.make_node("Gather", ["table", "input_ids"], ["embeddings"])
    graph = helper.make_graph([node], "embedding", [ids], [rows], [tensor])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, folder / "embedding_fp32.onnx")
