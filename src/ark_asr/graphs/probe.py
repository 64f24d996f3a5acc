"""The tiny graph with which an engine asks whether this CPU's fast int8 kernel is exact.

x86 without VNNI adds pairs of products in 16 bits, which 255 * 127 twice does not fit. The engine
carries the result as ``engines/probe.onnx``, because running a package must not need ``onnx``::

    python -m ark_asr.graphs.probe src/ark_asr/engines/probe.onnx
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from ark_asr.graphs.builder import INT32, UINT8, GraphBuilder

_ROWS, _INNER, _COLUMNS = 8, 64, 16


def build_probe(path: Path) -> None:
    """Write a graph that multiplies ``x`` uint8 ``[8, 64]`` by a matrix of 127."""
    graph = GraphBuilder("probe")
    x = graph.input("x", UINT8, [_ROWS, _INNER])
    weight = graph.weight("weight", np.full((_INNER, _COLUMNS), 127, np.int8))
    graph.node_to("MatMulInteger", [x, weight], ["y"])
    graph.output("y", INT32, [_ROWS, _COLUMNS])
    graph.save(path)


if __name__ == "__main__":
    build_probe(Path(sys.argv[1]))
