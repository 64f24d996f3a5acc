"""An encoder of the published geometry in OpenVINO: how long a 10 s clip takes it.

    pip install openvino
    python benchmarks/openvino_encoder.py [--threads N]

Weights are random; the graph is written with OpenVINO's own operators, layer by layer, and the stem
and the adapter are left out. To be held against `benchmarks/stages.py` in the same minutes: it is a
trial of whether an engine on OpenVINO would be worth having, not such an engine.
"""

from __future__ import annotations

import argparse

import numpy as np
import openvino as ov
from openvino import opset13 as op

from mini import processor
from real_size import best_of

SIZE, HEADS, LAYERS, WIDE, FRAMES, TURNED = 1280, 20, 32, 5120, 500, 32
WAYS = ("fp32", "bf16", "int8 weights", "int8, fixed scales")


class Encoder:
    """The model in one of the ways."""

    def __init__(self, way: str) -> None:
        self.way = way
        self._rng = np.random.default_rng(0)

    def model(self) -> ov.Model:
        x = op.parameter([-1, -1, SIZE], np.float32)
        time = op.gather(op.shape_of(x), op.constant(np.array([1])), op.constant(0))
        table = np.ones((1, 1, 1500, TURNED // 2, 1), np.float32)
        cut = [op.constant(np.array([0])), time, op.constant(np.array([1])),
               op.constant(np.array([2]))]  # fmt: skip
        self.cos, self.sin = (op.slice(op.constant(table), *cut) for _ in range(2))
        state = x
        for _ in range(LAYERS):
            normed = self.norm(state)
            query, key, value = (self.heads(self.linear(normed, SIZE, SIZE)) for _ in range(3))
            mixed = op.scaled_dot_product_attention(
                self.turned(query), self.turned(key), value, causal=False
            )
            mixed = op.transpose(mixed, op.constant(np.array([0, 2, 1, 3])))
            mixed = op.reshape(mixed, op.constant(np.array([0, 0, SIZE])), special_zero=True)
            state = op.add(state, self.linear(mixed, SIZE, SIZE))
            wide = op.gelu(self.linear(self.norm(state), SIZE, WIDE), "erf")
            state = op.add(state, self.linear(wide, WIDE, SIZE))
        return ov.Model([self.norm(state)], [x], "encoder")

    def linear(self, x: ov.Node, inner: int, out: int) -> ov.Node:
        if self.way == "int8 weights":
            stored = op.constant(self._rng.integers(-127, 128, (out, inner), dtype=np.int8))
            scale = op.constant(np.full((out, 1), 1e-4, np.float32))
            weight = op.multiply(op.convert(stored, "f32"), scale)
        elif self.way == "int8, fixed scales":
            x = quantised(x, -4, 4, (1, 1, 1))
            values = self._rng.integers(-127, 128, (out, inner), dtype=np.int8)
            weight = quantised(op.constant(values * np.float32(1e-4)), -0.0128, 0.0127, (out, 1))
        else:
            weight = op.constant(self._rng.standard_normal((out, inner), np.float32) * 0.02)
        bias = op.constant(np.zeros((1, 1, out), np.float32))
        return op.add(op.matmul(x, weight, transpose_a=False, transpose_b=True), bias)

    @staticmethod
    def norm(x: ov.Node) -> ov.Node:
        return op.mvn(x, op.constant(np.array([-1])), True, 1e-5, "inside_sqrt")

    @staticmethod
    def heads(x: ov.Node) -> ov.Node:
        shape = op.constant(np.array([0, 0, HEADS, SIZE // HEADS]))
        x = op.reshape(x, shape, special_zero=True)
        return op.transpose(x, op.constant(np.array([0, 2, 1, 3])))

    def turned(self, x: ov.Node) -> ov.Node:
        """Adjacent pairs of the first numbers of each head turned."""
        rest = SIZE // HEADS - TURNED
        parts = op.variadic_split(x, op.constant(-1), op.constant(np.array([TURNED, rest])))
        pairs = op.constant(np.array([0, 0, 0, TURNED // 2, 2]))
        pairs = op.split(op.reshape(parts.output(0), pairs, special_zero=True), op.constant(-1), 2)
        a, b = pairs.output(0), pairs.output(1)
        new = op.concat([
            op.subtract(op.multiply(a, self.cos), op.multiply(b, self.sin)),
            op.add(op.multiply(b, self.cos), op.multiply(a, self.sin)),
        ], -1)  # fmt: skip
        new = op.reshape(new, op.constant(np.array([0, 0, 0, TURNED])), special_zero=True)
        return op.concat([new, parts.output(1)], -1)


def quantised(x: ov.Node, low: float, high: float, shape: tuple[int, ...]) -> ov.Node:
    ends = [op.constant(np.full(shape, end, np.float32)) for end in (low, high)]
    return op.fake_quantize(x, *ends, *ends, 256)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    print(f"OpenVINO {ov.__version__}, {processor()}, {options.threads} threads\n")
    for way in WAYS:
        precision = "bf16" if way == "bf16" else "f32"
        settings = {"INFERENCE_NUM_THREADS": options.threads, "PERFORMANCE_HINT": "LATENCY",
                    "INFERENCE_PRECISION_HINT": precision}  # fmt: skip
        request = (
            ov.Core().compile_model(Encoder(way).model(), "CPU", settings).create_infer_request()
        )
        clip = np.random.default_rng(1).standard_normal((1, FRAMES, SIZE), np.float32)
        print(f"{way:20}{best_of(4, lambda: request.infer({0: clip})):8.2f} s", flush=True)  # noqa: B023


if __name__ == "__main__":
    main()
