"""Graphs of a checkpoint in standard ONNX operators, as other people's exporters make them.

Nothing of the engines under test is used; the encoder is our own graph, which has its own tests
against numpy and PyTorch.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import helper

from ark_asr.graphs.builder import FLOAT, INT64, GraphBuilder, rotary_tables
from ark_asr.graphs.encoder import EncoderGraph
from ark_asr.graphs.linear import Fp32Linear
from ark_asr.models.config import ModelConfig
from ark_asr.models.weights import EMBEDDING, HEAD, Weights


class Checkpoint:
    """A checkpoint folder, opened for building graphs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = ModelConfig.load(folder)
        self.weights = Weights.open(folder)


def save_encoder(source: Checkpoint, path: Path, *, inputs, output):
    """Write our encoder graph with other names.

    ``inputs`` is one name (the graph then hears every frame of it) or two (log-mels and frames).
    """
    graph = GraphBuilder("encoder")
    EncoderGraph(graph, source.config, source.weights, Fp32Linear(), lambda: None).build()
    graph.save(path)
    model = onnx.load(path)
    for node in model.graph.node:
        swap(node.input, "mels", inputs[0])
        swap(node.output, "audio", output)
        if len(inputs) == 2:
            swap(node.input, "frames", inputs[1])
    shape = [1, source.config.encoder.mel_bins, "mel_frames"]
    declared = [helper.make_tensor_value_info(inputs[0], FLOAT, shape)]
    if len(inputs) == 2:
        declared.append(helper.make_tensor_value_info(inputs[1], INT64, [1]))
    else:
        whole = [helper.make_node("Shape", [inputs[0]], ["frames"], start=2, end=3)]
        whole += list(model.graph.node)
        del model.graph.node[:]
        model.graph.node.extend(whole)
    out = helper.make_tensor_value_info(
        output, FLOAT, [1, "slots", source.config.decoder.hidden_size]
    )
    for values, new in ((model.graph.input, declared), (model.graph.output, [out])):
        del values[:]
        values.extend(new)
    onnx.save(model, path)


def swap(names, old, new):
    for i, name in enumerate(names):
        if name == old:
            names[i] = new


class Qwen2:
    """The decoder for one row, with keys and values as its graph wants them.

    A subclass says where keys and values come from (`cache`) and which may be seen (`bias`).
    """

    def __init__(self, source: Checkpoint, graph: GraphBuilder) -> None:
        self.graph, self.config, self.weights = graph, source.config.decoder, source.weights

    def build(self, x: str, positions: str, length: int = 4096) -> str:
        """Logits ``[1, L, V]`` of embeddings ``[1, L, hidden]`` at int64 ``positions``."""
        graph, text = self.graph, self.config
        tables = rotary_tables(length, text.head_dim, text.rope_theta)
        self.rope = [
            graph.op("Gather", graph.weight(name, np.concatenate([table, table], 1)), positions)
            for name, table in zip(("cos", "sin"), tables, strict=True)
        ]  # fmt: skip
        for i in range(text.layers):
            layer = f"model.layers.{i}"
            heads = self.attention(i, self.norm(x, f"{layer}.input_layernorm"))
            x = graph.op("Add", x, heads)
            normed = self.norm(x, f"{layer}.post_attention_layernorm")
            gate = self.linear(normed, f"{layer}.mlp.gate_proj")
            gate = graph.op("Mul", gate, graph.op("Sigmoid", gate))
            wide = graph.op("Mul", gate, self.linear(normed, f"{layer}.mlp.up_proj"))
            x = graph.op("Add", x, self.linear(wide, f"{layer}.mlp.down_proj"))
        head = self.weights[EMBEDDING if text.tied_head else HEAD]
        return graph.op("MatMul", self.norm(x, "model.norm"), graph.weight("head", head.T))

    def cache(self, i: int, key: str, value: str) -> tuple[str, str]:
        """All keys and values ``[1, kv, T, dim]``, given the new ones ``[1, kv, L, dim]``."""
        raise NotImplementedError

    def bias(self) -> str:
        """What is added to the scores, broadcast to ``[1, 1, L, T]``."""
        raise NotImplementedError

    def attention(self, i: int, x: str) -> str:
        graph, text = self.graph, self.config
        name = f"model.layers.{i}.self_attn"
        groups = text.heads // text.kv_heads
        query, key, value = (
            graph.op(
                "Transpose",
                graph.op(
                    "Reshape", self.linear(x, f"{name}.{kind}_proj", bias=True),
                    graph.ints(1, -1, heads, text.head_dim),
                ),
                perm=[0, 2, 1, 3],
            )
            for kind, heads in (("q", text.heads), ("k", text.kv_heads), ("v", text.kv_heads))
        )  # fmt: skip
        query, key = self.rotate(query), self.rotate(key)
        keys, values = self.cache(i, key, value)
        # One more axis lets the heads of a group share their keys and values.
        grouped = graph.ints(1, text.kv_heads, groups, -1, text.head_dim)
        query = graph.op("Reshape", query, grouped)
        shared = graph.ints(2)
        keys, values = (graph.op("Unsqueeze", part, shared) for part in (keys, values))
        scores = graph.op("MatMul", query, graph.op("Transpose", keys, perm=[0, 1, 2, 4, 3]))
        scores = graph.op("Mul", scores, graph.constant(text.head_dim**-0.5, np.float32))
        seen = graph.op("Unsqueeze", self.bias(), graph.ints(1))
        weights = graph.op("Softmax", graph.op("Add", scores, seen), axis=-1)
        heads = graph.op("MatMul", weights, values)
        flat = graph.op("Reshape", heads, graph.ints(1, text.heads, -1, text.head_dim))
        flat = graph.op("Transpose", flat, perm=[0, 2, 1, 3])
        flat = graph.op("Reshape", flat, graph.ints(1, -1, text.heads * text.head_dim))
        return self.linear(flat, f"{name}.o_proj")

    def rotate(self, x: str) -> str:
        graph = self.graph
        first, second = graph.node("Split", x, outputs=2, axis=3)
        turned = graph.op("Concat", graph.op("Neg", second), first, axis=3)
        cos, sin = self.rope
        return graph.op("Add", graph.op("Mul", x, cos), graph.op("Mul", turned, sin))

    def linear(self, x: str, name: str, *, bias: bool = False) -> str:
        graph = self.graph
        out = graph.op(
            "MatMul", x, graph.weight(f"{name}.weight", self.weights[f"{name}.weight"].T)
        )
        if bias:
            out = graph.op("Add", out, graph.weight(f"{name}.bias", self.weights[f"{name}.bias"]))
        return out

    def norm(self, x: str, name: str) -> str:
        graph = self.graph
        square = graph.op("ReduceMean", graph.op("Mul", x, x), axes=[-1], keepdims=1)
        square = graph.op("Add", square, graph.constant(self.config.rms_norm_eps, np.float32))
        normed = graph.op("Div", x, graph.op("Sqrt", square))
        return graph.op("Mul", normed, graph.weight(name, self.weights[f"{name}.weight"]))
