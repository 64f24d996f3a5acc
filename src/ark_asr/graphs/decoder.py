"""The decoder graph: one graph for prompts and for steps, over one cache buffer."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ark_asr.graphs.builder import FLOAT, INT32, INT64, MICROSOFT, GraphBuilder
from ark_asr.graphs.encoder import rotary_tables
from ark_asr.graphs.linear import Linear
from ark_asr.models.config import DecoderConfig
from ark_asr.models.weights import EMBEDDING, HEAD, Weights
from ark_asr.types import IntArray


def build_decoder(
    graph: GraphBuilder, text: DecoderConfig, weights: Weights, linear: Linear,
    output_ids: IntArray, max_positions: int, done: Callable[[], None],
) -> None:  # fmt: skip
    """Add the whole decoder to ``graph``.

    Inputs: ``embeds`` float32 ``[batch, new, hidden]``; ``lengths_less_one`` int32 ``[batch]``, the
    filled positions of each row after this call, less one; ``total`` int32 scalar, the longest row's
    filled positions; ``last`` int64 ``[batch]``, the column of ``embeds`` whose logits are wanted;
    and per layer ``past_key_i`` and ``past_value_i`` ``[batch, kv_heads, room, head_dim]``.
    Outputs: ``logits`` float32 ``[batch, columns]`` for ``output_ids``, and ``present_key_i`` and
    ``present_value_i``, to be bound to the very buffers of the past: nothing is copied then.

    A first call (``new == total``) takes whole prompts, padded at the right; later ones take one
    token per row, written at the row's own position.
    """
    embeds = graph.input("embeds", FLOAT, ["batch", "new", text.hidden_size])
    lengths = graph.input("lengths_less_one", INT32, ["batch"])
    total = graph.input("total", INT32, [])
    last = graph.input("last", INT64, ["batch"])
    tables = [
        graph.weight(f"decoder.{name}", table)
        for name, table in zip(
            ("cos", "sin"),
            rotary_tables(max_positions, text.head_dim, text.rope_theta),
            strict=True,
        )
    ]
    # Only the last layer's attention needs more than the wanted column: everything behind it is
    # computed for that column alone.
    place = graph.op("Unsqueeze", last, graph.constant([1], np.int64))
    place = graph.op("Unsqueeze", place, graph.constant([1], np.int64))
    x, normed = embeds, ""
    names = [f"model.layers.{i}" for i in range(text.layers)]
    ends = [*(f"{name}.input_layernorm.weight" for name in names[1:]), "model.norm.weight"]
    normed = graph.op(
        "SimplifiedLayerNormalization", x, _norm(graph, weights, f"{names[0]}.input_layernorm.weight"),
        epsilon=text.rms_norm_eps, axis=-1, stash_type=1,
    )  # fmt: skip
    for i, (layer, end) in enumerate(zip(names, ends, strict=True)):
        heads = _attention(graph, text, weights, linear, i, normed, [lengths, total, *tables])
        if i == text.layers - 1:
            heads = graph.op("GatherND", heads, place, batch_dims=1)
            x = graph.op("GatherND", x, place, batch_dims=1)
        name = f"{layer}.self_attn.o_proj"
        out = linear(graph, heads, name, weights[f"{name}.weight"])
        x, normed = _skip_norm(
            graph, text, out, x, _norm(graph, weights, f"{layer}.post_attention_layernorm.weight")
        )
        gate, up = (
            linear(graph, normed, f"{layer}.mlp.{kind}", weights[f"{layer}.mlp.{kind}.weight"])
            for kind in ("gate_proj", "up_proj")
        )
        inner = graph.op("Mul", graph.fused("QuickGelu", gate, alpha=1.0), up)
        name = f"{layer}.mlp.down_proj"
        out = linear(graph, inner, name, weights[f"{name}.weight"])
        x, normed = _skip_norm(graph, text, out, x, _norm(graph, weights, end))
        done()
    head = weights[EMBEDDING if text.tied_head else HEAD][output_ids]
    logits = linear(graph, normed, "head", head)
    graph.node_to("Squeeze", [logits, graph.constant([1], np.int64)], ["logits"])
    graph.output("logits", FLOAT, ["batch", len(output_ids)])
    done()


def _attention(
    graph: GraphBuilder, text: DecoderConfig, weights: Weights, linear: Linear, i: int, x: str,
    places: list[str],
) -> str:  # fmt: skip
    name = f"model.layers.{i}.self_attn"
    parts = [f"{name}.{kind}_proj" for kind in "qkv"]
    packed = np.concatenate([weights[f"{part}.weight"] for part in parts])
    bias = np.concatenate([weights[f"{part}.bias"] for part in parts])
    qkv = linear(graph, x, f"{name}.qkv", packed)
    qkv = graph.op("Add", qkv, graph.weight(f"{name}.qkv.bias", bias))
    shape = ["batch", text.kv_heads, "room", text.head_dim]
    past = [graph.input(f"past_{kind}_{i}", FLOAT, shape) for kind in ("key", "value")]
    present = [f"present_{kind}_{i}" for kind in ("key", "value")]
    for value in present:
        graph.output(value, FLOAT, shape)
    heads = f"{name}.heads"
    graph.node_to(
        "GroupQueryAttention", [qkv, "", "", *past, *places], [heads, *present], domain=MICROSOFT,
        num_heads=text.heads, kv_num_heads=text.kv_heads, do_rotary=1, rotary_interleaved=0,
    )  # fmt: skip
    return heads


def _skip_norm(
    graph: GraphBuilder, text: DecoderConfig, x: str, skip: str, norm: str
) -> tuple[str, str]:
    """``x + skip``, and its root-mean-square norm."""
    normed, _, _, total = graph.node(
        "SkipSimplifiedLayerNormalization", x, skip, norm, domain=MICROSOFT, outputs=4,
        epsilon=text.rms_norm_eps,
    )  # fmt: skip
    return total, normed


def _norm(graph: GraphBuilder, weights: Weights, name: str) -> str:
    return graph.weight(name, weights[name])
