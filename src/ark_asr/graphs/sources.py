"""Where the weights of a package come from."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from ark_asr.graphs.quantize import Matrix
from ark_asr.types import FloatArray


class WeightSource(Protocol):
    """The tensors of one model, by their published names."""

    @property
    def files(self) -> list[Path]:
        """The files that hold them, in order of name."""
        ...

    def __getitem__(self, name: str) -> FloatArray:
        """One tensor in float32."""
        ...

    def matrix(self, name: str) -> Matrix:
        """A weight ``[out, in]`` as it is stored: float32, or int8 with its scales."""
        ...
