"""A thin layer over ``onnx.helper``: nodes by one call each, weights in one shared data file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np
from numpy.typing import NDArray

from ark_asr.errors import MissingExtraError
from ark_asr.types import FloatArray

try:
    import onnx
    from onnx import TensorProto, helper, numpy_helper
except ImportError:  # pragma: no cover - the test environment has it
    raise MissingExtraError("Building ONNX graphs", "convert") from None

MICROSOFT = "com.microsoft"  # ONNX Runtime's fused operators
_OPSET, _MICROSOFT_OPSET, _IR_VERSION = 17, 1, 9
# Tensors from this size on start on a page, so that the runtime can map them as they are.
_PAGE = 4096
_INLINE_LIMIT = 16 * 1024  # smaller tensors live in the graph file

FLOAT, INT32, INT64 = TensorProto.FLOAT, TensorProto.INT32, TensorProto.INT64
UINT8 = TensorProto.UINT8


class DataFile:
    """The external-data file that all graphs of a package share, written front to back."""

    def __init__(self, path: Path) -> None:
        self.name = path.name
        self._file: BinaryIO = path.open("wb")

    def append(self, array: NDArray[Any]) -> int:
        """Write an array in row-major order; return its first byte, a multiple of 4,096."""
        self._file.write(bytes(-self._file.tell() % _PAGE))
        begin = self._file.tell()
        self._file.write(np.ascontiguousarray(array).data)
        return begin

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        self._file.close()


class GraphBuilder:
    """One ONNX graph in the making. Values are known by their names.

    Args:
        name: Name of the graph.
        data: Where large weights go; ``None`` for a subgraph without any.

    Attributes:
        least: Of some values a negative number that nothing in them is below.
    """

    def __init__(self, name: str, data: DataFile | None = None) -> None:
        self.name = name
        self.least: dict[str, float] = {}
        self._data = data
        self._nodes: list[Any] = []
        self._weights: dict[str, Any] = {}
        self._inputs: list[Any] = []
        self._outputs: list[Any] = []
        self._told: list[Any] = []
        self._count = 0

    def input(self, name: str, kind: int, shape: Sequence[int | str]) -> str:
        """Declare a graph input; strings are dynamic dimensions."""
        self._inputs.append(helper.make_tensor_value_info(name, kind, shape))
        return name

    def output(self, name: str, kind: int, shape: Sequence[int | str]) -> str:
        """Declare a graph output."""
        self._outputs.append(helper.make_tensor_value_info(name, kind, shape))
        return name

    def told(self, value: str, kind: int, shape: Sequence[int | str]) -> str:
        """Say the shape of a value where the runtime cannot infer it; return the value.

        It plans memory by shapes, and searches long for room for values of unknown ones.
        """
        self._told.append(helper.make_tensor_value_info(value, kind, shape))
        return value

    def weight(self, name: str, array: NDArray[Any]) -> str:
        """Store a constant tensor under ``name``."""
        if array.nbytes < _INLINE_LIMIT or self._data is None:
            tensor = numpy_helper.from_array(np.ascontiguousarray(array), name)
        else:
            tensor = TensorProto(name=name, dims=array.shape, data_location=TensorProto.EXTERNAL)
            tensor.data_type = helper.np_dtype_to_tensor_dtype(array.dtype)
            place = {"location": self._data.name, "offset": self._data.append(array),
                     "length": array.nbytes}  # fmt: skip
            for key, value in place.items():
                tensor.external_data.add(key=key, value=str(value))
        self._weights[name] = tensor
        return name

    def constant(self, value: float, dtype: type) -> str:
        """A scalar; the same value is stored once."""
        name = f"{np.dtype(dtype)} {value}"
        return name if name in self._weights else self.weight(name, np.array(value, dtype))

    def ints(self, *values: int) -> str:
        """A list of int64, as shapes and axes are; the same list is stored once."""
        name = f"int64 {list(values)}"
        return name if name in self._weights else self.weight(name, np.array(values, np.int64))

    def node(
        self,
        operator: str,
        *inputs: str,
        domain: str = "",
        outputs: int = 1,
        **attributes: Any,  # noqa: ANN401
    ) -> list[str]:
        """Add a node; return the names of its outputs. An empty input name leaves it out."""
        names = [f"{operator}_{self._count}_{index}" for index in range(outputs)]
        self.node_to(operator, inputs, names, domain=domain, **attributes)
        return names

    def node_to(
        self, operator: str, inputs: Sequence[str], outputs: Sequence[str], *, domain: str = "",
        **attributes: Any,  # noqa: ANN401
    ) -> None:  # fmt: skip
        """Add a node whose outputs have given names; an empty name leaves an output out."""
        title = f"{operator}_{self._count}"
        self._count += 1
        self._nodes.append(
            helper.make_node(operator, inputs, outputs, title, domain=domain, **attributes)
        )

    def op(self, operator: str, *inputs: str, **attributes: Any) -> str:  # noqa: ANN401
        """Add a standard node with one output; return its name."""
        return self.node(operator, *inputs, **attributes)[0]

    def fused(self, operator: str, *inputs: str, **attributes: Any) -> str:  # noqa: ANN401
        """Add one of ONNX Runtime's own nodes with one output; return its name."""
        return self.node(operator, *inputs, domain=MICROSOFT, **attributes)[0]

    def graph(self) -> onnx.GraphProto:
        """The finished ``GraphProto``."""
        return helper.make_graph(
            self._nodes, self.name, self._inputs, self._outputs, list(self._weights.values()),
            value_info=self._told,
        )  # fmt: skip

    def save(self, path: Path) -> None:
        """Write the model file."""
        opsets = [helper.make_opsetid("", _OPSET), helper.make_opsetid(MICROSOFT, _MICROSOFT_OPSET)]
        model = helper.make_model(
            self.graph(), opset_imports=opsets, ir_version=_IR_VERSION, producer_name="ark-asr"
        )
        onnx.save_model(model, str(path))


def rotary_tables(length: int, dim: int, theta: float) -> tuple[FloatArray, FloatArray]:
    """Cosines and sines of ``position / theta^(2j/dim)``, each float32 ``[length, dim / 2]``."""
    inverse = theta ** (-np.arange(0, dim, 2) / dim)
    angles = np.outer(np.arange(length), inverse)
    return np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)
