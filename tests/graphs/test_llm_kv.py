"""The publisher's layout to ours: graphs of PyTorch's exporter, ONNX Runtime's quantiser."""

from __future__ import annotations

import json
import logging
import random
import shutil
from functools import cache

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from onnxruntime.quantization import QuantType

from ark_asr import load
from ark_asr.errors import ArkWarning, ModelFormatError, ModelNotFoundError
from ark_asr.graphs.convert import build_package
from ark_asr.graphs.quantize import Int8Matrix, floats
from ark_asr.graphs.sources import open_original
from ark_asr.models.weights import POSITIONS, Weights
from checkpoints import write_checkpoint
from llm_kv_folder import write_llm_kv

ENCODER, DECODER = "audio_encoder_whisper_int8.onnx", "llm_kv_cpu_fp32_int8.onnx"
GEOMETRIES = {"plain": {}, "one_kv_head_untied": {"head_dim": 32, "kv_heads": 1, "tied": False}}
# Geometry, and how it is quantised if it is.
VARIANTS = {
    "fp32": ("plain", None),
    "int8": ("plain", {}),
    "one_kv_head_untied": ("one_kv_head_untied", {}),
    "one_scale_per_weight": ("plain", {"per_channel": False}),
    "uint8_with_zero_points": ("plain", {"weight": QuantType.QUInt8}),
}


@pytest.fixture(scope="module")
def torch_export():
    logging.getLogger().addFilter(_quiet)
    yield pytest.importorskip("torch_export")
    logging.getLogger().removeFilter(_quiet)


def _quiet(record):
    return "pre-processing" not in record.getMessage()


@pytest.fixture(scope="module")
def exported(torch_export, tmp_path_factory):
    """Checkpoint and package of each variant, made once."""

    @cache
    def in_float(geometry):
        folder = tmp_path_factory.mktemp(geometry)
        write_checkpoint(folder / "source", **GEOMETRIES[geometry])
        torch_export.export_package(folder / "source", folder / "package")
        return folder / "source", folder / "package"

    @cache
    def get(name):
        geometry, how = VARIANTS[name]
        source, package = in_float(geometry)
        if how is None:
            return source, package
        made = tmp_path_factory.mktemp(name) / "package"
        torch_export.quantize_package(package, made, **how)
        return source, made

    return get


@pytest.mark.parametrize("name", VARIANTS)
def test_every_weight_is_found(exported, name):
    source, package = exported(name)
    wanted, found = Weights.open(source), open_original(package)
    assert found.int8 == (name != "fp32")
    for tensor in set(wanted.shapes) - {POSITIONS}:
        stored, expected = found.weights.matrix(tensor), wanted[tensor]
        if isinstance(stored, Int8Matrix):
            error = np.abs(stored.floats() - expected)
            # A zero point is rounded too, and what it cuts off at the ends is another half step.
            assert (error <= stored.scales[:, None] * (0.501 if stored.zeros is None else 1)).all()
        else:
            np.testing.assert_array_equal(stored, expected)
        np.testing.assert_array_equal(found.weights[tensor], floats(stored))
    assert isinstance(found.weights.matrix("model.layers.1.mlp.up_proj.weight"), Int8Matrix) == (
        name != "fp32"
    )


@pytest.mark.parametrize("growing", [False, True])
def test_every_weight_is_found_in_graphs_of_other_hands(tmp_path, growing):
    write_checkpoint(tmp_path / "source", tied=False)
    write_llm_kv(tmp_path / "source", tmp_path / "package", growing=growing)
    wanted, found = Weights.open(tmp_path / "source"), open_original(tmp_path / "package")
    for tensor in set(wanted.shapes) - {POSITIONS}:
        np.testing.assert_array_equal(found.weights[tensor], wanted[tensor], err_msg=tensor)


def stored(path):
    """Tensors of a graph by name."""
    return {t.name: numpy_helper.to_array(t) for t in onnx.load(path).graph.initializer}


@pytest.mark.parametrize("name", ["int8", "uint8_with_zero_points"])
def test_int8_weights_are_taken_over_as_they_are(exported, name, tmp_path):
    _, package = exported(name)
    build_package(package, tmp_path / "made")
    for theirs, ours in ((ENCODER, "encoder.onnx"), (DECODER, "decoder.onnx")):
        given = [v for k, v in stored(package / theirs).items() if k.endswith("_quantized")]
        given = {frozenset_of_columns(v) for v in given if v.shape[0] != v.shape[1] or len(v) > 32}
        taken = stored(tmp_path / "made" / ours)
        zeros = {k.removesuffix(".zero"): v for k, v in taken.items() if k.endswith(".zero")}
        assert bool(zeros) == (name != "int8")
        columns = set().union(*given)
        for key, values in taken.items():
            # The adapter is a graph of its own there, and convolutions are float32.
            if key.endswith(".int8") and "adapting" not in key and "conv2" not in key:
                # Ours join queries, keys and values, and leave rows of the head out.
                assert frozenset_of_columns(values) <= columns, key


def frozenset_of_columns(values):
    """Columns as bytes; unsigned ones moved to where signed ones are."""
    values = (values ^ 0x80).view(np.int8) if values.dtype == np.uint8 else values
    return frozenset(column.tobytes() for column in np.ascontiguousarray(values.T))


def test_the_order_of_nodes_and_the_names_do_not_matter(exported, tmp_path):
    source, package = exported("int8")
    expected = open_original(package).weights
    shuffled = tmp_path / "shuffled"
    shutil.copytree(package, shuffled)
    for seed, name in enumerate((ENCODER, DECODER)):
        model = onnx.load(shuffled / name)
        reorder(model.graph, random.Random(seed))
        rename(model.graph)
        onnx.save(model, shuffled / name)
    found = open_original(shuffled).weights
    for name in set(Weights.open(source).shapes) - {POSITIONS}:
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name)


