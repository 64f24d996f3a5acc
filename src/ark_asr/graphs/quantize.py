"""Weights in few bits: the arithmetic, without a graph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ark_asr.types import FloatArray, IntArray

_INT8_LEVELS = 127  # symmetric: -127 to 127
_INT4_LEVELS = 15  # 0 to 15
_ROWS_AT_ONCE = 4096


@dataclass(frozen=True, slots=True, eq=False)
class Int8Matrix:
    """A weight of which row ``i`` is ``(values[i] - zeros[i]) * scales[i]``.

    Attributes:
        values: int8 ``[out, in]``.
        scales: float32 ``[out]``.
        zeros: int8 ``[out]``; ``None`` if all are 0.
    """

    values: NDArray[np.int8]
    scales: FloatArray
    zeros: NDArray[np.int8] | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """``(out, in)``."""
        return self.values.shape

    def __getitem__(self, rows: IntArray) -> Int8Matrix:
        """Some of the rows."""
        zeros = None if self.zeros is None else self.zeros[rows]
        return Int8Matrix(self.values[rows], self.scales[rows], zeros)

    def floats(self) -> FloatArray:
        """The weight, float32 ``[out, in]``."""
        values = self.values.astype(np.float32)
        if self.zeros is not None:
            values -= self.zeros[:, None]
        values *= self.scales[:, None]
        return values

    @classmethod
    def of(cls, weight: FloatArray) -> Self:
        """Symmetric, each row in steps of its largest magnitude / 127."""
        scales = np.maximum(weight.max(axis=1), -weight.min(axis=1)) / np.float32(_INT8_LEVELS)
        scales[scales == 0] = 1.0
        values = np.empty(weight.shape, np.int8)
        # A whole head would need its size twice more.
        for first in range(0, len(weight), _ROWS_AT_ONCE):
            rows = slice(first, first + _ROWS_AT_ONCE)
            values[rows] = np.rint(weight[rows] / scales[rows, None])
        return cls(values, scales)


# A weight as a source holds it: ``[out, in]``.
Matrix: TypeAlias = FloatArray | Int8Matrix


def floats(weight: Matrix) -> FloatArray:
    """The weight in float32."""
    return weight.floats() if isinstance(weight, Int8Matrix) else weight


def stack(weights: Sequence[Matrix]) -> Matrix:
    """One weight with the rows of all, int8 if all are."""
    parts = [weight for weight in weights if isinstance(weight, Int8Matrix)]
    if len(parts) < len(weights):
        return np.concatenate([floats(weight) for weight in weights])
    zeros = None
    if any(part.zeros is not None for part in parts):
        zeros = np.concatenate(
            [np.zeros(len(p.scales), np.int8) if p.zeros is None else p.zeros for p in parts]
        )
    values, scales = (np.concatenate([getattr(p, name) for p in parts])
                      for name in ("values", "scales"))  # fmt: skip
    return Int8Matrix(values, scales, zeros)


@dataclass(frozen=True, slots=True, eq=False)
class Int4Matrix:
    """A weight in blocks of neighbouring inputs, each ``(value - zero) * scale``.

    The layout is that of ONNX Runtime's ``MatMulNBits``: of two values in a byte the first has the
    lower half. A last block that the inputs do not fill is filled with zeros.

    Attributes:
        values: uint8 ``[out, blocks, block / 2]``, two values in each.
        scales: float32 ``[out, blocks]``.
        zeros: uint8 ``[out, ceil(blocks / 2)]``, two zero points in each.
    """

    values: NDArray[np.uint8]
    scales: FloatArray
    zeros: NDArray[np.uint8]

    @classmethod
    def of(cls, weight: FloatArray, block: int) -> Self:
        """Asymmetric: 16 steps from the smallest to the largest value of a block, 0 among them."""
        out, inner = weight.shape
        padded = np.pad(weight, ((0, 0), (0, -inner % block))).reshape(out, -1, block)
        low = np.minimum(padded.min(axis=2), 0)
        scales = (np.maximum(padded.max(axis=2), 0) - low) / np.float32(_INT4_LEVELS)
        # Below, the scale itself has no digits left; such a block is zeros.
        scales[scales < np.finfo(np.float32).tiny] = 1.0
        zeros = np.rint(-low / scales)
        padded /= scales[..., None]
        padded += zeros[..., None]
        values = np.clip(np.rint(padded), 0, _INT4_LEVELS).astype(np.uint8)
        return cls(_in_pairs(values), scales, _in_pairs(zeros.astype(np.uint8)))


def _in_pairs(values: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Two neighbours of the last axis in one byte."""
    if values.shape[-1] % 2:
        values = np.concatenate([values, np.zeros_like(values[..., :1])], axis=-1)
    low, high = values[..., ::2], values[..., 1::2]
    return low | (high << np.uint8(4))
