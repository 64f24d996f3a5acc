"""Folders in the layout "llm-kv", made of a checkpoint in standard ONNX operators."""

from __future__ import annotations

import json
import shutil
from math import sqrt
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from ark_asr.graphs.builder import FLOAT, INT64, GraphBuilder, rotary_tables
from ark_asr.models.weights import EMBEDDING
from plain_graphs import Checkpoint, Qwen2

HIDDEN_SCORE = -3.4028235e38
COPIED = ("config.json", "preprocessor_config.json", "generation_config.json", "tokenizer.json",
          "tokenizer_config.json")  # fmt: skip


class StaticQwen2(Qwen2):
    """A cache of fixed length comes in, only what is new goes out; ``axis`` counts positions."""

    def __init__(self, source, graph, *, length, axis, masked):
        super().__init__(source, graph)
        self.length, self.axis, self.masked = length, axis, masked

    def shape(self, positions):
        sizes = [1, positions, self.config.kv_heads, self.config.head_dim]
        return [sizes[i] for i in self.order]

    @property
    def order(self):
        """Between the cache and ``[1, positions, heads, dim]``, both ways."""
        return [0, 1, 2, 3] if self.axis == 1 else [0, 2, 1, 3]

    def cache(self, i, key, value):
        graph = self.graph
        both = []
        for kind, new in (("key", key), ("value", value)):
            given = graph.input(f"cache_{kind}_{i}", FLOAT, self.shape(self.length))
            made = graph.output(f"{kind}_delta_{i}", FLOAT, self.shape("new"))
            rows = graph.op("Transpose", new, perm=[0, 2, 1, 3])
            graph.node_to("Transpose", [rows], [made], perm=self.order)
            all_rows = graph.op("Squeeze", graph.op("Transpose", given, perm=self.order),
                                graph.ints(0))  # fmt: skip
            places = graph.op("Unsqueeze", "cache_position", graph.ints(1))
            rows = graph.op("Squeeze", rows, graph.ints(0))
            all_rows = graph.op("ScatterND", all_rows, places, rows)
            heads = graph.op("Transpose", all_rows, perm=[1, 0, 2])
            both.append(graph.op("Unsqueeze", heads, graph.ints(0)))
        return tuple(both)

    def bias(self):
        graph = self.graph
        slots = graph.ints(*range(self.length))
        behind = graph.op(
            "Greater", slots, graph.op("Unsqueeze", "cache_position", graph.ints(0, 1, 3))
        )
        if self.masked:
            unheard = graph.op("Equal", "attention_mask", graph.constant(0, np.int64))
            unheard = graph.op("Unsqueeze", unheard, graph.ints(1, 2))
            behind = graph.op("Or", behind, unheard)
        return hide(graph, behind)


class GrowingQwen2(Qwen2):
    """What has been so far comes in, that and the new goes out."""

    def cache(self, i, key, value):
        graph, text = self.graph, self.config
        both = []
        for kind, new in (("key", key), ("value", value)):
            past, present = (
                declare(f"{when}_{kind}_{i}", FLOAT, [1, text.kv_heads, when, text.head_dim])
                for declare, when in ((graph.input, "past"), (graph.output, "present"))
            )
            graph.node_to("Concat", [past, new], [present], axis=2)
            both.append(present)
        return tuple(both)

    def bias(self):
        graph = self.graph
        total = graph.op("Slice", graph.op("Shape", "present_key_0"), graph.ints(2), graph.ints(3))
        zero, one = graph.constant(0, np.int64), graph.constant(1, np.int64)
        slots = graph.op("Range", zero, graph.op("Squeeze", total), one)
        behind = graph.op("Unsqueeze", "cache_position", graph.ints(0, 1, 3))
        return hide(graph, graph.op("Greater", slots, behind))


def hide(graph, behind):
    hidden, seen = graph.constant(HIDDEN_SCORE, np.float32), graph.constant(0, np.float32)
    return graph.op("Where", behind, hidden, seen)


