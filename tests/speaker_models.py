"""Two tiny ONNX models that fit sherpa-onnx and are no real diarisation models.

The segmentation calls loud sound speech of one voice. The embedding is mean and deviation of the
first cosine coefficients of the log-mel spectrum, which some pairs of recordings differ in. They
exist so that the whole road runs on real speech without a download.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

RATE = 16_000
WINDOW_SECONDS = 2.0
_SIZE, _SHIFT = 991, 270  # samples that a frame hears, and between frames; as in the real model
_BANDS, _COEFFICIENTS = 80, 20


def write_models(folder: Path, *, quiet: bool = False) -> Path:
    """``segmentation.onnx`` and ``embedding.onnx`` in a folder.

    Args:
        folder: Is made.
        quiet: What is quiet is a second voice.
    """
    folder.mkdir(parents=True, exist_ok=True)
    segmentation(quiet=quiet).save(folder / "segmentation.onnx")
    embedding().save(folder / "embedding.onnx")
    return folder


class Graph:
    """A graph in the making."""

    def __init__(self, shape, result, constants, metadata):
        self.nodes = []
        self._given = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
        self._result = helper.make_tensor_value_info("y", TensorProto.FLOAT, result)
        self._constants = [
            numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()
        ]
        self._metadata = {key: str(value) for key, value in metadata.items()}

    def add(self, operator, given, result, **attributes):
        self.nodes.append(helper.make_node(operator, given.split(), [result], **attributes))

    def save(self, path):
        graph = helper.make_graph(
            self.nodes, "graph", [self._given], [self._result], self._constants
        )
        opset = [helper.make_opsetid("", 17)]
        model = helper.make_model(graph, opset_imports=opset, ir_version=8)
        helper.set_model_props(model, self._metadata)
        onnx.checker.check_model(model)
        onnx.save(model, path)


def segmentation(*, quiet: bool = False) -> Graph:
    """``[N, 1, T]`` to ``[N, frames, 7]``: nobody, one of three voices, or two of them."""
    # Of the logarithm of the power: the second voice is there between -15 and -8.
    slope, bias = (0.5, -4.0) if quiet else (0.0, -1e3)
    graph = Graph(
        ["N", 1, "T"],
        ["N", "F", 7],
        {
            "tiny": np.float32(1e-10),
            "first": np.array([0, 1, slope, 0, 0, 0, 0], np.float32),
            "others": np.array([np.log(1e-5), 0, bias, *[-1e3] * 4], np.float32),
        },
        {
            "model_type": "pyannote-segmentation-3.0",
            "version": 1,
            "sample_rate": RATE,
            "window_size": round(WINDOW_SECONDS * RATE),
            "receptive_field_size": _SIZE,
            "receptive_field_shift": _SHIFT,
            "num_speakers": 3,
            "powerset_max_classes": 2,
            "num_classes": 7,
        },
    )
    graph.add("Mul", "x x", "squares")
    graph.add("AveragePool", "squares", "power", kernel_shape=[_SIZE], strides=[_SHIFT])
    graph.add("Add", "power tiny", "positive")
    graph.add("Log", "positive", "loudness")
    graph.add("Transpose", "loudness", "frames", perm=[0, 2, 1])
    graph.add("Mul", "frames first", "scaled")
    graph.add("Add", "scaled others", "y")
    return graph


def embedding() -> Graph:
    """Log-mels ``[N, frames, 80]`` to ``[N, 40]``."""
    bands = np.arange(_BANDS) + 0.5
    cosines = [np.cos(np.pi * k * bands / _BANDS) for k in range(1, _COEFFICIENTS + 1)]
    graph = Graph(
        ["N", "T", _BANDS],
        ["N", 2 * _COEFFICIENTS],
        {"cosines": np.array(cosines, np.float32).T, "time": np.array([1])},
        {
            "framework": "3d-speaker",
            "language": "any",
            "sample_rate": RATE,
            "output_dim": 2 * _COEFFICIENTS,
            "normalize_samples": 1,
        },
    )
    graph.add("MatMul", "x cosines", "shape")
    graph.add("ReduceMean", "shape", "mean", axes=[1], keepdims=1)
    graph.add("Sub", "shape mean", "apart")
    graph.add("Mul", "apart apart", "squares")
    graph.add("ReduceMean", "squares", "variance", axes=[1], keepdims=0)
    graph.add("Sqrt", "variance", "deviation")
    graph.add("Squeeze", "mean time", "centre")
    graph.add("Concat", "centre deviation", "y", axis=1)
    return graph
