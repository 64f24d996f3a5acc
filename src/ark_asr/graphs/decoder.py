"""The decoder graph: one graph for prompts and for steps, over one cache buffer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ark_asr.graphs.builder import FLOAT, INT32, INT64, MICROSOFT, GraphBuilder, rotary_tables
from ark_asr.graphs.linear import Linear
from ark_asr.graphs.quantize import stack
from ark_asr.graphs.sources import WeightSource
from ark_asr.models.config import DecoderConfig
from ark_asr.models.weights import EMBEDDING, HEAD
from ark_asr.types import IntArray


@dataclass
class DecoderGraph:
    """Builds the decoder of one checkpoint.

    Inputs of the graph: ``embeds`` float32 ``[batch, new, hidden]``; ``lengths_less_one`` int32
    ``[batch]``, the filled positions of each row after this call, less one; ``total`` int32 scalar,
    the filled positions of the longest row; ``last`` int64 ``[batch, wanted]``, the columns of
    ``embeds`` whose logits are wanted; and per layer ``past_key_i`` and ``past_value_i`` float32
    ``[batch, kv_heads, room, head_dim]``. Outputs: ``logits`` float32 ``[batch, wanted, columns]``
    for ``output_ids``, and ``present_key_i`` and ``present_value_i``, to be bound to the very
    buffers of the past: nothing is copied then. Word times ask for ``qkv_i`` as well, float32
    ``[batch, new, (heads + 2 kv_heads) * head_dim]``: a layer's queries, keys and values before
    their rotation. They are there anyway and cost nothing while nobody asks.

    A first call (``new == total``) takes whole prompts, padded at the right; later ones take one
    token per row, written at the row's own position.

    Attributes:
        graph: Where nodes and weights go.
        config: The decoder's numbers.
        weights: The checkpoint's tensors.
        linear: Precision of the linear layers.
        head: Precision of the output projection.
        output_ids: Ids that get a column; the other rows of the head are left out.
        max_positions: Rows of the rotary tables.
        done: Called after each layer and at the end.
    """

    graph: GraphBuilder
    config: DecoderConfig
    weights: WeightSource
    linear: Linear
    head: Linear
    output_ids: IntArray
    max_positions: int
    done: Callable[[], None]

    def build(self) -> None:
        """Add everything, first node to last."""
        graph, text = self.graph, self.config
        x = graph.input("embeds", FLOAT, ["batch", "new", text.hidden_size])
        tables = rotary_tables(self.max_positions, text.head_dim, text.rope_theta)
        places = [
            graph.input("lengths_less_one", INT32, ["batch"]),
            graph.input("total", INT32, []),
            graph.weight("cos", tables[0]),
            graph.weight("sin", tables[1]),
        ]
        last = graph.op("Unsqueeze", graph.input("last", INT64, ["batch", "wanted"]), graph.ints(2))
        layers = [f"model.layers.{i}" for i in range(text.layers)]
        norms = [*(f"{layer}.input_layernorm" for layer in layers), "model.norm"]
        normed = graph.op(
            "SimplifiedLayerNormalization", x, self._norm(norms[0]),
            epsilon=text.rms_norm_eps, axis=-1, stash_type=1,
        )  # fmt: skip
        for i, (layer, next_norm) in enumerate(zip(layers, norms[1:], strict=True)):
            heads = self._attention(i, normed, places)
            if layer == layers[-1]:
                # From here on only the wanted columns matter.
                heads, x = (graph.op("GatherND", v, last, batch_dims=1) for v in (heads, x))
            out = self._product(f"{layer}.self_attn.o_proj", heads)
            x, normed = self._skip_norm(out, x, f"{layer}.post_attention_layernorm")
            gate = self._product(f"{layer}.mlp.gate_proj", normed)
            up = self._product(f"{layer}.mlp.up_proj", normed)
            wide = graph.op("Mul", graph.fused("QuickGelu", gate, alpha=1.0), up)  # SwiGLU
            out = self._product(f"{layer}.mlp.down_proj", wide)
            x, normed = self._skip_norm(out, x, next_norm)
            self.done()
        rows = self.weights.matrix(EMBEDDING if text.tied_head else HEAD)[self.output_ids]
        logits = self.head(graph, normed, "head", rows)
        graph.node_to("Identity", [logits], ["logits"])
        graph.output("logits", FLOAT, ["batch", "wanted", len(self.output_ids)])
        self.done()

    def _attention(self, i: int, x: str, places: list[str]) -> str:
        graph, text = self.graph, self.config
        name = f"model.layers.{i}.self_attn"
        parts = [f"{name}.{kind}_proj" for kind in "qkv"]
        weight = stack([self.weights.matrix(f"{part}.weight") for part in parts])
        bias = np.concatenate([self.weights[f"{part}.bias"] for part in parts])
        product = self.linear(graph, x, f"{name}.qkv", weight)
        packed = f"qkv_{i}"
        graph.node_to("Add", [product, graph.weight(f"{name}.qkv.bias", bias)], [packed])
        width = (text.heads + 2 * text.kv_heads) * text.head_dim
        graph.output(packed, FLOAT, ["batch", "new", width])
        shape: list[int | str] = ["batch", text.kv_heads, "room", text.head_dim]
        past = [graph.input(f"past_{kind}_{i}", FLOAT, shape) for kind in ("key", "value")]
        present = [graph.output(f"present_{kind}_{i}", FLOAT, shape) for kind in ("key", "value")]
        heads = f"{name}.heads"
        graph.node_to(
            "GroupQueryAttention", [packed, "", "", *past, *places], [heads, *present],
            domain=MICROSOFT, num_heads=text.heads, kv_num_heads=text.kv_heads, do_rotary=1,
            rotary_interleaved=0,
        )  # fmt: skip
        return heads

    def _product(self, name: str, x: str) -> str:
        return self.linear(self.graph, x, name, self.weights.matrix(f"{name}.weight"))

    def _skip_norm(self, x: str, skip: str, norm: str) -> tuple[str, str]:
        """``x + skip``, and its root-mean-square norm."""
        normed, _, _, total = self.graph.node(
            "SkipSimplifiedLayerNormalization", x, skip, self._norm(norm), domain=MICROSOFT,
            outputs=4, epsilon=self.config.rms_norm_eps,
        )  # fmt: skip
        return total, normed

    def _norm(self, name: str) -> str:
        return self.graph.weight(f"{name}.weight", self.weights[f"{name}.weight"])