class PlainEncoder:
    """The audio tower with the adapter's norm, for one clip, every frame heard."""

    def __init__(self, source: Checkpoint, graph: GraphBuilder) -> None:
        self.graph, self.config, self.weights = graph, source.config, source.weights

    def build(self) -> None:
        graph, audio = self.graph, self.config.encoder
        x = graph.input("audios", FLOAT, [1, audio.mel_bins, "mel_frames"])
        tower = "audio_encoder.whisper"
        for name, stride in (("conv1", 1), ("conv2", 2)):
            kernel = [self.stored(f"{tower}.{name}.{part}") for part in ("weight", "bias")]
            x = gelu(graph, graph.op("Conv", x, *kernel, pads=[1, 1], strides=[stride]))
        x = graph.op("Transpose", x, perm=[0, 2, 1])
        time = graph.op("Slice", graph.op("Shape", x), graph.ints(1), graph.ints(2))
        cos, sin = rotary_tables(self.config.encoder_positions, audio.rotary_dim, 10_000.0)
        still = audio.head_dim - audio.rotary_dim
        cos = np.pad(np.repeat(cos, 2, axis=1), ((0, 0), (0, still)), constant_values=1)
        sin = np.pad(np.stack([-sin, sin], axis=2).reshape(len(sin), -1), ((0, 0), (0, still)))
        self.rope = [
            graph.op("Slice", graph.weight(name, table), graph.ints(0), time)
            for name, table in (("cos", cos), ("sin", sin))
        ]
        for i in range(audio.layers):
            layer = f"{tower}.layers.{i}"
            heads = self.attention(
                f"{layer}.self_attn", self.norm(x, f"{layer}.self_attn_layer_norm")
            )
            x = graph.op("Add", x, heads)
            wide = gelu(
                graph, self.linear(self.norm(x, f"{layer}.final_layer_norm"), f"{layer}.fc1")
            )
            x = graph.op("Add", x, self.linear(wide, f"{layer}.fc2"))
        normed = self.norm(x, "audio_encoder.layer_norm")
        graph.node_to("Identity", [normed], ["encoded_audio_features"])
        graph.output("encoded_audio_features", FLOAT, [1, "frames", audio.hidden_size])

    def attention(self, name, x):
        graph, audio = self.graph, self.config.encoder
        query, key, value = (
            graph.op(
                "Transpose",
                graph.op("Reshape", self.linear(x, f"{name}.{kind}_proj"),
                         graph.ints(1, -1, audio.heads, audio.head_dim)),
                perm=[0, 2, 1, 3],
            )
            for kind in "qkv"
        )  # fmt: skip
        query, key = self.rotate(query), self.rotate(key)
        scores = graph.op("MatMul", query, graph.op("Transpose", key, perm=[0, 1, 3, 2]))
        scores = graph.op("Mul", scores, graph.constant(audio.head_dim**-0.5, np.float32))
        heads = graph.op("MatMul", graph.op("Softmax", scores, axis=-1), value)
        heads = graph.op("Transpose", heads, perm=[0, 2, 1, 3])
        flat = graph.op("Reshape", heads, graph.ints(1, -1, audio.hidden_size))
        return self.linear(flat, f"{name}.out_proj")

    def rotate(self, x):
        """Adjacent pairs of the first half of each head; the tables leave the rest as it is."""
        graph = self.graph
        neighbours = np.arange(self.config.encoder.head_dim) ^ 1
        turned = graph.op("Gather", x, graph.ints(*neighbours), axis=3)
        cos, sin = self.rope
        return graph.op("Add", graph.op("Mul", x, cos), graph.op("Mul", turned, sin))

    def norm(self, x, name):
        scale = [self.stored(f"{name}.{part}") for part in ("weight", "bias")]
        eps = self.config.encoder.layer_norm_eps
        return self.graph.op("LayerNormalization", x, *scale, epsilon=eps)

    def linear(self, x, name):
        return linear(self.graph, self.weights, x, name)

    def stored(self, name):
        return self.graph.weight(name, self.weights[name])


def linear(graph, weights, x, name):
    out = graph.op("MatMul", x, graph.weight(f"{name}.weight", weights[f"{name}.weight"].T))
    if f"{name}.bias" not in weights.shapes:
        return out
    return graph.op("Add", out, graph.weight(f"{name}.bias", weights[f"{name}.bias"]))


def gelu(graph, x):
    inner = graph.op("Erf", graph.op("Mul", x, graph.constant(1 / sqrt(2), np.float32)))
    inner = graph.op("Add", inner, graph.constant(1, np.float32))
    return graph.op("Mul", graph.op("Mul", x, inner), graph.constant(0.5, np.float32))


def save_adapter(source: Checkpoint, path: Path) -> None:
    graph = GraphBuilder("adapter")
    size = source.config.merge_factor * source.config.encoder.hidden_size
    x = graph.input("merged_audio_features", FLOAT, [1, "slots", size])
    x = gelu(graph, linear(graph, source.weights, x, "audio_encoder.adapting.0"))
    x = linear(graph, source.weights, x, "audio_encoder.adapting.2")
    graph.node_to("Identity", [x], ["audio_embeddings"])
    graph.output("audio_embeddings", FLOAT, [1, "slots", source.config.decoder.hidden_size])
    graph.save(path)


