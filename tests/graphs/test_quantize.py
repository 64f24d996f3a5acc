"""Weights in few bits, against what they stand for; and the runtime's product of them."""

from __future__ import annotations

import numpy as np
import onnxruntime as ort
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ark_asr.errors import OptionError
from ark_asr.graphs.builder import FLOAT, GraphBuilder
from ark_asr.graphs.linear import Int4Linear, Int8Linear, linears_for
from ark_asr.graphs.quantize import Int4Matrix, Int8Matrix, stack
from ark_asr.models.package import PRECISIONS

weights = st.tuples(st.integers(1, 6), st.integers(1, 70)).flatmap(
    lambda shape: arrays(np.float32, shape, elements=st.floats(-8, 8, width=32))
)


def unpacked(pairs, count):
    """Two values in each byte of the last axis, the first in the lower half."""
    values = np.stack([pairs & 15, pairs >> 4], axis=-1).reshape(*pairs.shape[:-1], -1)
    return values[..., :count].astype(np.float32)


def int4_floats(matrix, inner, block):
    """What a matrix stands for, ``[out, inner]``, by the operator's documentation."""
    out, blocks = matrix.scales.shape
    zeros = unpacked(matrix.zeros, blocks)[..., None]
    values = (unpacked(matrix.values, block) - zeros) * matrix.scales[..., None]
    return values.reshape(out, -1)[:, :inner]


@given(weights)
def test_int8_rows_are_within_half_a_step(weight):
    matrix = Int8Matrix.of(weight)
    assert matrix.zeros is None
    assert matrix.shape == weight.shape
    largest = np.abs(weight).max(axis=1)
    error = np.abs(matrix.floats() - weight)
    assert (error <= largest[:, None] / 127 * 0.5001 + 1e-30).all()
    usual = largest > 1e-30  # below, the scale itself has no digits left
    assert (np.abs(matrix.values[usual]).max(axis=1) == 127).all()


@given(weights, st.sampled_from((16, 32, 64)))
def test_int4_blocks_are_within_half_a_step(weight, block):
    matrix = Int4Matrix.of(weight, block)
    out, inner = weight.shape
    blocks = -(-inner // block)
    assert matrix.values.shape == (out, blocks, block // 2)
    assert matrix.zeros.shape == (out, -(-blocks // 2))
    found = int4_floats(matrix, inner, block)
    steps = np.repeat(matrix.scales, block, axis=1)[:, :inner]
    assert (np.abs(found - weight) <= steps * 0.5001 + 1e-30).all()
    assert (found[weight == 0] == 0).all()


def test_int4_keeps_what_sixteen_steps_can_hold():
    values = np.arange(16, dtype=np.float32)[None] * np.float32(0.25) - 1
    matrix = Int4Matrix.of(values, 16)
    np.testing.assert_array_equal(int4_floats(matrix, 16, 16), values)


@given(weights, weights)
def test_stacked_rows_are_the_rows(first, second):
    second = np.resize(second, (len(second), first.shape[1]))
    parts = [Int8Matrix.of(first), Int8Matrix.of(second)]
    shifted = Int8Matrix(parts[1].values, parts[1].scales, np.ones(len(second), np.int8))
    for other in (parts[1], shifted):
        both = stack([parts[0], other])
        np.testing.assert_array_equal(
            both.floats(), np.concatenate([parts[0].floats(), other.floats()])
        )
    mixed = stack([parts[0], second])
    np.testing.assert_array_equal(mixed, np.concatenate([parts[0].floats(), second]))
    rows = np.array([len(second) - 1, 0])
    np.testing.assert_array_equal(shifted[rows].floats(), shifted.floats()[rows])


def run(linear, weight, x, tmp_path):
    graph = GraphBuilder("one")
    y = linear(graph, graph.input("x", FLOAT, ["rows", x.shape[1]]), "w", weight)
    graph.output(y, FLOAT, ["rows", weight.shape[0]])
    graph.save(tmp_path / "one.onnx")
    session = ort.InferenceSession(str(tmp_path / "one.onnx"), providers=["CPUExecutionProvider"])
    return lambda x: session.run([y], {"x": x})[0]


def random(shape, seed):
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


@pytest.mark.parametrize("inner", [32, 96, 100, 192])
def test_int4_products_are_those_of_the_stored_weight(inner, tmp_path):
    weight, x = random((48, inner), 0), random((9, inner), 1)
    x[3] = 0
    x[4] *= 1000  # no other row may become coarser
    product = run(Int4Linear(), weight, x, tmp_path)
    found = product(x)
    expected = x @ int4_floats(Int4Matrix.of(weight, 32), inner, 32).T
    # Activations have 8 bits, in blocks: rounding errors of half a 254th add up at random.
    error = np.linalg.norm(found - expected, axis=1)
    assert (error <= 0.01 * np.linalg.norm(expected, axis=1)).all()
    for row in range(len(x)):
        np.testing.assert_allclose(product(x[row : row + 1])[0], found[row], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("many_rows", [False, True])
@pytest.mark.parametrize("zeros", [None, -128, -3, 127])
def test_int8_weights_are_used_as_they_are(zeros, many_rows, tmp_path):
    rng = np.random.default_rng(0)
    values = rng.integers(-128, 128, (24, 40), dtype=np.int8)
    points = None if zeros is None else np.full(24, zeros, np.int8)
    weight = Int8Matrix(values, rng.random(24, dtype=np.float32) + np.float32(0.1), points)
    x = rng.integers(-127, 128, (5, 40)).astype(np.float32)
    x[:, 0] = 127  # so that quantising the activations is exact, and the product must be
    found = run(Int8Linear(many_rows=many_rows), weight, x, tmp_path)(x)
    exact = values.astype(np.float64) - (0 if zeros is None else zeros)
    np.testing.assert_allclose(found, x @ exact.T * weight.scales, rtol=1e-5, atol=1e-2)


def test_a_known_bound_spares_a_pass_and_cuts_nothing_off(tmp_path):
    weight, x = random((24, 40), 0), random((6, 40), 1)
    x = np.maximum(x, -0.17)
    x[2] *= 0.01  # a quiet row
    x[3] = -0.17  # nothing above the bound's magnitude
    x[4] = 0
    graph = GraphBuilder("one")
    given_x = graph.input("x", FLOAT, ["rows", 40])
    graph.least[given_x] = -0.17
    y = Int8Linear(many_rows=True)(graph, given_x, "w", weight)
    graph.output(y, FLOAT, ["rows", 24])
    assert "ReduceMin" not in {node.op_type for node in graph.graph().node}
    graph.save(tmp_path / "one.onnx")
    session = ort.InferenceSession(str(tmp_path / "one.onnx"), providers=["CPUExecutionProvider"])
    (found,) = session.run([y], {"x": x})
    expected = x @ Int8Matrix.of(weight).floats().T
    error = np.abs(found - expected).max(axis=1)
    step = np.maximum(x.max(axis=1), 0.17) / 127
    assert (error <= 0.5 * step * np.abs(weight).sum(axis=1).max()).all()
    assert (found[4] == 0).all()
    unbounded = run(Int8Linear(many_rows=True), weight, x, tmp_path)(x)
    np.testing.assert_array_equal(found[[0, 1, 5]], unbounded[[0, 1, 5]])


def test_every_precision_has_its_layers():
    for precision in PRECISIONS:
        linears_for(precision)
    with pytest.raises(OptionError, match="'int3' is not known; fp32, int8 and int4 are"):
        linears_for("int3")
