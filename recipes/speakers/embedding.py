"""CAM++ of 3D-Speaker, which makes a vector of a voice, as the ONNX graph sherpa-onnx reads.

From the weights alone. H. Wang and others, "CAM++: A Fast and Efficient Network for Speaker
Verification Using Context-Aware Masking", Interspeech 2023: a small convolution over the spectrum,
blocks of densely joined time-delay layers, each of which is masked by what its surroundings and the
whole recording sound like, and mean and deviation over time.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ark_asr.graphs.builder import FLOAT, GraphBuilder
from ark_asr.types import FloatArray

Weights = Mapping[str, FloatArray]

# What the weights do not say: the design of the network.
_DILATIONS = (1, 2, 2)  # of its three blocks
_SURROUNDINGS = 100  # frames
_NORM = 1e-5
_BANDS = 80  # of the log-mel spectrum


class CamPlusPlus:
    """The graph in the making.

    Args:
        weights: The network's parameters by their names in 3D-Speaker.
    """

    def __init__(self, weights: Weights) -> None:
        self._weights = weights
        self._build = GraphBuilder("embedding")
        self._frames = self._filled = ""

    def graph(self) -> tuple[GraphBuilder, dict[str, str]]:
        """``x [N, frames, 80]`` to ``y [N, dim]``, and what sherpa-onnx must know of it."""
        build = self._build
        value = build.op("Transpose", build.input("x", FLOAT, ["N", "T", _BANDS]), perm=[0, 2, 1])
        value = self._head(build.op("Unsqueeze", value, build.ints(1)))
        value = self._conv(value, "xvector.tdnn.linear", strides=[2], pads=[2, 2])
        value = self._norm(value, "xvector.tdnn.nonlinear.batchnorm")
        self._measure(value)
        for number, dilation in enumerate(_DILATIONS, 1):
            prefix, layer = f"xvector.block{number}.tdnnd", 1
            while f"{prefix}{layer}.linear1.weight" in self._weights:
                new = self._layer(value, f"{prefix}{layer}.", dilation)
                value, layer = build.op("Concat", value, new, axis=1), layer + 1
            value = self._norm(value, f"xvector.transit{number}.nonlinear.batchnorm")
            value = self._conv(value, f"xvector.transit{number}.linear")
        value = self._norm(value, "xvector.out_nonlinear.batchnorm")
        value = self._conv(self._statistics(value), "xvector.dense.linear")
        value = self._norm(value, "xvector.dense.nonlinear.batchnorm", relu=False)
        build.node_to("Squeeze", [value, build.ints(2)], ["y"])
        dim = len(self._weights["xvector.dense.linear.weight"])
        build.output("y", FLOAT, ["N", dim])
        told = {
            "framework": "3d-speaker", "language": "Chinese and English", "sample_rate": 16_000,
            "output_dim": dim, "normalize_samples": 1, "feature_normalize_type": "global-mean",
        }  # fmt: skip
        return build, {key: str(value) for key, value in told.items()}

    def _head(self, value: str) -> str:
        """Two groups of two residual blocks over ``[N, channels, bands, frames]``; bands shrink."""
        value = self._norm(self._conv(value, "head.conv1", pads=[1] * 4), "head.bn1")
        for group in ("head.layer1", "head.layer2"):
            for number in (0, 1):
                value = self._residual(value, f"{group}.{number}.", 1 if number else 2)
        value = self._conv(value, "head.conv2", pads=[1] * 4, strides=[2, 1])
        value = self._norm(value, "head.bn2")
        channels = self._weights["head.conv2.weight"].shape[0] * _BANDS // 8
        return self._build.op("Reshape", value, self._build.ints(0, channels, -1))

    def _residual(self, value: str, prefix: str, stride: int) -> str:
        new = self._conv(value, prefix + "conv1", pads=[1] * 4, strides=[stride, 1])
        new = self._conv(self._norm(new, prefix + "bn1"), prefix + "conv2", pads=[1] * 4)
        new = self._norm(new, prefix + "bn2", relu=False)
        if f"{prefix}shortcut.0.weight" in self._weights:
            value = self._conv(value, prefix + "shortcut.0", strides=[stride, 1])
            value = self._norm(value, prefix + "shortcut.1", relu=False)
        return self._build.op("Relu", self._build.op("Add", new, value))

    def _layer(self, value: str, prefix: str, dilation: int) -> str:
        build = self._build
        value = self._conv(self._norm(value, prefix + "nonlinear1.batchnorm"), prefix + "linear1")
        value = self._norm(value, prefix + "nonlinear2.batchnorm")
        prefix += "cam_layer."
        local = self._conv(
            value, prefix + "linear_local", pads=[dilation] * 2, dilations=[dilation]
        )
        whole = build.op("ReduceMean", value, axes=[2], keepdims=1)
        context = build.op("Add", whole, self._around(value))
        mask = build.op("Relu", self._conv(context, prefix + "linear1"))
        mask = build.op("Sigmoid", self._conv(mask, prefix + "linear2"))
        return build.op("Mul", local, mask)

    def _measure(self, value: str) -> None:
        """Values that all layers share: how many frames there are, and how full each stretch is."""
        build = self._build
        self._frames = build.op("Slice", build.op("Shape", value), build.ints(2), build.ints(3))
        ones = build.op("Expand", build.constant(1, np.float32), build.op(
            "Concat", build.ints(1, 1), self._frames, axis=0))  # fmt: skip
        self._filled = self._stretches(ones)

    def _around(self, value: str) -> str:
        """The mean of each stretch of frames, at every frame of it."""
        build = self._build
        means = build.op("Div", self._stretches(value), self._filled)
        each = build.op("Unsqueeze", means, build.ints(3))
        each = build.op("Expand", each, build.ints(1, 1, 1, _SURROUNDINGS))
        frames = build.op("Reshape", each, build.ints(0, 0, -1))
        return build.op("Slice", frames, build.ints(0), self._frames, build.ints(2))

    def _stretches(self, value: str) -> str:
        """Sums of stretches, of which the last may be short, up to one factor.

        What is missing in the last one are zeros: whether pooling counts them differs between
        runtimes if it is left to them.
        """
        build = self._build
        padded = build.op("Pad", value, build.ints(0, 0, 0, 0, 0, _SURROUNDINGS - 1))
        size = [_SURROUNDINGS]
        return build.op("AveragePool", padded, kernel_shape=size, strides=size)

    def _statistics(self, value: str) -> str:
        """Mean and deviation over time: ``[N, channels, frames]`` to ``[N, 2 channels, 1]``."""
        build = self._build
        mean = build.op("ReduceMean", value, axes=[2], keepdims=1)
        apart = build.op("Sub", value, mean)
        total = build.op("ReduceSum", build.op("Mul", apart, apart), build.ints(2), keepdims=1)
        # One frame deviates by nothing.
        others = build.op("Max", build.op("Sub", self._frames, build.ints(1)), build.ints(1))
        variance = build.op("Div", total, build.op("Cast", others, to=FLOAT))
        return build.op("Concat", mean, build.op("Sqrt", variance), axis=1)

    def _conv(self, value: str, name: str, **attributes: list[int]) -> str:
        parts = [
            self._build.weight(f"{name}.{part}", self._weights[f"{name}.{part}"])
            for part in ("weight", "bias")
            if f"{name}.{part}" in self._weights
        ]
        return self._build.op("Conv", value, *parts, **attributes)

    def _norm(self, value: str, name: str, *, relu: bool = True) -> str:
        mean, variance = (self._weights[f"{name}.running_{part}"] for part in ("mean", "var"))
        # The last one has neither scale nor shift.
        scale = self._weights.get(f"{name}.weight", 1 + 0 * mean)
        shift = self._weights.get(f"{name}.bias", 0 * mean)
        arrays = {"scale": scale, "shift": shift, "mean": mean, "variance": variance}
        parts = [self._build.weight(f"{name}.{part}", array) for part, array in arrays.items()]
        value = self._build.op("BatchNormalization", value, *parts, epsilon=_NORM)
        return self._build.op("Relu", value) if relu else value
