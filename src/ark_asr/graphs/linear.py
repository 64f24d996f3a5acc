"""Linear layers in the precisions a package can have."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ark_asr.errors import OptionError
from ark_asr.graphs.builder import GraphBuilder
from ark_asr.types import FloatArray

_LEVELS = 127  # symmetric: -127 to 127
_MIDDLE = 128  # the uint8 that stands for zero
_ROWS_AT_ONCE = 4096


class Linear(Protocol):
    """Adds ``x @ weight.T`` to a graph, in one precision."""

    def __call__(self, graph: GraphBuilder, x: str, name: str, weight: FloatArray) -> str:
        """Add the product.

        Args:
            graph: Where to.
            x: Value ``[..., in]``.
            name: Name of the weight.
            weight: ``[out, in]``.

        Returns:
            Value ``[..., out]``.
        """
        ...


class Fp32Linear:
    """Weights and products in float32."""

    def __call__(self, graph: GraphBuilder, x: str, name: str, weight: FloatArray) -> str:
        """Add the product."""
        return graph.op("MatMul", x, graph.weight(name, weight.T))


class Int8Linear:
    """Weights int8, symmetric per output channel; activations int8, per row, found at run time.

    The scale of an activation row (one frame, one token) is its own largest magnitude, so neither a
    neighbour in the batch nor one outlying frame of the same clip changes it. ONNX Runtime's
    ``DynamicQuantizeMatMul`` has one scale for the whole tensor instead.

    Activations are stored as uint8 with zero point 128 and weights as int8, the pairing that has a
    fast kernel everywhere (VNNI, AMX, Arm dot product). On x86 without VNNI that kernel would
    saturate; the engine asks the runtime for the exact one there.

    Args:
        many_rows: Quantise in fewer passes over the activations, with more nodes: pays off when
            there are hundreds of rows, as in the encoder, and costs a little for one.
    """

    def __init__(self, *, many_rows: bool = False) -> None:
        self._many_rows = many_rows
        self._known: dict[str, tuple[str, str]] = {}

    def __call__(self, graph: GraphBuilder, x: str, name: str, weight: FloatArray) -> str:
        """Add the product."""
        values, scales = quantize_rows(weight)
        quantized, row_scale = self._quantized(graph, x)
        one = graph.constant(1.0, np.float32)
        product = graph.fused(
            "MatMulIntegerToFloat", quantized, graph.weight(f"{name}.int8", values.T), one,
            graph.weight(f"{name}.scale", scales), graph.constant(_MIDDLE, np.uint8),
        )  # fmt: skip
        return graph.op("Mul", product, row_scale)

    def _quantized(self, graph: GraphBuilder, x: str) -> tuple[str, str]:
        """``x`` as uint8 and its scale per row; layers that share an input share this."""
        if x not in self._known:
            if self._many_rows:
                ends = [
                    graph.op(f"Reduce{end}", x, axes=[-1], keepdims=1) for end in ("Max", "Min")
                ]
                largest = [ends[0], graph.op("Neg", ends[1])]
            else:
                largest = [graph.op("ReduceMax", graph.op("Abs", x), axes=[-1], keepdims=1)]
            # A row of zeros (padding) must not divide by zero.
            limit = graph.op("Max", *largest, graph.constant(1e-20, np.float32))
            scale = graph.op("Mul", limit, graph.constant(1 / _LEVELS, np.float32))
            quantize = self._quantize_by_row if self._many_rows else self._divide_and_quantize
            self._known[x] = quantize(graph, x, scale), scale
        return self._known[x]

    @staticmethod
    def _divide_and_quantize(graph: GraphBuilder, x: str, scale: str) -> str:
        one, middle = graph.constant(1.0, np.float32), graph.constant(_MIDDLE, np.uint8)
        return graph.op("QuantizeLinear", graph.op("Div", x, scale), one, middle)

    @staticmethod
    def _quantize_by_row(graph: GraphBuilder, x: str, scale: str) -> str:
        # QuantizeLinear takes one scale per row for two dimensions only, and no scalar beside it.
        scales = graph.op("Reshape", scale, graph.ints(-1))
        count = graph.op("Shape", scales)
        middle = graph.op("Expand", graph.constant(_MIDDLE, np.uint8), count)
        flat = graph.op("Reshape", x, graph.op("Concat", count, graph.ints(-1), axis=0))
        return graph.op(
            "Reshape",
            graph.op("QuantizeLinear", flat, scales, middle, axis=0),
            graph.op("Shape", x),
        )


def quantize_rows(weight: FloatArray) -> tuple[NDArray[np.int8], FloatArray]:
    """Symmetric int8 per row: values ``[rows, columns]`` and scales ``[rows]``."""
    scales = np.maximum(weight.max(axis=1), -weight.min(axis=1)) / np.float32(_LEVELS)
    scales[scales == 0] = 1.0
    values = np.empty(weight.shape, np.int8)
    for first in range(
        0, len(weight), _ROWS_AT_ONCE
    ):  # a whole head would need its size twice more
        rows = slice(first, first + _ROWS_AT_ONCE)
        values[rows] = np.rint(weight[rows] / scales[rows, None])
    return values, scales


def linear_for(precision: str, *, many_rows: bool = False) -> Linear:
    """The layer of a precision, new for each graph; see `Int8Linear` for ``many_rows``.

    Raises:
        OptionError: There is no such precision.
    """
    if precision == "fp32":
        return Fp32Linear()
    if precision == "int8":
        return Int8Linear(many_rows=many_rows)
    raise OptionError(f"precision {precision!r} is not known; fp32 and int8 are")
