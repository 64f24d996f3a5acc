"""pyannote's segmentation network (PyanNet with a powerset) as the ONNX graph sherpa-onnx reads.

From the weights alone, without pyannote or PyTorch's exporter: filters that are differences of two
sincs (M. Ravanelli and Y. Bengio, "Speaker Recognition from Raw Waveform with SincNet", SLT 2018),
convolutions, LSTMs in both directions, and a softmax over who speaks (A. Plaquet and H. Bredin,
"Powerset multi-class cross entropy loss for neural speaker diarization", Interspeech 2023).
"""

from __future__ import annotations

from collections.abc import Mapping
from math import comb
from typing import Any

import numpy as np

from ark_asr.errors import ModelFormatError
from ark_asr.graphs.builder import FLOAT, GraphBuilder
from ark_asr.types import FloatArray

Weights = Mapping[str, FloatArray]

# What the weights do not say: the design of the network.
_LOWEST_HZ = _NARROWEST_HZ = 50
_POOL = 3
_SLOPE = 0.01  # of the leaky ReLU
_NORM = 1e-5
_GATES = (0, 3, 1, 2)  # PyTorch: input, forget, cell, output; ONNX: input, output, forget, cell


def segmentation(
    weights: Weights, numbers: Mapping[str, Any]
) -> tuple[GraphBuilder, dict[str, str]]:
    """``x [N, 1, T]`` to ``y [N, frames, classes]``, and what sherpa-onnx must know of it.

    Args:
        weights: The network's parameters by their names in pyannote.
        numbers: ``sample_rate``, ``stride``, ``window`` (seconds), ``speakers`` (in a window) and
            ``at_once`` (most of them in one frame).

    Raises:
        ModelFormatError: The classes are not those of such a powerset.
    """
    classes = len(weights["classifier.bias"])
    if classes != sum(comb(numbers["speakers"], k) for k in range(numbers["at_once"] + 1)):
        raise ModelFormatError(f"{classes} classes are no powerset of {numbers['speakers']} voices")
    build = GraphBuilder("segmentation")
    value = build.input("x", FLOAT, ["N", 1, "T"])
    value = _normalised(build, value, weights, "sincnet.wav_norm1d")
    filters = sinc_filters(weights, "sincnet.conv1d.0.filterbank.", numbers["sample_rate"])
    heard, step = 1, 1  # samples that a frame hears, and between two frames
    for layer in range(3):
        kernel = filters if layer == 0 else weights[f"sincnet.conv1d.{layer}.weight"]
        parts = [value, build.weight(f"kernel {layer}", kernel)]
        if layer:
            parts.append(build.weight(f"bias {layer}", weights[f"sincnet.conv1d.{layer}.bias"]))
        stride = 1 if layer else numbers["stride"]
        value = build.op("Conv", *parts, strides=[stride])
        if layer == 0:
            value = build.op("Abs", value)
        value = build.op("MaxPool", value, kernel_shape=[_POOL], strides=[_POOL])
        value = _normalised(build, value, weights, f"sincnet.norm1d.{layer}")
        value = build.op("LeakyRelu", value, alpha=_SLOPE)
        for size, shift in ((kernel.shape[-1], stride), (_POOL, _POOL)):
            heard, step = heard + (size - 1) * step, step * shift
    value = build.op("Transpose", value, perm=[2, 0, 1])
    for layer in range(sum(name.startswith("lstm.weight_ih") for name in weights) // 2):
        value = _lstm(build, value, weights, layer)
    for layer in range(sum(name.startswith("linear.") for name in weights) // 2):
        value = build.op(
            "LeakyRelu", _linear(build, value, weights, f"linear.{layer}"), alpha=_SLOPE
        )
    value = build.op("LogSoftmax", _linear(build, value, weights, "classifier"), axis=-1)
    build.node_to("Transpose", [value], ["y"], perm=[1, 0, 2])
    build.output("y", FLOAT, ["N", "F", classes])
    told = {
        "model_type": "pyannote-segmentation-3.0", "version": 1,
        "sample_rate": numbers["sample_rate"],
        "window_size": round(numbers["window"] * numbers["sample_rate"]),
        "receptive_field_size": heard, "receptive_field_shift": step,
        "num_speakers": numbers["speakers"], "powerset_max_classes": numbers["at_once"],
        "num_classes": classes,
    }  # fmt: skip
    return build, {key: str(value) for key, value in told.items()}


def sinc_filters(weights: Weights, prefix: str, rate: int) -> FloatArray:
    """Band-passes, even ones before odd ones: float32 ``[filters, 1, length]``."""
    low = _LOWEST_HZ + np.abs(weights[prefix + "low_hz_"].astype(np.float64))
    high = np.clip(low + _NARROWEST_HZ + np.abs(weights[prefix + "band_hz_"]), None, rate / 2)
    times = weights[prefix + "n_"].astype(np.float64)  # the left half, in radians per Hz
    shape = weights[prefix + "window_"] / (times / 2)
    even = (np.sin(high * times) - np.sin(low * times)) * shape
    odd = (np.cos(low * times) - np.cos(high * times)) * shape
    width = 2 * (high - low)
    evens = np.concatenate([even, width, even[:, ::-1]], axis=1)
    odds = np.concatenate([odd, 0 * width, -odd[:, ::-1]], axis=1)
    return (np.concatenate([evens / width, odds / width])[:, None]).astype(np.float32)


def _normalised(build: GraphBuilder, value: str, weights: Weights, name: str) -> str:
    parts = [
        build.weight(f"{name}.{part}", weights[f"{name}.{part}"]) for part in ("weight", "bias")
    ]
    return build.op("InstanceNormalization", value, *parts, epsilon=_NORM)


def _linear(build: GraphBuilder, value: str, weights: Weights, name: str) -> str:
    matrix = build.weight(f"{name}.weight", weights[f"{name}.weight"].T)
    bias = build.weight(f"{name}.bias", weights[f"{name}.bias"])
    return build.op("Add", build.op("MatMul", value, matrix), bias)


def _lstm(build: GraphBuilder, value: str, weights: Weights, layer: int) -> str:
    """``[frames, N, in]`` to ``[frames, N, 2 hidden]``."""

    def both(part: str) -> FloatArray:
        ways = (weights[f"lstm.{part}_l{layer}{way}"] for way in ("", "_reverse"))
        gates = (way.reshape(len(_GATES), -1, *way.shape[1:])[list(_GATES)] for way in ways)
        return np.stack([way.reshape(-1, *way.shape[2:]) for way in gates])

    hidden = weights[f"lstm.weight_hh_l{layer}"].shape[1]
    parts = [
        build.weight(f"lstm {layer} {part}", array)
        for part, array in (
            ("input", both("weight_ih")),
            ("hidden", both("weight_hh")),
            ("bias", np.concatenate([both("bias_ih"), both("bias_hh")], axis=1)),
        )
    ]
    ways = build.op("LSTM", value, *parts, hidden_size=hidden, direction="bidirectional")
    together = build.op("Transpose", ways, perm=[0, 2, 1, 3])
    return build.op("Reshape", together, build.ints(0, 0, -1))
