"""A folder laid out as the ONNX bundle of Audio8-ASR-0.1B, made of a checkpoint.

That model's audio tower is another one, so the graph ``audio_hidden`` is ours up to the adapter's
GELU, and the projector is the adapter's last layer. Its LayerNorm has to leave those values as they
are: a row ``[h, -h, K, -K]`` has mean 0 and, with a large K, a variance that hardly depends on h,
so the norm only divides by a constant, which the linear weight takes back.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
from onnx import helper

from ark_asr.graphs.builder import FLOAT, INT64, GraphBuilder
from ark_asr.models.tokenizer import Tokenizer
from ark_asr.models.weights import EMBEDDING
from plain_graphs import Checkpoint, Qwen2, save_encoder

CONSTANT = 3e4
REPEATS = 2  # tower rows to one audio slot
NOISE = 7  # tower rows that are not valid


class StaticQwen2(Qwen2):
    """Keys and values of all positions come in (steps) or none (prompt); the new ones go out.

    ``axis`` is that of the positions, 2 as published.
    """

    def __init__(self, source, graph, positions, *, axis=2, step=False):
        super().__init__(source, graph)
        self.positions, self.axis, self.step = positions, axis, step
        self.place = graph.input("cache_position", INT64, [1 if step else "length"])
        if step:
            self.mask = graph.input("attention_mask", INT64, [1, positions])

    def cache(self, i, key, value):
        graph = self.graph
        seen = []
        for kind, new in (("key", key), ("value", value)):
            delta = self.ordered(new)
            graph.node_to("Identity", [delta], [f"{kind}_delta_{i}"])
            length = 1 if self.step else "length"
            graph.output(f"{kind}_delta_{i}", FLOAT, self.shape(length))
            if self.step:
                name = graph.input(f"cache_{kind}_{i}", FLOAT, self.shape(self.positions))
                all_ = self.ordered(name)
                before = graph.op("Slice", all_, graph.ints(0), self.place, graph.ints(2))
                after = graph.op("Add", self.place, graph.ints(1))
                end = graph.ints(self.positions)
                behind = graph.op("Slice", all_, after, end, graph.ints(2))
                seen.append(graph.op("Concat", before, new, behind, axis=2))
            else:
                seen.append(new)
        return tuple(seen)

    def ordered(self, x):
        """Between the published order and ``[1, kv, positions, dim]``: the same swap both ways."""
        return x if self.axis == 2 else self.graph.op("Transpose", x, perm=[0, 2, 1, 3])

    def shape(self, length):
        text = self.config
        shape = [1, text.kv_heads, length, text.head_dim]
        return shape if self.axis == 2 else [shape[i] for i in (0, 2, 1, 3)]

    def bias(self):
        graph = self.graph
        if self.step:
            seen = graph.op("Unsqueeze", graph.op("Cast", self.mask, to=FLOAT), graph.ints(1, 2))
            hidden = graph.op("Sub", graph.constant(1.0, np.float32), seen)
        else:
            row = graph.op("Unsqueeze", self.place, graph.ints(0, 1, 3))
            later = graph.op("Less", row, graph.op("Unsqueeze", self.place, graph.ints(0, 1, 2)))
            hidden = graph.op("Cast", later, to=FLOAT)
        return graph.op("Mul", hidden, graph.constant(-3.4028235e38, np.float32))


def write_audio8(source_folder: Path, dest: Path, *, ending="", axis=2, positions=512, **changes):
    """Write a whole bundle."""
    (dest / "weights").mkdir(parents=True, exist_ok=True)
    source = Checkpoint(source_folder)
    text, features = source.config.decoder, source.config.features
    frames = features.frames(features.clip_samples)
    write_tower(source, dest / f"audio_hidden{ending}.onnx", frames)
    for part in ("prefill", "decode"):
        step = part == "decode"
        graph = GraphBuilder(part)
        length = 1 if step else "length"
        embeds = graph.input("inputs_embeds", FLOAT, [1, length, text.hidden_size])
        decoder = StaticQwen2(source, graph, positions, axis=axis, step=step)
        logits = decoder.build(embeds, decoder.place)
        graph.node_to("Identity", [logits], ["logits"])
        graph.output("logits", FLOAT, [1, length, text.vocab_size])
        graph.save(dest / f"lm_cache_{part}{ending}.onnx")
    np.save(dest / "weights" / "token_embedding.npy", source.weights[EMBEDDING])
    write_projector(source, dest / "weights" / "audio_projector.npz")
    (dest / "tokenizer.json").write_bytes((source_folder / "tokenizer.json").read_bytes())
    tokenizer = Tokenizer.load(source_folder, source.config)
    tokens = {
        "user_token": "<|user|>", "bos_audio_token": "<|begin_of_audio|>",
        "audio_token": "<|audio|>", "eos_audio_token": "<|end_of_audio|>",
        "assistant_token": "<|assistant|>", "audio_token_id": source.config.audio_token_id,
        "pad_token_id": source.config.pad_token_id, "eos_token_ids": sorted(tokenizer.stop_ids),
        "extra_block_token_ids": tokenizer.suppressed_ids.tolist(), "asr_block_token_id_from": -1,
    }  # fmt: skip
    metadata = {
        "tokens": tokens, "prompt_audio": {"merge_factor": source.config.merge_factor},
        "max_audio_seconds": int(features.clip_seconds), "response_prefix": "",
        "language_hint_enabled": False, **changes,
    }  # fmt: skip
    (dest / "metadata.json").write_text(json.dumps(metadata))
    return dest


def write_tower(source: Checkpoint, path: Path, frames: int) -> None:
    """Our encoder up to the adapter's GELU: each row twice, and noise behind the valid ones."""
    save_encoder(source, path, inputs=["heard", "audio_feature_lengths"], output="embeds")
    model = onnx.load(path)
    graph = model.graph
    head, tail = GraphBuilder("head"), GraphBuilder("tail")
    tail._count = len(graph.node)  # names go on where those of the encoder end
    audios = head.input("audios", FLOAT, [1, source.config.encoder.mel_bins, frames])
    lengths = head.input("audio_feature_lengths", INT64, [1])
    axis, begin = head.weight("time", np.array([2])), head.weight("begin", np.array([0]))
    head.node_to("Slice", [audios, begin, lengths, axis], ["unpadded"])
    # A clip below one slot: the encoder wants that many frames, and is told how many are real.
    least = head.weight("least", np.array([2 * source.config.merge_factor]))
    head.node_to("Sub", [least, lengths], ["missing"])
    head.node_to("Max", ["missing", begin], ["more"])
    zeros = head.weight("zeros", np.zeros(5, np.int64))
    head.node_to("Concat", [zeros, "more"], ["pads"], axis=0)
    head.node_to("Pad", ["unpadded", "pads"], ["heard"])
    rows = next(node.output[0] for node in reversed(graph.node) if "Gelu" in node.op_type)
    slots = tail.op("Div", tail.op("Add", lengths, tail.ints(1)), tail.ints(2))
    slots = tail.op("Div", slots, tail.ints(source.config.merge_factor))
    slots = tail.op("Max", slots, tail.ints(1))
    rows = tail.op("Slice", rows, tail.ints(0), slots)
    edge = tail.op("Expand", tail.constant(CONSTANT, np.float32),
                   tail.op("Concat", slots, tail.ints(1), axis=0))  # fmt: skip
    rows = tail.op("Concat", rows, tail.op("Neg", rows), edge, tail.op("Neg", edge), axis=1)
    rows = tail.op("Unsqueeze", rows, tail.ints(1))
    rows = tail.op("Concat", *[rows] * REPEATS, axis=1)
    width = 2 * source.config.adapter_size + 2
    rows = tail.op("Reshape", rows, tail.ints(-1, width))
    noise = tail.weight("noise", np.full((NOISE, width), 1e3, np.float32))
    tail.node_to("Concat", [rows, noise], ["audio_hidden"], axis=0)
    valid = tail.op("Expand", tail.ints(1), tail.op("Mul", slots, tail.ints(REPEATS)))
    invalid = tail.weight("invalid", np.zeros(NOISE, np.int64))
    tail.node_to("Concat", [valid, invalid], ["audio_valid_mask"], axis=0)
    tail.output("audio_hidden", FLOAT, ["rows", width])
    tail.output("audio_valid_mask", INT64, ["rows"])
    before, after = head.graph(), tail.graph()
    nodes = [*before.node, *graph.node, *after.node]
    tensors = {t.name: t for part in (graph, before, after) for t in part.initializer}
    made = helper.make_graph(nodes, "tower", before.input, after.output, list(tensors.values()))
    graph.CopyFrom(made)
    onnx.save(model, path)


def write_projector(source: Checkpoint, path: Path) -> None:
    """The adapter's last layer behind a norm that only scales."""
    name = "audio_encoder.adapting.2"
    weight, bias = source.weights[f"{name}.weight"], source.weights[f"{name}.bias"]
    half = source.config.adapter_size
    width = 2 * half + 2
    linear = np.zeros((len(weight), width), np.float32)
    linear[:, :half] = weight * (CONSTANT * np.sqrt(2 / width))
    np.savez(
        path,
        norm_weight=np.ones(width, np.float32),
        norm_bias=np.zeros(width, np.float32),
        linear_weight=linear,
        linear_bias=bias,
    )
