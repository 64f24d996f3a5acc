"""The encoder graph: log-mels to audio embeddings, adapter included."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ark_asr.graphs.builder import FLOAT, INT64, GraphBuilder
from ark_asr.graphs.linear import Linear
from ark_asr.models.config import ENCODER_ROPE_THETA, EncoderConfig, ModelConfig
from ark_asr.models.weights import POSITIONS, Weights
from ark_asr.types import FloatArray

_TOWER = "audio_encoder.whisper"
_HIDDEN_SCORE = float(np.finfo(np.float32).min)


def build_encoder(
    graph: GraphBuilder, config: ModelConfig, weights: Weights, linear: Linear,
    done: Callable[[], None],
) -> None:  # fmt: skip
    """Add the whole encoder to ``graph``.

    Inputs are ``mels`` float32 ``[batch, bins, frames]``, padded at the right, with at least
    ``2 * merge_factor - 1`` frames, and ``frames`` int64 ``[batch]``, the frames of each clip.
    Output is ``audio`` float32 ``[batch, slots, hidden]``; what follows a clip's own slots is noise.
    A clip's result does not depend on its neighbours: what lies beyond its frames is zeroed before
    each convolution and hidden from attention.

    ``done`` is called after each layer.
    """
    audio = config.encoder
    mels = graph.input("mels", FLOAT, ["batch", audio.mel_bins, "mel_frames"])
    frames = graph.input("frames", INT64, ["batch"])
    x, heard, all_heard = _conv_stem(graph, audio, weights, mels, frames)
    if config.use_rope:
        tables = tuple(
            graph.weight(f"encoder.{name}", table)
            for name, table in zip(("cos", "sin"), _rotary(audio), strict=True)
        )
    else:
        tables = None
        length = graph.op("Slice", graph.op("Shape", x), *_ints(graph, [1], [2]))
        table = graph.weight("positions", weights[POSITIONS])
        x = graph.op("Add", x, graph.op("Slice", table, *_ints(graph, [0]), length))
    layers = [f"{_TOWER}.layers.{i}" for i in range(audio.layers)]
    norms = [*(f"{layer}.self_attn_layer_norm" for layer in layers), "audio_encoder.layer_norm"]
    normed = graph.op(
        "LayerNormalization", x, *_norm(graph, weights, norms[0]), epsilon=audio.layer_norm_eps
    )
    for layer, next_norm in zip(layers, norms[1:], strict=True):
        heads = _attention(graph, audio, weights, linear, layer, normed, tables, heard, all_heard)
        # The value bias passes through attention unchanged, for the weights of attention sum to
        # one: it is added behind the output projection, together with that one's own bias.
        name = f"{layer}.self_attn.out_proj"
        out = weights[f"{name}.weight"]
        bias = weights[f"{name}.bias"] + out @ weights[f"{layer}.self_attn.v_proj.bias"]
        x, normed = _skip_norm(
            graph, audio, linear(graph, heads, name, out), x,
            _norm(graph, weights, f"{layer}.final_layer_norm"), graph.weight(f"{name}.bias", bias),
        )  # fmt: skip
        wide = linear(graph, normed, f"{layer}.fc1", weights[f"{layer}.fc1.weight"])
        wide = graph.fused("BiasGelu", wide, _stored(graph, weights, f"{layer}.fc1.bias"))
        x, normed = _skip_norm(
            graph, audio, linear(graph, wide, f"{layer}.fc2", weights[f"{layer}.fc2.weight"]), x,
            _norm(graph, weights, next_norm), _stored(graph, weights, f"{layer}.fc2.bias"),
        )  # fmt: skip
        done()
    _adapter(graph, config, weights, linear, normed, heard)
    done()


def _conv_stem(
    graph: GraphBuilder, audio: EncoderConfig, weights: Weights, mels: str, frames: str
) -> tuple[str, str, str]:
    """Value ``[batch, time, size]``, int32 mask ``[batch, time]`` and whether it is all ones."""
    length = graph.op("Slice", graph.op("Shape", mels), *_ints(graph, [2], [3]))
    mask = graph.op("Cast", _before(graph, length, frames), to=FLOAT)
    mask = graph.op("Unsqueeze", mask, *_ints(graph, [1]))
    x = graph.op("Mul", mels, mask)
    for name, stride in (("conv1", 1), ("conv2", 2)):
        x = graph.op(
            "Conv", x, _stored(graph, weights, f"{_TOWER}.{name}.weight"),
            _stored(graph, weights, f"{_TOWER}.{name}.bias"), pads=[1, 1], strides=[stride],
        )  # fmt: skip
        x = graph.fused("Gelu", x)
        if stride == 1:
            x = graph.op("Mul", x, mask)
    x = graph.op("Transpose", x, perm=[0, 2, 1])
    half, one = graph.constant(2, np.int64), graph.constant(1, np.int64)
    time, times = (
        graph.op("Div", graph.op("Add", value, one), half) for value in (length, frames)
    )
    heard = graph.op("Cast", _before(graph, time, times), to=6)
    least = graph.op("ReduceMin", frames, keepdims=1)
    all_heard = graph.op("Squeeze", graph.op("Equal", least, length))
    return x, heard, all_heard


def _attention(
    graph: GraphBuilder, audio: EncoderConfig, weights: Weights, linear: Linear, layer: str,
    x: str, tables: tuple[str, ...] | None, heard: str, all_heard: str,
) -> str:  # fmt: skip
    projected = []
    for kind in ("q_proj", "k_proj", "v_proj"):
        name = f"{layer}.self_attn.{kind}"
        value = linear(graph, x, name, weights[f"{name}.weight"])
        if kind == "q_proj":
            value = graph.op("Add", value, _stored(graph, weights, f"{name}.bias"))
        if kind != "v_proj" and tables:
            value = graph.fused(
                "RotaryEmbedding", value, graph.constant([0], np.int64), *tables,
                num_heads=audio.heads, rotary_embedding_dim=audio.rotary_dim, interleaved=1,
            )  # fmt: skip
        projected.append(value)
    # Without a mask ONNX Runtime takes its blocked kernel, which is faster and needs no score matrix.
    branches = {}
    for branch, inputs in (("then_branch", projected), ("else_branch", [*projected, "", heard])):
        inner = GraphBuilder(f"{layer}.{branch}")
        heads = inner.fused(
            "MultiHeadAttention", *inputs, num_heads=audio.heads, mask_filter_value=_HIDDEN_SCORE
        )
        inner.output(heads, FLOAT, ["batch", "time", audio.hidden_size])
        branches[branch] = inner.graph()
    return graph.op("If", all_heard, **branches)


def _adapter(
    graph: GraphBuilder, config: ModelConfig, weights: Weights, linear: Linear, x: str, heard: str
) -> None:
    """Zero what is beyond each clip, join frames, project to the decoder's size."""
    merge = config.merge_factor
    mask = graph.op("Unsqueeze", graph.op("Cast", heard, to=FLOAT), *_ints(graph, [2]))
    x = graph.op("Mul", x, mask)
    time = graph.op("Slice", graph.op("Shape", x), *_ints(graph, [1], [2]))
    factor = graph.constant(merge, np.int64)
    whole = graph.op("Mul", graph.op("Div", time, factor), factor)
    x = graph.op("Slice", x, *_ints(graph, [0]), whole, *_ints(graph, [1]))
    joined = graph.constant([0, -1, merge * config.encoder.hidden_size], np.int64)
    x = graph.op("Reshape", x, joined)
    name = "audio_encoder.adapting"
    x = linear(graph, x, f"{name}.0", weights[f"{name}.0.weight"])
    x = graph.fused("BiasGelu", x, _stored(graph, weights, f"{name}.0.bias"))
    x = linear(graph, x, f"{name}.2", weights[f"{name}.2.weight"])
    graph.node_to("Add", [x, _stored(graph, weights, f"{name}.2.bias")], ["audio"])
    graph.output("audio", FLOAT, ["batch", "slots", config.decoder.hidden_size])


