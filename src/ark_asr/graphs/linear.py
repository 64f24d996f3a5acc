"""Linear layers in the precisions a package can have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ark_asr.errors import OptionError
from ark_asr.graphs.builder import GraphBuilder
from ark_asr.graphs.quantize import Int4Matrix, Int8Matrix, Matrix, floats
from ark_asr.models.package import PRECISIONS

_LEVELS = 127  # symmetric: -127 to 127
_MIDDLE = 128  # the uint8 that stands for zero
_INT4_BLOCK = 32  # inputs that share a scale; see docs/decisions.md
_INT8_PRODUCTS = 4  # MatMulNBits' accuracy level: activations int8 per row and block


class Linear(Protocol):
    """Adds ``x @ weight.T`` to a graph, in one precision."""

    def __call__(self, graph: GraphBuilder, x: str, name: str, weight: Matrix) -> str:
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

    def __call__(self, graph: GraphBuilder, x: str, name: str, weight: Matrix) -> str:
        """Add the product."""
        return graph.op("MatMul", x, graph.weight(name, floats(weight).T))


class Int8Linear:
    """Weights int8 per output channel; activations int8, per row, found at run time.

    A weight that is int8 already stays as it is; any other becomes symmetric. The scale of an
    activation row (one frame, one token) is its own largest magnitude, so neither a neighbour in
    the batch nor one outlying frame of the same clip changes it. ONNX Runtime's
    ``DynamicQuantizeMatMul`` has one scale for the whole tensor instead.

    Activations are stored as uint8 with zero point 128 and weights as int8, the pairing that has a
    fast kernel everywhere (VNNI, AMX, Arm dot product). On x86 without VNNI that kernel would
    saturate; the engine asks the runtime for the exact one there.

    Args:
        many_rows: Quantise in fewer passes over the activations, with more nodes: pays off when
            there are hundreds of rows, as in the encoder, and costs a little for one. ``x`` has
            two dimensions then, ``[rows, in]``.
    """

    def __init__(self, *, many_rows: bool = False) -> None:
        self._many_rows = many_rows
        self._known: dict[str, tuple[str, str]] = {}

    def __call__(self, graph: GraphBuilder, x: str, name: str, weight: Matrix) -> str:
        """Add the product."""
        matrix = weight if isinstance(weight, Int8Matrix) else Int8Matrix.of(weight)
        zeros = [] if matrix.zeros is None else [graph.weight(f"{name}.zero", matrix.zeros)]
        quantized, row_scale = self._quantized(graph, x)
        one = graph.constant(1.0, np.float32)
        product = graph.fused(
            "MatMulIntegerToFloat", quantized, graph.weight(f"{name}.int8", matrix.values.T), one,
            graph.weight(f"{name}.scale", matrix.scales), graph.constant(_MIDDLE, np.uint8), *zeros,
        )  # fmt: skip
        return graph.op("Mul", product, row_scale)

    def _quantized(self, graph: GraphBuilder, x: str) -> tuple[str, str]:
        """``x`` as uint8 and its scale per row; layers that share an input share this."""
        if x not in self._known:
            # A row of zeros (padding) must not divide by zero.
            smallest = 1e-20
            if self._many_rows:
                largest = [graph.op("ReduceMax", x, axes=[-1], keepdims=1)]
                if x in graph.least:  # a pass less
                    smallest = -graph.least[x]
                else:
                    lowest = graph.op("ReduceMin", x, axes=[-1], keepdims=1)
                    largest.append(graph.op("Neg", lowest))
            else:
                largest = [graph.op("ReduceMax", graph.op("Abs", x), axes=[-1], keepdims=1)]
            limit = graph.op("Max", *largest, graph.constant(smallest, np.float32))
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
        scales = graph.op("Reshape", scale, graph.ints(-1))
        # The runtime takes no scalar beside a scale per row.
        middle = graph.op("Expand", graph.constant(_MIDDLE, np.uint8), graph.op("Shape", scales))
        return graph.op("QuantizeLinear", x, scales, middle, axis=0)


class Int4Linear:
    """Weights in 4 bits, asymmetric per block of 32 inputs; activations int8, per row and block."""

    def __call__(self, graph: GraphBuilder, x: str, name: str, weight: Matrix) -> str:
        """Add the product."""
        matrix = Int4Matrix.of(floats(weight), _INT4_BLOCK)
        stored = [
            graph.weight(f"{name}.int4", matrix.values),
            graph.weight(f"{name}.scale", matrix.scales.reshape(-1)),
            graph.weight(f"{name}.zero", matrix.zeros.reshape(-1)),
        ]
        out, inner = weight.shape
        return graph.fused(
            "MatMulNBits", x, *stored, N=out, K=inner, bits=4, block_size=_INT4_BLOCK,
            accuracy_level=_INT8_PRODUCTS,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Linears:
    """The linear layers of one package: those of the encoder, of the decoder, and the head."""

    encoder: Linear
    decoder: Linear
    head: Linear


def linears_for(precision: str) -> Linears:
    """The layers of a precision, new for each package.

    ``int4`` has the decoder's layers in 4 bits; the encoder, whose hundreds of rows at a time are
    faster in int8, and the head, whose errors choose words, are int8.

    Raises:
        OptionError: There is no such precision.
    """
    match precision:
        case "fp32":
            return Linears(Fp32Linear(), Fp32Linear(), Fp32Linear())
        case "int8":
            decoder = Int8Linear()
            return Linears(Int8Linear(many_rows=True), decoder, decoder)
        case "int4":
            return Linears(Int8Linear(many_rows=True), Int4Linear(), Int8Linear())
    known = f"{', '.join(PRECISIONS[:-1])} and {PRECISIONS[-1]}"
    raise OptionError(f"precision {precision!r} is not known; {known} are")
