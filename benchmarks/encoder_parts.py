"""Parts of an encoder layer of the published size, each in the ways that ONNX Runtime has for it.

    python benchmarks/encoder_parts.py [--threads N] [--rows N ...] [--repeats N]

Ways of one part take turns, each round in another order, so that what else the machine does meets
all of them; with one thread the processor's time is counted instead of the clock's. Shown are the
best and the median, in ms.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from statistics import median
from typing import Any

import numpy as np
import onnxruntime as ort
from onnx import NodeProto, TensorProto, helper, numpy_helper

from mini import processor

HEADS, DIM, WIDE = 20, 64, 5120
MICROSOFT = "com.microsoft"
Feeds = dict[str, np.ndarray]


def session(
    nodes: Sequence[NodeProto], feeds: Feeds, threads: int, *, opset: int = 17, **weights: Any
) -> ort.InferenceSession:
    kinds = {name: helper.np_dtype_to_tensor_dtype(array.dtype) for name, array in feeds.items()}
    graph = helper.make_graph(
        nodes, "part",
        [helper.make_tensor_value_info(name, kinds[name], feeds[name].shape) for name in feeds],
        [helper.make_tensor_value_info("y", output_kind(nodes[-1]), None)],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in weights.items()],
    )  # fmt: skip
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid(MICROSOFT, 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=11)
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    # It would make one way of another.
    options.add_session_config_entry("optimization.disable_specified_optimizers", "BiasGeluFusion")
    return ort.InferenceSession(model.SerializeToString(), options)


def output_kind(last: NodeProto) -> int:
    return TensorProto.INT32 if last.op_type == "MatMulInteger" else TensorProto.FLOAT


def own(operator: str, *inputs: str, **attributes: Any) -> NodeProto:
    return helper.make_node(operator, inputs, ["y"], domain=MICROSOFT, **attributes)


def by_head() -> list[NodeProto]:
    """Attention in plain nodes, head by head: one head's scores stay in the second-level cache."""
    node = helper.make_node
    nodes = []
    for name, order in (("q", [0, 2, 1, 3]), ("k", [0, 2, 3, 1]), ("v", [0, 2, 1, 3])):
        nodes += [
            node("Reshape", [name, "by_head"], [f"{name}_heads"]),
            node("Transpose", [f"{name}_heads"], [f"{name}_turned"], perm=order),
            node("Split", [f"{name}_turned"], [f"{name}{i}" for i in range(HEADS)], axis=1),
        ]
    for i in range(HEADS):
        nodes += [
            node("FusedMatMul", [f"q{i}", f"k{i}"], [f"scores{i}"], domain=MICROSOFT,
                 alpha=DIM**-0.5),
            node("Softmax", [f"scores{i}"], [f"weights{i}"], axis=-1),
            node("MatMul", [f"weights{i}", f"v{i}"], [f"out{i}"]),
        ]  # fmt: skip
    return [
        *nodes,
        node("Concat", [f"out{i}" for i in range(HEADS)], ["joined"], axis=1),
        node("Transpose", ["joined"], ["back"], perm=[0, 2, 1, 3]),
        node("Reshape", ["back", "together"], ["y"]),
    ]


def attention(rows: int, threads: int) -> dict[str, tuple[ort.InferenceSession, Feeds]]:
    rng = np.random.default_rng(0)
    feeds = {name: rng.standard_normal((1, rows, HEADS * DIM), np.float32) for name in "qkv"}
    ways = {
        "MultiHeadAttention": session(
            [own("MultiHeadAttention", *"qkv", num_heads=HEADS)], feeds, threads
        ),
        "Attention (opset 23)": session(
            [helper.make_node("Attention", [*"qkv"], ["y"], q_num_heads=HEADS,
                              kv_num_heads=HEADS)],
            feeds, threads, opset=23,
        ),
        "head by head": session(
            by_head(), feeds, threads, by_head=np.array([0, 0, HEADS, DIM]),
            together=np.array([0, 0, HEADS * DIM]),
        ),
    }  # fmt: skip
    return {name: (way, feeds) for name, way in ways.items()}


def products(rows: int, threads: int) -> dict[str, tuple[ort.InferenceSession, Feeds]]:
    """The two products of attention, in float32 and in int8, without what is between them."""
    rng = np.random.default_rng(0)
    found = {}
    for name, a, b in (("q k", (rows, DIM), (DIM, rows)), ("weights v", (rows, rows), (rows, DIM))):
        pair = [rng.integers(0, 127, (HEADS, *shape)) for shape in (a, b)]
        for operator, kinds in (("MatMul", "f4 f4"), ("MatMulInteger", "u1 i1")):
            given = zip("ab", pair, kinds.split(), strict=True)
            feeds = {key: array.astype(kind) for key, array, kind in given}
            node = helper.make_node(operator, ["a", "b"], ["y"])
            found[f"{name}, {operator}"] = session([node], feeds, threads), feeds
    return found


def activation(rows: int, threads: int) -> dict[str, tuple[ort.InferenceSession, Feeds]]:
    rng = np.random.default_rng(0)
    feeds = {"x": rng.standard_normal((rows, WIDE), np.float32)}
    bias = rng.standard_normal(WIDE, np.float32)
    added = helper.make_node("Add", ["x", "bias"], ["z"])
    return {
        "BiasGelu": (session([own("BiasGelu", "x", "bias")], feeds, threads, bias=bias), feeds),
        "Add, Gelu": (session([added, own("Gelu", "z")], feeds, threads, bias=bias), feeds),
    }


PARTS = {"attention": attention, "products": products, "activation": activation}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rows", type=int, nargs="+", default=[500, 1500])
    parser.add_argument("--repeats", type=int, default=12)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=[*PARTS])
    options = parser.parse_args()
    clock = time.thread_time if options.threads == 1 else time.perf_counter
    print(f"{processor()}, {options.threads} threads")
    for rows in options.rows:
        for part in options.parts:
            ways = PARTS[part](rows, options.threads)
            took: dict[str, list[float]] = {name: [] for name in ways}
            for turn in range(options.repeats + 1):
                first = turn % len(ways)
                for name in [*ways][first:] + [*ways][:first]:
                    way, feeds = ways[name]
                    began = clock()
                    way.run(None, feeds)
                    took[name].append(clock() - began)
            for name, times in took.items():
                best, middle = min(times[1:]) * 1e3, median(times[1:]) * 1e3
                print(f"{rows:5} rows  {name:28}{best:9.2f}{middle:9.2f}", flush=True)


if __name__ == "__main__":
    main()