def _rotary(audio: EncoderConfig) -> tuple[FloatArray, FloatArray]:
    """Cosines and sines ``[max_positions, rotary_dim / 2]``."""
    return rotary_tables(audio.max_positions, audio.rotary_dim, ENCODER_ROPE_THETA)


def rotary_tables(length: int, dim: int, theta: float) -> tuple[FloatArray, FloatArray]:
    """Cosines and sines of ``position / theta^(2j/dim)``, each float32 ``[length, dim / 2]``."""
    inverse = theta ** (-np.arange(0, dim, 2) / dim)
    angles = np.outer(np.arange(length), inverse)
    return np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)


def _skip_norm(
    graph: GraphBuilder, audio: EncoderConfig, x: str, skip: str, norm: list[str], bias: str
) -> tuple[str, str]:
    """``x + bias + skip``, and its layer norm."""
    normed, _, _, total = graph.node(
        "SkipLayerNormalization", x, skip, *norm, bias, domain="com.microsoft", outputs=4,
        epsilon=audio.layer_norm_eps,
    )  # fmt: skip
    return total, normed


def _before(graph: GraphBuilder, size: str, lengths: str) -> str:
    """Bool ``[batch, size]``, true before each row's length."""
    zero, one = graph.constant(0, np.int64), graph.constant(1, np.int64)
    places = graph.op("Range", zero, graph.op("Squeeze", size), one)
    return graph.op("Less", places, graph.op("Unsqueeze", lengths, *_ints(graph, [1])))


def _norm(graph: GraphBuilder, weights: Weights, name: str) -> list[str]:
    return [_stored(graph, weights, f"{name}.{part}") for part in ("weight", "bias")]


def _stored(graph: GraphBuilder, weights: Weights, name: str) -> str:
    return graph.weight(name, weights[name])


def _ints(graph: GraphBuilder, *values: list[int]) -> list[str]:
    return [graph.constant(value, np.int64) for value in values]
