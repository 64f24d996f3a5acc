"""Stored tensors found in ONNX files, against the `onnx` package."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from ark_asr.errors import ModelError, ModelFormatError, ModelNotFoundError
from ark_asr.models.onnx_file import OnnxFile

shapes = st.lists(st.integers(1, 5), max_size=3)
tensors = st.lists(st.tuples(shapes, st.sampled_from(["<f4", "<f2"]), st.booleans()), max_size=4)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("onnx") / "graph.onnx"


def write(path, arrays, external, *, padding=0):
    """A file with a node of each of two kinds; some arrays lie in a file beside it."""
    stored, data = [], bytearray(padding)
    for i, (array, outside) in enumerate(zip(arrays, external, strict=True)):
        tensor = numpy_helper.from_array(array, f"tensor {i}")
        if outside:
            place = {"location": "beside.data", "offset": len(data), "length": array.nbytes}
            data += tensor.raw_data
            tensor.ClearField("raw_data")
            tensor.data_location = TensorProto.EXTERNAL
            for key, value in place.items():
                tensor.external_data.add(key=key, value=str(value))
        stored.append(tensor)
    nodes = [helper.make_node("Gather", ["a", "b"], ["c"]), helper.make_node("Cast", ["c"], ["d"])]
    graph = helper.make_graph(nodes, "graph", [], [], stored, doc_string="x" * 200)
    model = helper.make_model(graph, producer_name="a test")
    path.write_bytes(model.SerializeToString())
    (path.parent / "beside.data").write_bytes(data)


@settings(max_examples=40)
@given(made=tensors, padding=st.integers(0, 300), seed=st.integers(0, 99))
def test_every_tensor_is_where_onnx_put_it(made, padding, seed, path):
    rng = np.random.default_rng(seed)
    arrays = [rng.standard_normal(shape).astype(dtype) for shape, dtype, _ in made]
    write(path, arrays, [outside for *_, outside in made], padding=padding)
    found = OnnxFile.read(path)
    assert found.operators == ("Gather", "Cast")
    assert [tensor.name for tensor in found.tensors] == [f"tensor {i}" for i in range(len(made))]
    for tensor, array in zip(found.tensors, arrays, strict=True):
        mapped = tensor.map()
        assert (mapped.dtype, mapped.shape) == (array.dtype, array.shape)
        np.testing.assert_array_equal(mapped, array)
        with pytest.raises(ValueError, match="read-only"):
            mapped[...] = 0


@settings(max_examples=100)
@given(cut=st.integers(0, 600), change=st.tuples(st.integers(0, 600), st.integers(0, 255)))
def test_damage_is_said_in_one_way_only(cut, change, path):
    write(path, [np.ones((3, 4), np.float32), np.ones(2, np.float16)], [False, True])
    content = bytearray(path.read_bytes())
    place, byte = change
    if place < len(content):
        content[place] = byte
    path.write_bytes(content[:cut] if cut else content)
    try:
        for tensor in OnnxFile.read(path).tensors:
            tensor.map()
    except ModelError as error:
        message = str(error)
        assert message.startswith(str(path.parent))


@given(content=st.binary(max_size=64))
def test_noise(content, path):
    path.write_bytes(content)
    with pytest.raises(ModelFormatError, match="not an ONNX file"):
        OnnxFile.read(path)


def test_a_tensor_of_another_kind(tmp_path):
    write(tmp_path / "graph.onnx", [np.ones(3, np.int64)], [False])
    (tensor,) = OnnxFile.read(tmp_path / "graph.onnx").tensors
    assert tensor.shape == (3,)
    with pytest.raises(ModelFormatError, match="tensor 0 is neither float32 nor float16"):
        tensor.map()


@pytest.mark.parametrize("location", ["../beside.data", "/etc/hostname", "a\\b"])
def test_values_outside_the_folder(tmp_path, location):
    path = tmp_path / "graph.onnx"
    write(path, [np.ones(3, np.float32)], [True])
    model = onnx.load(path, load_external_data=False)
    model.graph.initializer[0].external_data[0].value = location
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ModelFormatError, match="is not the name of a file beside it"):
        OnnxFile.read(path)


def test_no_file(tmp_path):
    with pytest.raises(ModelNotFoundError, match=r"graph\.onnx: no such file"):
        OnnxFile.read(tmp_path / "graph.onnx")
