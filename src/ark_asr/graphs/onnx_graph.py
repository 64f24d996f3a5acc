"""Somebody else's ONNX graph, to look around in: who makes a value, who uses it, what is constant.

And its linear layers: products with a constant matrix, whether float or quantised by ONNX Runtime's
dynamic quantiser, with their biases and the norms before them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ark_asr.errors import MissingExtraError, ModelFormatError, ModelNotFoundError
from ark_asr.graphs.quantize import Int8Matrix, Matrix
from ark_asr.models.fields import is_file_name
from ark_asr.types import FloatArray

try:
    import onnx
    from onnx import TensorProto, helper, numpy_helper
except ImportError:  # pragma: no cover - the test environment has it
    raise MissingExtraError("Reading ONNX graphs", "convert") from None

if TYPE_CHECKING:
    Node = onnx.NodeProto

# What carries a vector on unchanged, or picks some of its rows.
_CARRIERS = frozenset(
    {"Cast", "Dropout", "Flatten", "Gather", "GatherND", "Identity", "Reshape", "Slice", "Squeeze",
     "Unsqueeze"}
)  # fmt: skip
# Norms by their operator: where their weight is among the inputs; a bias follows it.
_NORMS = {
    "LayerNormalization": 1, "RMSNormalization": 1, "SimplifiedLayerNormalization": 1,
    "SkipLayerNormalization": 2, "SkipSimplifiedLayerNormalization": 2,
}  # fmt: skip
# Products of ONNX Runtime's dynamic quantiser, and what its optimiser makes of them.
_QUANTIZED = ("MatMulInteger", "MatMulIntegerToFloat", "DynamicQuantizeMatMul")
_MOST_STEPS = 16


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """A linear layer of the graph.

    Attributes:
        x: Its input.
        y: Its output, the bias included.
        weight: ``[out, in]``.
        bias: ``[out]``, if it has one.
    """

    x: str
    y: str
    weight: Matrix
    bias: FloatArray | None


class OnnxGraph:
    """One graph file, read whole.

    Args:
        path: The file; tensors may lie in files beside it.

    Raises:
        ModelNotFoundError: It, or a file beside it that it needs, is missing.
        ModelFormatError: It is no ONNX graph, or names files elsewhere.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.is_file():
            raise ModelNotFoundError(f"{path}: no such file; the model is not complete")
        try:
            self._graph = onnx.load(str(path), load_external_data=False).graph
        except Exception as error:  # noqa: BLE001 - protobuf's exceptions have no common base
            raise ModelFormatError(f"{path}: not an ONNX graph ({error})") from None
        self.nodes: list[Node] = list(self._graph.node)
        self.inputs = [value.name for value in self._graph.input]
        self.outputs = [value.name for value in self._graph.output]
        self._stored = {tensor.name: tensor for tensor in self._graph.initializer}
        self._makers: dict[str, Node] = {}
        self._users: dict[str, list[Node]] = {}
        for node in self.nodes:
            self._makers |= dict.fromkeys(node.output, node)
            for name in node.input:
                self._users.setdefault(name, []).append(node)

    def fail(self, problem: str) -> ModelFormatError:
        """The error of a graph that is not built as expected."""
        return ModelFormatError(f"{self.path}: {problem}; this graph cannot be converted")

    def constant(self, name: str) -> NDArray[Any] | None:
        """The tensor of that name, if it does not depend on the inputs."""
        if name in self._stored:
            return self._read(self._stored[name])
        node = self._makers.get(name)
        if node is None:
            return None
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        if node.op_type == "Constant" and "value" in attributes:
            return self._read(attributes["value"])
        if node.op_type in ("Identity", "Transpose"):
            value = self.constant(node.input[0])
            if value is not None and node.op_type == "Transpose":
                value = value.transpose(attributes.get("perm"))
            return value
        return None

    def vector(self, name: str) -> FloatArray | None:
        """A constant that is one vector, whatever axes of length 1 it has."""
        if name in self._stored and math.prod(self._stored[name].dims) > 1 << 24:
            return None
        value = self.constant(name)
        if value is None or value.size != max(value.shape, default=1):
            return None
        return value.astype(np.float32, copy=False).reshape(-1)

    def maker(self, name: str) -> Node | None:
        """The node that makes a value."""
        return self._makers.get(name)

    def users(self, name: str) -> list[Node]:
        """The nodes that use a value."""
        return self._users.get(name, [])

    def back(self, name: str, found: Callable[[str], bool]) -> Iterator[str]:
        """The nearest values that fit, among those that a value is made of."""

        def makes(value: str) -> Iterable[str]:
            node = self._makers.get(value)
            # What has the shape of a value has nothing of what is in it.
            return () if node is None or node.op_type in ("Shape", "Size") else node.input

        return _search(name, found, makes)

    def ahead(self, name: str, found: Callable[[str], bool]) -> Iterator[str]:
        """The nearest values that fit, among those made of a value."""
        return _search(name, found, lambda value: [n for u in self.users(value) for n in u.output])

    def layers(self) -> Iterator[Layer]:
        """All products of a value with a constant matrix, in the order of the graph."""
        for node in self.nodes:
            layer = self._layer(node)
            if layer is not None:
                yield layer

    def norm_before(self, name: str) -> list[FloatArray]:
        """Weight, and bias if there is one, of the norm that a value comes from.

        Raises:
            ModelFormatError: It comes from something else.
        """
        start = name
        bias: list[FloatArray] = []
        for _ in range(_MOST_STEPS):
            node = self._makers.get(name)
            if node is None:
                break
            if node.op_type in _NORMS:
                at = _NORMS[node.op_type]
                vectors = [self.vector(part) for part in node.input[at : at + 2]]
                return [vector for vector in vectors if vector is not None]
            if node.op_type in _CARRIERS:
                name = node.input[0]
            elif node.op_type in ("Mul", "Add"):
                factor, other = self._constant_side(node)
                if factor is None:
                    break
                if node.op_type == "Mul":
                    return [factor, *bias]
                name, bias = other, [factor]
            else:
                break
        raise self.fail(f"found no norm before {start!r}")

    def _layer(self, node: Node) -> Layer | None:
        if node.op_type in ("MatMul", "Gemm"):
            matrix = self._matrix(node)
            bias = self.vector(node.input[2]) if len(node.input) > 2 else None
            x, y = node.input[0], node.output[0]
            return None if matrix is None else self._with_bias(x, y, matrix, bias)
        if node.op_type not in _QUANTIZED or not self._is_weight(node.input[1]):
            return None
        names: list[str] = [*node.input, "", "", "", "", ""]
        a, b, *rest = names
        match node.op_type:
            case "MatMulInteger":
                y, scales = self._scaled(node)
                return self._with_bias(self._before(a), y, self._int8(b, scales, rest[1]))
            case "MatMulIntegerToFloat":
                _, scale, _, zero, bias_name, *_ = rest
                weight = self._int8(b, self.vector(scale), zero)
                bias = self.vector(bias_name)
                return self._with_bias(self._before(a), node.output[0], weight, bias)
            case _:
                scale, zero, bias_name, *_ = rest
                weight = self._int8(b, self.vector(scale), zero)
                return self._with_bias(a, node.output[0], weight, self.vector(bias_name))

    def _is_weight(self, name: str) -> bool:
        return name in self._stored and len(self._stored[name].dims) == 2

    def _matrix(self, node: Node) -> FloatArray | None:
        """The constant of a float product, ``[out, in]``."""
        value = self.constant(node.input[1])
        if value is None or value.ndim != 2:
            return None
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        if attributes.get("alpha", 1.0) != 1 or attributes.get("beta", 1.0) != 1:
            raise self.fail(f"{node.name!r} scales its product")
        return (value if attributes.get("transB") else value.T).astype(np.float32, copy=False)

    def _int8(self, name: str, scales: FloatArray | None, zero: str) -> Int8Matrix:
        """A stored quantised weight, ``[in, out]`` in the graph."""
        values = self._read(self._stored[name]).T
        zeros = self.constant(zero) if zero else None
        if scales is None or values.dtype not in (np.int8, np.uint8):
            raise self.fail(f"{name!r} is not an 8-bit weight with constant scales")
        if not np.isfinite(scales).all():
            raise self.fail(f"the scales of {name!r} are not finite")
        points = np.zeros(1, values.dtype) if zeros is None else zeros.reshape(-1)
        if values.dtype == np.uint8:
            # Both move by 128, so their difference stays.
            values, points = ((part ^ 0x80).view(np.int8) for part in (values, points))
        out = len(values)
        if not {len(scales), len(points)} <= {1, out}:
            raise self.fail(f"{name!r} has {len(scales)} scales for {out} outputs")
        return Int8Matrix(
            values,
            np.ascontiguousarray(np.broadcast_to(scales, out)),
            np.ascontiguousarray(np.broadcast_to(points, out)) if points.any() else None,
        )

    def _scaled(self, node: Node) -> tuple[str, FloatArray | None]:
        """Where a product of integers becomes float, and the scales of its weight."""
        for cast in self.users(node.output[0]):
            for scale in self.users(cast.output[0]) if cast.op_type == "Cast" else ():
                for name in scale.input if scale.op_type == "Mul" else ():
                    made = self._makers.get(name)
                    if made is not None and made.op_type == "Mul":
                        return scale.output[0], self._constant_side(made)[0]
        raise self.fail(f"the product {node.name!r} is not scaled as ONNX Runtime's quantiser does")

    def _before(self, quantized: str) -> str:
        """The float value that was quantised."""
        made = self._makers.get(quantized)
        if made is None or made.op_type != "DynamicQuantizeLinear":
            raise self.fail(f"{quantized!r} is not quantised at run time")
        return str(made.input[0])

    def _with_bias(self, x: str, y: str, weight: Matrix, bias: FloatArray | None = None) -> Layer:
        if bias is None:
            for node in self.users(y):
                if node.op_type == "Add":
                    bias, _ = self._constant_side(node)
                    if bias is not None and len(bias) == weight.shape[0]:
                        return Layer(x, node.output[0], weight, bias)
            bias = None
        return Layer(x, y, weight, bias)

    def _constant_side(self, node: Node) -> tuple[FloatArray | None, str]:
        """The constant vector among two inputs, and the name of the other."""
        for name, other in (node.input, node.input[::-1]):
            if (vector := self.vector(name)) is not None:
                return vector, other
        return None, ""

    def _read(self, tensor: TensorProto) -> NDArray[Any]:
        if tensor.data_location != TensorProto.EXTERNAL:
            return np.asarray(numpy_helper.to_array(tensor))
        place = {entry.key: entry.value for entry in tensor.external_data}
        name = place.get("location", "")
        if not is_file_name(name):
            raise ModelFormatError(f"{self.path}: {name!r} is not the name of a file beside it")
        file, offset = self.path.parent / name, place.get("offset", "0")
        dtype = helper.tensor_dtype_to_np_dtype(tensor.data_type)
        if not file.is_file():
            raise ModelNotFoundError(f"{file}: no such file; the model is not complete")
        size = math.prod(tensor.dims) * dtype.itemsize
        if not offset.isdecimal() or int(offset) + size > file.stat().st_size:
            raise ModelFormatError(f"{file}: too short for {tensor.name!r}; fetch it again")
        return np.memmap(file, dtype, "r", int(offset), tuple(tensor.dims))


def _search(
    start: str, found: Callable[[str], bool], following: Callable[[str], Iterable[str]]
) -> Iterator[str]:
    seen, waiting = set[str](), [start]
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            if found(name):
                yield name
            else:
                waiting += following(name)