def save_embedding(source: Checkpoint, path: Path, dtype) -> None:
    """The look-up, and its table as a file of its own."""
    table = source.weights[EMBEDDING].astype(dtype)
    path.with_suffix(".data").write_bytes(table.tobytes())
    kind = helper.np_dtype_to_tensor_dtype(table.dtype)
    stored = TensorProto(name="weight", dims=table.shape, data_type=kind)
    stored.data_location = TensorProto.EXTERNAL
    stored.external_data.add(key="location", value=path.with_suffix(".data").name)
    nodes = [helper.make_node("Gather", ["weight", "input_ids"], ["embeddings"])]
    values = [
        helper.make_tensor_value_info(name, type_, shape)
        for name, type_, shape in (
            ("input_ids", INT64, ["batch", "length"]),
            ("embeddings", kind, ["batch", "length", table.shape[1]]),
        )
    ]
    graph = helper.make_graph(nodes, "embedding", values[:1], values[1:], [stored])
    opset = [helper.make_opsetid("", 17)]
    path.write_bytes(
        helper.make_model(graph, opset_imports=opset, ir_version=9).SerializeToString()
    )


def save_decoder(source: Checkpoint, path: Path, *, length=512, axis=1, masked=True, growing=False):
    graph, text = GraphBuilder("decoder"), source.config.decoder
    embeds = graph.input("inputs_embeds", FLOAT, [1, "new", text.hidden_size])
    if masked and not growing:
        graph.input("attention_mask", INT64, [1, length])
    places = graph.input("cache_position", INT64, ["new"])
    kinds = {"length": length, "axis": axis, "masked": masked}
    model = GrowingQwen2(source, graph) if growing else StaticQwen2(source, graph, **kinds)
    logits = model.build(embeds, places)
    graph.node_to("Slice", [logits, graph.ints(-1), graph.ints(2**31), graph.ints(1)], ["logits"])
    graph.output("logits", FLOAT, [1, 1, text.vocab_size])
    graph.save(path)


def write_llm_kv(
    source_folder: Path, dest: Path, *, embedding="fp32", manifest=True, length=512, growing=False,
    **decoder,
) -> Path:  # fmt: skip
    """Write a folder as it is published, in fp32."""
    dest.mkdir(parents=True, exist_ok=True)
    source = Checkpoint(source_folder)
    text, audio = source.config.decoder, source.config.encoder
    for name in COPIED:
        if (source_folder / name).is_file():
            shutil.copyfile(source_folder / name, dest / name)
    graph = GraphBuilder("encoder")
    PlainEncoder(source, graph).build()
    graph.save(dest / "audio_encoder_whisper_fp32.onnx")
    save_adapter(source, dest / "audio_encoder_adapter_fp32.onnx")
    dtype = {"fp32": np.float32, "fp16": np.float16}[embedding]
    save_embedding(source, dest / f"embedding_{embedding}.onnx", dtype)
    stem = "llm_kv_growing_fp32" if growing else "llm_kv_cpu_fp32"
    save_decoder(source, dest / f"{stem}.onnx", length=length, growing=growing, **decoder)
    numbers = {
        "hidden_size": text.hidden_size, "num_layers": text.layers,
        "num_attention_heads": text.heads, "num_key_value_heads": text.kv_heads,
        "max_total_len": length,
    }  # fmt: skip
    (dest / "llm_kv_cpu_fp32.json").write_text(json.dumps(numbers))
    if manifest:
        chosen = {
            "llm_default": f"{stem}.onnx", "embedding_default": f"embedding_{embedding}.onnx",
            "audio_encoder_default": "audio_encoder_whisper_fp32.onnx",
            "audio_adapter_default": "audio_encoder_adapter_fp32.onnx",
            "audio_merge_factor": source.config.merge_factor,
            "audio_encoder_hidden_size": audio.hidden_size,
            "audio_token_id": source.config.audio_token_id,
            "pad_token_id": source.config.pad_token_id,
            "im_end_token_id": source.config.eos_token_ids[0],
        }  # fmt: skip
        (dest / "runtime_manifest.json").write_text(json.dumps(chosen))
    return dest


def quantize(folder: Path) -> None:
    """Dynamic int8 of all matrix products; the fp32 graphs go.

    Published per channel, here per tensor: it takes a second instead of ten.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    for path in sorted(folder.glob("*_fp32.onnx")):
        if path.name.startswith("embedding"):
            continue
        quantize_dynamic(
            path, path.with_name(path.name.replace("_fp32", "_int8")),
            weight_type=QuantType.QInt8, op_types_to_quantize=["MatMul"],
            extra_options={"MatMulConstBOnly": True},
        )  # fmt: skip
        path.unlink()


def edit_graph(path: Path, change) -> None:
    """Load a graph, let ``change`` alter it, write it back."""
    model = onnx.load(path)
    change(model.graph)
    onnx.save(model, path)
