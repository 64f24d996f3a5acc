"""Reading safetensors: exact values, and everything that is refused."""

from __future__ import annotations

import json
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ark_asr.errors import ArkWarning, ModelFormatError, ModelNotFoundError
from ark_asr.models.config import ModelConfig
from ark_asr.models.weights import HEAD, POSITIONS, Weights, tensor_shapes
from checkpoints import bfloat16_bits, config_dict, random_weights, write_safetensors


def write(folder, header, data=b"", name="model.safetensors"):
    text = json.dumps(header).encode() if isinstance(header, dict) else header
    (folder / name).write_bytes(struct.pack("<Q", len(text)) + text + data)
    return folder


def entry(begin, end, shape, dtype="F32"):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


@pytest.mark.parametrize("dtype", ["F32", "F16", "BF16"])
def test_values_equal_those_of_the_official_reader(tmp_path, dtype):
    import torch
    from safetensors.torch import load_file

    rng = np.random.default_rng(0)
    tensors = {
        "b": rng.standard_normal((3, 5)).astype(np.float32),
        "a": np.array([0.0, -0.0, 1e-4, 6e4, 1.0], np.float32),
        "scalar": np.array(2.5, np.float32),
        "empty": np.zeros((0, 4), np.float32),
    }
    write_safetensors(tmp_path / "model.safetensors", tensors, dtype)
    expected = load_file(tmp_path / "model.safetensors")
    weights = Weights.open(tmp_path)
    assert weights.shapes == {name: tuple(t.shape) for name, t in expected.items()}
    for name, tensor in expected.items():
        np.testing.assert_array_equal(weights[name], tensor.to(torch.float32).numpy())


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_bfloat16_is_within_its_precision(value):
    bits = np.uint32(bfloat16_bits(np.array([value]))[0]) << np.uint32(16)
    read = np.array([bits]).view(np.float32)[0]
    assert not np.isfinite(read) or abs(read - value) <= max(abs(value) / 256, 1e-40)


def test_shards_are_read_through_the_index(tmp_path):
    tensors = {f"t{i}": np.full((2, 2), i, np.float32) for i in range(4)}
    names = {
        "t0": "a.safetensors",
        "t1": "a.safetensors",
        "t2": "b.safetensors",
        "t3": "b.safetensors",
    }
    for file in ("a.safetensors", "b.safetensors"):
        part = {name: tensors[name] for name, at in names.items() if at == file}
        write_safetensors(tmp_path / file, part)
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))
    weights = Weights.open(tmp_path)
    assert [path.name for path in weights.files] == ["a.safetensors", "b.safetensors"]
    for name, values in tensors.items():
        np.testing.assert_array_equal(weights[name], values)


@pytest.mark.parametrize("file", ["../secret", "/etc/passwd", "a\\b", "C:x", 7])
def test_an_index_cannot_point_elsewhere(tmp_path, file):
    index = json.dumps({"weight_map": {"t": file}})
    (tmp_path / "model.safetensors.index.json").write_text(index)
    with pytest.raises(ModelFormatError, match="not the name of a file beside it"):
        Weights.open(tmp_path)


def test_a_shard_that_is_missing_or_lacks_a_tensor(tmp_path):
    index = json.dumps({"weight_map": {"t": "a.safetensors"}})
    (tmp_path / "model.safetensors.index.json").write_text(index)
    with pytest.raises(ModelNotFoundError, match=r"a\.safetensors"):
        Weights.open(tmp_path)
    write(tmp_path, {"other": entry(0, 4, [1])}, bytes(4), "a.safetensors")
    with pytest.raises(ModelFormatError, match="lacks t"):
        Weights.open(tmp_path)


BROKEN = {
    "no safetensors file": b"\x05",
    "only its beginning": struct.pack("<Q", 10**11) + b"{}",
    "header is damaged": struct.pack("<Q", 2) + b"{[",
    "not a JSON object": struct.pack("<Q", 2) + b"[]",
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN)
def test_broken_files(tmp_path, content):
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(ModelFormatError, match=r"model\.safetensors: .*safetensors"):
        Weights.open(tmp_path)


