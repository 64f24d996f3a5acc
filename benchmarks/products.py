"""Products of a decoder's step, in the ways that ONNX Runtime has: int8 per channel, and in blocks.

    python benchmarks/products.py [--threads N] [--rows N ...]

Eighty matrices of 896 x 4,864 (350 million weights) lie one behind the other, so that none is in a
cache when its turn comes, as in a step of the published model.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from mini import processor
from real_size import best_of

INNER, OUT, MATRICES = 896, 4864, 80
WAYS = {
    "int8 per channel": None,
    "8 bits, blocks of 32": (8, 32),
    "8 bits, blocks of 128": (8, 128),
    "4 bits, blocks of 32": (4, 32),
    "4 bits, blocks of 128": (4, 128),
}


def session(way: tuple[int, int] | None, threads: int) -> ort.InferenceSession:
    rng = np.random.default_rng(0)
    weights: dict[str, np.ndarray] = {
        "one": np.float32(1), "scale": np.full(OUT, 1e-3, np.float32), "middle": np.uint8(128),
    }  # fmt: skip
    nodes = []
    for i in range(MATRICES):
        out = [f"y{i}"]
        if way is None:
            weights[f"w{i}"] = rng.integers(-127, 128, (INNER, OUT), dtype=np.int8)
            given = ["x", f"w{i}", "one", "scale", "middle"]
            node = helper.make_node("MatMulIntegerToFloat", given, out, domain="com.microsoft")
        else:
            bits, block = way
            blocks = INNER // block
            shape = (OUT, blocks, block * bits // 8)
            weights[f"w{i}"] = rng.integers(0, 255, shape, dtype=np.uint8)
            weights[f"s{i}"] = np.full(OUT * blocks, 1e-3, np.float32)
            node = helper.make_node(
                "MatMulNBits", ["x", f"w{i}", f"s{i}"], out, domain="com.microsoft", K=INNER, N=OUT,
                bits=bits, block_size=block, accuracy_level=4,
            )  # fmt: skip
        nodes.append(node)
    nodes.append(helper.make_node("Sum", [f"y{i}" for i in range(MATRICES)], ["y"]))
    kind = TensorProto.UINT8 if way is None else TensorProto.FLOAT
    graph = helper.make_graph(
        nodes, "products", [helper.make_tensor_value_info("x", kind, ["rows", INNER])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", OUT])],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in weights.items()],
    )  # fmt: skip
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    return ort.InferenceSession(model.SerializeToString(), options)


def task(run: ort.InferenceSession, feed: np.ndarray) -> Callable[[], object]:
    return lambda: run.run(None, {"x": feed})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rows", type=int, nargs="+", default=[1, 4, 10])
    options = parser.parse_args()
    print(f"{processor()}, {options.threads} threads; billions of weights a second\n")
    print(f"{'':24}" + "".join(f"{f'{rows} rows':>10}" for rows in options.rows))
    for name, way in WAYS.items():
        run = session(way, options.threads)
        rates = []
        for rows in options.rows:
            feed = np.ones((rows, INNER), np.uint8 if way is None else np.float32)
            rates.append(MATRICES * INNER * OUT / best_of(8, task(run, feed)) / 1e9)
        print(f"{name:24}" + "".join(f"{rate:10.1f}" for rate in rates), flush=True)


if __name__ == "__main__":
    main()
