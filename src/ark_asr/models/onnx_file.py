"""Where an ONNX file keeps its tensors: found without the `onnx` package and without loading them.

The file is one protobuf message. Only the fields on the way to a stored tensor are looked at;
weights are stepped over, so a file of any size is read at once.
Format: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto,
https://protobuf.dev/programming-guides/encoding
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ark_asr.errors import ModelFormatError, ModelNotFoundError

# Numbers of the fields, message by message.
_MODEL_GRAPH, _MODEL_METADATA = 7, 14
_GRAPH_NODE, _GRAPH_INITIALIZER = 1, 5
_NODE_OPERATOR = 4
_DIMS, _DATA_TYPE, _NAME, _RAW_DATA, _EXTERNAL_DATA = 1, 2, 8, 9, 13
_KEY, _VALUE = 1, 2
# Types of a tensor that can be mapped as they are.
_DTYPES = {1: "<f4", 10: "<f2"}

# A field's value: a number, or the first byte and the end of what it holds.
Span: TypeAlias = tuple[int, int]


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """A tensor of a graph, and where its values are.

    Attributes:
        name: In the graph.
        dtype: Of the values; ``None`` for one that is neither float32 nor float16.
        shape: Its axes.
        file: The graph itself, or the file beside it that holds the values.
        offset: First byte of the values, which are in row-major order.
    """

    name: str
    dtype: np.dtype[Any] | None
    shape: tuple[int, ...]
    file: Path
    offset: int

    def map(self) -> NDArray[Any]:
        """Map the values into memory, read-only.

        Raises:
            ModelNotFoundError: The file is missing.
            ModelFormatError: It is too short, or the values are of another type.
        """
        if self.dtype is None:
            raise ModelFormatError(f"{self.file}: {self.name} is neither float32 nor float16")
        if not self.file.is_file():
            raise ModelNotFoundError(f"{self.file}: no such file; the model is not complete")
        end, size = self.offset + prod(self.shape) * self.dtype.itemsize, self.file.stat().st_size
        if end > size or not prod(self.shape):
            raise ModelFormatError(
                f"{self.file}: {size:,} bytes, but {self.name} {list(self.shape)} in {self.dtype} "
                f"from byte {self.offset:,} on needs {end:,}"
            )
        return np.memmap(self.file, self.dtype, "r", self.offset, self.shape)


@dataclass(frozen=True, slots=True)
class OnnxFile:
    """What a file says of its graph.

    Attributes:
        operators: Of the nodes, in order.
        tensors: Stored ones.
        metadata: What its maker wrote into it, text by name.
    """

    operators: tuple[str, ...]
    tensors: tuple[StoredTensor, ...]
    metadata: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> OnnxFile:
        """Look into a file.

        Raises:
            ModelNotFoundError: There is none.
            ModelFormatError: It is no ONNX file, or keeps values outside its own folder.
        """
        if not path.is_file():
            raise ModelNotFoundError(f"{path}: no such file; the model is not complete")
        try:
            with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as m:
                found = _read(m, path)
        except ModelFormatError:
            raise
        except (ValueError, IndexError) as error:
            raise ModelFormatError(f"{path}: not an ONNX file ({error})") from None
        if not found.operators:
            raise ModelFormatError(f"{path}: not an ONNX file (no node in it)")
        return found


def _read(data: mmap.mmap, path: Path) -> OnnxFile:
    operators: list[str] = []
    tensors: list[StoredTensor] = []
    for graph in _spans(data, (0, len(data)), _MODEL_GRAPH):
        for node in _spans(data, graph, _GRAPH_NODE):
            operators += [_text(data, name) for name in _spans(data, node, _NODE_OPERATOR)]
        tensors += [_tensor(data, one, path) for one in _spans(data, graph, _GRAPH_INITIALIZER)]
    metadata = (_entry(data, one) for one in _spans(data, (0, len(data)), _MODEL_METADATA))
    return OnnxFile(tuple(operators), tuple(tensors), dict(metadata))


def _tensor(data: mmap.mmap, span: Span, path: Path) -> StoredTensor:
    name, kind, place, offset = "", 0, path, 0
    shape: list[int] = []
    for number, value in _fields(data, span):
        if number == _DIMS:  # packed or one by one, both are allowed
            shape += [value] if isinstance(value, int) else _varints(data, value)
        elif number == _DATA_TYPE and isinstance(value, int):
            kind = value
        elif number == _NAME and isinstance(value, tuple):
            name = _text(data, value)
        elif number == _RAW_DATA and isinstance(value, tuple):
            offset = value[0]
    outside = dict(_entry(data, one) for one in _spans(data, span, _EXTERNAL_DATA))
    if beside := outside.get("location"):
        if Path(beside).name != beside or "\\" in beside:
            raise ModelFormatError(f"{path}: {beside!r} is not the name of a file beside it")
        place, offset = path.parent / beside, int(outside.get("offset", "0"))
    if offset < 0:
        raise ValueError(f"{name} begins before its file")
    dtype = np.dtype(_DTYPES[kind]) if kind in _DTYPES else None
    return StoredTensor(name, dtype, tuple(shape), place, offset)


def _entry(data: mmap.mmap, span: Span) -> tuple[str, str]:
    """Key and value of one entry."""
    key, value = (
        "".join(_text(data, part) for part in _spans(data, span, number))
        for number in (_KEY, _VALUE)
    )
    return key, value


def _spans(data: mmap.mmap, span: Span, wanted: int) -> Iterator[Span]:
    """The fields of one number that hold bytes."""
    for number, value in _fields(data, span):
        if number == wanted and isinstance(value, tuple):
            yield value


def _fields(data: mmap.mmap, span: Span) -> Iterator[tuple[int, int | Span]]:
    """Number and value of each field of a message."""
    at, end = span
    while at < end:
        tag, at = _varint(data, at)
        number, wire = tag >> 3, tag & 7
        value: int | Span
        if wire == 0:
            value, at = _varint(data, at)
        else:
            size = {1: 8, 5: 4}.get(wire)
            if wire == 2:
                size, at = _varint(data, at)
            if size is None:
                raise ValueError(f"a field of type {wire} at byte {at}")
            value = (at, at + size)
            at += size
        if at > end:
            raise ValueError(f"a field ends at byte {at}, what holds it at {end}")
        yield number, value


def _varint(data: mmap.mmap, at: int) -> tuple[int, int]:
    """A number, low bits first, seven to a byte; and the byte behind it."""
    value = 0
    for shift in range(0, 70, 7):
        byte = data[at + shift // 7]
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at + shift // 7 + 1
    raise ValueError(f"a number at byte {at} has no end")


def _varints(data: mmap.mmap, span: Span) -> list[int]:
    at, found = span[0], []
    while at < span[1]:
        value, at = _varint(data, at)
        found.append(value)
    return found


def _text(data: mmap.mmap, span: Span) -> str:
    return data[span[0] : span[1]].decode("utf-8")