WRONG = [
    ({"t": entry(0, 4, [2])}, bytes(4), "offsets of t do not fit its shape"),
    ({"t": entry(0, 4, [-1])}, bytes(4), "not whole numbers"),
    ({"t": entry(0, 4, [True])}, bytes(4), "not whole numbers"),
    ({"t": entry(0, 4, "x")}, bytes(4), "not whole numbers"),
    ({"t": entry(0, 4, [1] * 9)}, bytes(4), "not whole numbers"),
    ({"t": entry(0, 4, [1 << 63])}, bytes(4), "not whole numbers"),
    ({"t": entry(-4, 0, [1])}, bytes(4), "not whole numbers"),
    ({"t": {"dtype": "F32", "shape": [1]}}, bytes(4), "lacks dtype, shape or data_offsets"),
    ({"t": "x"}, bytes(4), "lacks dtype, shape or data_offsets"),
    ({"t": entry(0, 4, [4], "I8")}, bytes(4), "t is 'I8'"),
    ({"t": entry(0, 4, [1])}, bytes(3), "download it again"),
    ({"t": entry(0, 4, [1])}, bytes(5), "download it again"),
    ({"t": entry(0, 4, [1]), "u": entry(2, 6, [1])}, bytes(6), "overlaps"),
    ({"t": entry(0, 4, [1]), "u": entry(8, 12, [1])}, bytes(12), "gap"),
]


@pytest.mark.parametrize(("header", "data", "message"), WRONG)
def test_wrong_headers(tmp_path, header, data, message):
    with pytest.raises(ModelFormatError, match=message):
        Weights.open(write(tmp_path, header, data))


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_in_one_line(tmp_path_factory, content):
    folder = tmp_path_factory.mktemp("fuzz")
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(ModelFormatError) as caught:
        Weights.open(folder)
    assert "\n" not in str(caught.value)


def test_values_that_are_not_finite(tmp_path):
    write_safetensors(tmp_path / "model.safetensors", {"t": np.array([1, np.inf], np.float32)})
    with pytest.raises(ModelFormatError, match="t holds values that are not finite"):
        Weights.open(tmp_path)["t"]


@pytest.mark.parametrize("tied", [True, False])
def test_names_and_shapes_are_compared_with_the_config(tmp_path, tied):
    config = ModelConfig.from_dicts(config_dict(tied=tied))

    def check(tensors):
        write_safetensors(tmp_path / "model.safetensors", tensors)
        weights = Weights.open(tmp_path)
        weights.check(config)

    good = random_weights(config)
    check(good)
    check({name: t for name, t in good.items() if name != POSITIONS})
    headless = {name: t for name, t in good.items() if name != HEAD}
    if tied:
        check(headless)
    else:
        with pytest.raises(ModelFormatError, match=r"missing lm_head\.weight"):
            check(headless)
    with pytest.raises(ModelFormatError, match=r"missing model\.norm\.weight"):
        check({name: t for name, t in good.items() if name != "model.norm.weight"})
    with pytest.raises(ModelFormatError, match=r"model\.norm\.weight is \[3\], expected \[64\]"):
        check(good | {"model.norm.weight": np.zeros(3, np.float32)})
    with pytest.warns(ArkWarning, match="unknown tensors are ignored: surplus"):
        check(good | {"surplus": np.zeros(3, np.float32)})


def test_learned_positions_must_be_there_when_used(tmp_path):
    config = ModelConfig.from_dicts(config_dict(use_rope=False))
    tensors = {n: t for n, t in random_weights(config).items() if n != POSITIONS}
    write_safetensors(tmp_path / "model.safetensors", tensors)
    with pytest.raises(ModelFormatError, match="embed_positions"):
        Weights.open(tmp_path).check(config)


def test_the_published_model_has_782_tensors():
    data = config_dict(
        size=1280, encoder_layers=32, encoder_heads=20, encoder_ffn=5120,
        hidden=896, layers=24, heads=14, kv_heads=2, ffn=4864,
    )  # fmt: skip
    config = ModelConfig.from_dicts(data | {"vocab_size": 163_958})
    shapes = tensor_shapes(config)
    assert len(shapes) == 782
    assert sum(int(np.prod(shape)) for shape in shapes.values()) == 1_299_463_168


def test_a_shape_of_numbers_without_end_is_not_multiplied(tmp_path):
    """Two thousand numbers of four thousand digits would take minutes."""
    shape = ",".join(["9" * 4000] * 2000)
    header = f'{{"t": {{"dtype": "F32", "data_offsets": [0, 4], "shape": [{shape}]}}}}'
    with pytest.raises(ModelFormatError, match="not whole numbers") as caught:
        Weights.open(write(tmp_path, header.encode(), bytes(4)))
    assert len(str(caught.value)) < 1000
