"""The encoder graph: log-mels to audio embeddings, adapter included."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from ark_asr.graphs.builder import FLOAT, INT32, INT64, GraphBuilder, rotary_tables
from ark_asr.graphs.linear import Linear
from ark_asr.graphs.sources import WeightSource
from ark_asr.models.config import ENCODER_ROPE_THETA, ModelConfig
from ark_asr.models.weights import POSITIONS

_TOWER = "audio_encoder.whisper"
_ADAPTER = "audio_encoder.adapting"
_HIDDEN_SCORE = float(np.finfo(np.float32).min)
_GELU_LEAST = -0.17  # of x Phi(x): -0.16997, at x = -0.7518


@dataclass
class EncoderGraph:
    """Builds the encoder and adapter of one checkpoint.

    Inputs of the graph are ``mels`` float32 ``[batch, bins, mel_frames]``, padded at the right,
    with at least ``2 * merge_factor - 1`` frames, and ``frames`` int64 ``[batch]``, the frames of
    each clip. Output is ``audio`` float32 ``[batch, slots, hidden]``; what follows a clip's own
    slots is noise. A clip's result does not depend on its neighbours: what lies beyond its frames
    is zeroed before each convolution and hidden from attention.

    Attributes:
        graph: Where nodes and weights go.
        config: The checkpoint's numbers.
        weights: Its tensors.
        linear: Precision of the linear layers.
        done: Called after each layer and at the end.
    """

    graph: GraphBuilder
    config: ModelConfig
    weights: WeightSource
    linear: Linear
    done: Callable[[], None]
    # Set on the way: cosines and sines, the shape of the clips' states, the mask of heard frames,
    # and whether it is all ones.
    _tables: tuple[str, ...] = field(default=(), init=False)
    _clips: str = field(default="", init=False)
    _heard: str = field(default="", init=False)
    _all_heard: str = field(default="", init=False)

    def build(self) -> None:
        """Add everything, first node to last."""
        graph, audio = self.graph, self.config.encoder
        x = self._conv_stem()
        if self.config.use_rope:
            length = self.config.encoder_positions
            tables = rotary_tables(length, audio.rotary_dim, ENCODER_ROPE_THETA)
            self._tables = (graph.weight("cos", tables[0]), graph.weight("sin", tables[1]))
        else:
            time = graph.op("Slice", graph.op("Shape", x), graph.ints(1), graph.ints(2))
            positions = graph.op("Slice", self._stored(POSITIONS), graph.ints(0), time)
            x = graph.op("Add", x, positions)
        self._clips = graph.op("Shape", x)
        # Only attention has to know which state belongs to which clip.
        x = self._rows(x)
        layers = [f"{_TOWER}.layers.{i}" for i in range(audio.layers)]
        # The tower has no final norm of its own: the adapter's takes its place.
        norms = [*(f"{layer}.self_attn_layer_norm" for layer in layers), "audio_encoder.layer_norm"]
        normed = self._layer_norm(x, norms[0])
        for layer, next_norm in zip(layers, norms[1:], strict=True):
            out = self._attention(layer, normed)
            x, normed = self._skip_norm(out, x, f"{layer}.final_layer_norm")
            wide = self._gelu(*self._linear(f"{layer}.fc1", normed))
            x, normed = self._skip_norm(self._linear(f"{layer}.fc2", wide), x, next_norm)
            self.done()
        self._adapter(normed)
        self.done()

    def _conv_stem(self) -> str:
        """States ``[batch, time, size]`` of the clips, two mel frames to one of time."""
        graph, size = self.graph, self.config.encoder.hidden_size
        bins = self.config.encoder.mel_bins
        mels = graph.input("mels", FLOAT, ["batch", bins, "mel_frames"])
        frames = graph.input("frames", INT64, ["batch"])
        length = graph.op("Slice", graph.op("Shape", mels), graph.ints(2), graph.ints(3))
        one, half = graph.constant(1, np.int64), graph.constant(2, np.int64)
        time, times = (
            graph.op("Div", graph.op("Add", value, one), half) for value in (length, frames)
        )
        self._heard = graph.op("Cast", self._before(time, times), to=INT32)
        shortest = graph.op("ReduceMin", frames, keepdims=1)
        self._all_heard = graph.op("Squeeze", graph.op("Equal", shortest, length))

        # The second convolution takes frames two by two.
        even = graph.op("Mul", time, half)
        none = graph.ints(0, 0, 0, 0, 0)
        lacking = graph.op("Concat", none, graph.op("Sub", even, length), axis=0)
        mask = graph.op("Cast", self._before(even, frames), to=FLOAT)
        x = graph.told(graph.op("Pad", mels, lacking), FLOAT, ["batch", bins, "even_frames"])
        x = graph.op("Mul", x, graph.op("Unsqueeze", mask, graph.ints(1)))
        kernel = [self._stored(f"{_TOWER}.conv1.{part}") for part in ("weight", "bias")]
        x = graph.op("Conv", x, *kernel, pads=[1, 1])
        x = graph.op("Transpose", graph.fused("Gelu", x), perm=[0, 2, 1])
        x = graph.op("Mul", x, graph.op("Unsqueeze", mask, graph.ints(2)))
        return self._halved(graph.told(x, FLOAT, ["batch", "even_frames", size]))

    def _halved(self, x: str) -> str:
        """The second convolution, over three frames in steps of two, as a product over pairs.

        Of a pair's frames its own state takes both and the next state the odd one: a linear layer
        of twice the size, whose second half is added one state later. As all linear layers it is
        several times faster in int8.
        """
        graph, size = self.graph, self.config.encoder.hidden_size
        name = f"{_TOWER}.conv2"
        kernel = self.weights[f"{name}.weight"]
        before, middle, after = (kernel[:, :, tap] for tap in range(3))
        weight = np.block([[middle, after], [np.zeros_like(before), before]])
        pairs = graph.op("Reshape", x, graph.ints(-1, 2 * size))
        pairs = graph.told(pairs, FLOAT, ["rows", 2 * size])
        both = self.linear(graph, pairs, name, weight)
        batch = graph.op("Slice", graph.op("Shape", x), graph.ints(0), graph.ints(1))
        by_clip = graph.op("Concat", batch, graph.ints(-1, 2 * size), axis=0)
        both = graph.told(graph.op("Reshape", both, by_clip), FLOAT, ["batch", "time", 2 * size])
        own, following = graph.node("Split", both, outputs=2, axis=2)
        later = graph.op("Pad", following, graph.ints(0, 1, 0, 0, -1, 0))
        x = graph.op("Add", own, graph.told(later, FLOAT, ["batch", "time", size]))
        x = self._gelu(x, self._stored(f"{name}.bias"))
        return graph.told(x, FLOAT, ["batch", "time", size])

    def _attention(self, layer: str, x: str) -> tuple[str, str]:
        """Attention and its output projection, and the bias that is still to be added."""
        graph, audio = self.graph, self.config.encoder
        query = graph.op("Add", *self._linear(f"{layer}.self_attn.q_proj", x))
        key, value = (self._product(f"{layer}.self_attn.{kind}_proj", x) for kind in "kv")
        query, key, value = (self._by_clip(rows) for rows in (query, key, value))
        if self._tables:
            start = graph.ints(0)
            query, key = (
                graph.fused(
                    "RotaryEmbedding", turned, start, *self._tables, num_heads=audio.heads,
                    rotary_embedding_dim=audio.rotary_dim, interleaved=1,
                )
                for turned in (query, key)
            )  # fmt: skip
        # Without a mask the runtime takes its blocked kernel, which is faster and needs no memory
        # for the scores.
        branches = {}
        for branch, mask in (("then_branch", []), ("else_branch", ["", self._heard])):
            inner = GraphBuilder(f"{layer}.{branch}")
            heads = inner.fused(
                "MultiHeadAttention", query, key, value, *mask, num_heads=audio.heads,
                mask_filter_value=_HIDDEN_SCORE,
            )  # fmt: skip
            inner.output(heads, FLOAT, ["batch", "time", audio.hidden_size])
            branches[branch] = inner.graph()
        heads = self._rows(graph.op("If", self._all_heard, **branches))
        # The weights of attention sum to one, so the bias of the values comes out unchanged: it is
        # added behind the output projection, together with that one's own.
        name = f"{layer}.self_attn.out_proj"
        through = self.weights[f"{name}.weight"] @ self.weights[f"{layer}.self_attn.v_proj.bias"]
        bias = graph.weight(f"{name}.bias", self.weights[f"{name}.bias"] + through)
        return self._product(name, heads), bias

    def _adapter(self, x: str) -> None:
        """Join frames in time order and project them to the decoder's size."""
        graph, merge = self.graph, self.config.merge_factor
        # Zeros, not noise, complete a clip that is too short for one slot.
        mask = graph.op("Unsqueeze", graph.op("Cast", self._heard, to=FLOAT), graph.ints(2))
        x = graph.op("Mul", self._by_clip(x), mask)
        time = graph.op("Slice", graph.op("Shape", x), graph.ints(1), graph.ints(2))
        whole = graph.op("Div", time, graph.constant(merge, np.int64))
        whole = graph.op("Mul", whole, graph.constant(merge, np.int64))
        x = graph.op("Slice", x, graph.ints(0), whole, graph.ints(1))
        joined = merge * self.config.encoder.hidden_size
        x = graph.told(graph.op("Reshape", x, graph.ints(-1, joined)), FLOAT, ["slots", joined])
        x = self._gelu(*self._linear(f"{_ADAPTER}.0", x))
        x = graph.op("Add", *self._linear(f"{_ADAPTER}.2", x))
        size = self.config.decoder.hidden_size
        batch = graph.op("Slice", self._clips, graph.ints(0), graph.ints(1))
        shape = graph.op("Concat", batch, graph.ints(-1, size), axis=0)
        graph.node_to("Reshape", [x, shape], ["audio"])
        graph.output("audio", FLOAT, ["batch", "clip_slots", size])

    def _rows(self, x: str) -> str:
        """States of the clips as rows of one matrix ``[rows, size]``."""
        size = self.config.encoder.hidden_size
        x = self.graph.op("Reshape", x, self.graph.ints(-1, size))
        return self.graph.told(x, FLOAT, ["rows", size])

    def _by_clip(self, rows: str) -> str:
        """Rows as ``[batch, time, size]`` again."""
        x = self.graph.op("Reshape", rows, self._clips)
        return self.graph.told(x, FLOAT, ["batch", "time", self.config.encoder.hidden_size])

    def _linear(self, name: str, x: str) -> tuple[str, str]:
        """``x @ weight.T`` and the bias, which the node behind it adds."""
        return self._product(name, x), self._stored(f"{name}.bias")

    def _product(self, name: str, x: str) -> str:
        return self.linear(self.graph, x, name, self.weights.matrix(f"{name}.weight"))

    def _gelu(self, x: str, bias: str) -> str:
        """``gelu(x + bias)``."""
        name = self.graph.fused("BiasGelu", x, bias)
        self.graph.least[name] = _GELU_LEAST
        return name

    def _skip_norm(self, x: tuple[str, str], skip: str, norm: str) -> tuple[str, str]:
        """Sum of a linear layer, its bias and ``skip``; and the layer norm of that sum."""
        # Not the runtime's fused SkipLayerNormalization, which takes four times as long.
        total = self.graph.op("Add", self.graph.op("Add", *x), skip)
        return total, self._layer_norm(total, norm)

    def _layer_norm(self, x: str, name: str) -> str:
        norm = [self._stored(f"{name}.{part}") for part in ("weight", "bias")]
        eps = self.config.encoder.layer_norm_eps
        return self.graph.op("LayerNormalization", x, *norm, epsilon=eps)

    def _stored(self, name: str) -> str:
        return self.graph.weight(name, self.weights[name])

    def _before(self, size: str, lengths: str) -> str:
        """Bool ``[batch, size]``, true before each row's length."""
        graph = self.graph
        zero, one = graph.constant(0, np.int64), graph.constant(1, np.int64)
        places = graph.op("Range", zero, graph.op("Squeeze", size), one)
        return graph.op("Less", places, graph.op("Unsqueeze", lengths, graph.ints(1)))