def reorder(graph, chance):
    """Any order in which every node comes after those it needs."""
    waiting, known, order = list(graph.node), {v.name for v in graph.input}, []
    known |= {t.name for t in graph.initializer} | {""}
    while waiting:
        ready = [node for node in waiting if known.issuperset(node.input)]
        node = chance.choice(ready)
        order.append(node)
        known.update(node.output)
        waiting.remove(node)
    del graph.node[:]
    graph.node.extend(order)


def rename(graph):
    names = {t.name: f"t{i}" for i, t in enumerate(graph.initializer)}
    for tensor in graph.initializer:
        tensor.name = names[tensor.name]
    for node in graph.node:
        node.name = ""
        for i, name in enumerate(node.input):
            node.input[i] = names.get(name, name)


def test_other_precisions_say_that_the_source_is_rounded(exported, tmp_path):
    _, package = exported("int8")
    with pytest.warns(ArkWarning, match="its weights are int8; int4 keeps their rounding errors"):
        made = build_package(package, tmp_path / "made", precision="int4")
    assert made.precision == "int4"


def test_same_text_as_the_package_itself(torch_export, root, tmp_path):
    checkpoint = root / "checkpoints" / "ark-mini"
    torch_export.export_package(checkpoint, tmp_path / "float", positions=512)
    torch_export.quantize_package(tmp_path / "float", tmp_path / "package")
    build_package(tmp_path / "package", tmp_path / "made")
    # The minute takes long with a cache of fixed length.
    sounds = [root / "samples" / name for name in ("hello.flac", "numbers.flac")]
    texts = []
    for folder in ("package", "made"):
        with load(tmp_path / folder, threads=2) as model:
            texts.append([model.transcribe(sound).text for sound in sounds])
    assert texts[0] == texts[1]
    assert all(texts[0])


def changed_config(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def changed_graph(folder, name, change):
    model = onnx.load(folder / name)
    change(model.graph)
    onnx.save(model, folder / name)


def without_softmax(graph):
    next(node for node in graph.node if node.op_type == "Softmax").op_type = "LogSoftmax"


def without_bias(graph):
    """The value projection of the first layer loses its bias."""
    add = next(n for n in graph.node if n.op_type == "Add" and any("v_proj" in x for x in n.input))
    (kept,) = (x for x in add.input if "v_proj.bias" not in x)
    for node in graph.node:
        for i, name in enumerate(node.input):
            if name == add.output[0]:
                node.input[i] = kept
    graph.node.remove(add)


def with_nan(graph):
    scale = next(t for t in graph.initializer if t.name.endswith("_scale") and t.dims)
    values = numpy_helper.to_array(scale).copy()
    values[0] = np.nan
    scale.CopyFrom(numpy_helper.from_array(values, scale.name))


def static(graph):
    next(n for n in graph.node if n.op_type == "DynamicQuantizeLinear").op_type = "QuantizeLinear"


def without_inputs(graph):
    del next(n for n in graph.node if n.op_type == "MatMulInteger").input[1:]


def without_values(graph):
    next(t for t in graph.initializer if t.name.endswith("_quantized")).raw_data = b"1"


@pytest.mark.parametrize(
    ("graph", "change", "said"),
    [
        (ENCODER, without_softmax, "has 1 attentions, expected 2"),
        (ENCODER, without_bias, r"no audio_encoder.whisper.layers.0.self_attn.v_proj.bias"),
        (DECODER, with_nan, "are not finite"),
        (DECODER, static, "is not quantised at run time"),
        (DECODER, without_inputs, "is damaged"),
        (ENCODER, without_values, "is damaged"),
    ],
)
def test_a_graph_that_is_built_otherwise_is_refused(exported, tmp_path, graph, change, said):
    shutil.copytree(exported("int8")[1], tmp_path / "odd")
    changed_graph(tmp_path / "odd", graph, change)
    with pytest.raises(ModelFormatError, match=said) as caught:
        build_package(tmp_path / "odd", tmp_path / "made")
    assert len(str(caught.value).splitlines()) == 1
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"intermediate_size": 88}, "linear layers of the sizes in config.json, expected 15"),
        ({"use_rope": False}, "learned positions"),
    ],
)
def test_numbers_that_do_not_fit_are_refused(exported, tmp_path, changes, said):
    shutil.copytree(exported("int8")[1], tmp_path / "odd")
    changed_config(tmp_path / "odd", **changes)
    with pytest.raises(ModelFormatError, match=said):
        build_package(tmp_path / "odd", tmp_path / "made")


def test_files_that_are_no_graphs(exported, tmp_path):
    shutil.copytree(exported("int8")[1], tmp_path / "odd")
    (tmp_path / "odd" / ENCODER).write_bytes(b"\xff" * 100)
    with pytest.raises(ModelFormatError, match="not an ONNX graph"):
        open_original(tmp_path / "odd")
    (tmp_path / "odd" / "embedding_fp32.data").unlink()
    with pytest.raises(ModelNotFoundError, match=r"embedding_fp32\.data"):
        open_original(tmp_path / "odd")


def test_layouts_that_cannot_be_converted(tmp_path):
    write_checkpoint(tmp_path / "odd")
    (tmp_path / "odd" / "model.safetensors").unlink()
    for name in ("encoder.onnx", "decoder.onnx", "embed_tokens.onnx", "vocab.json"):
        (tmp_path / "odd" / name).touch()
    with pytest.raises(ModelFormatError, match="is a speech-llm; packages are made of checkpoints"):
        build_package(tmp_path / "odd", tmp_path / "made")
