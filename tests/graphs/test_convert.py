"""Building packages: what is refused, and that half a package never appears."""

from __future__ import annotations

import json
import os
import shutil

import numpy as np
import pytest

from ark_asr.errors import ArkWarning, ModelFormatError, OptionError
from ark_asr.graphs.convert import build_package
from ark_asr.models.config import ModelConfig
from ark_asr.models.package import DATA_FILE, Manifest, verify_package
from ark_asr.models.tokenizer import Tokenizer
from checkpoints import random_weights, write_checkpoint, write_safetensors


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("source")
    write_checkpoint(folder, dtype="BF16")
    return folder


def test_a_package_says_what_it_is(source, tmp_path):
    seen = []
    made = build_package(
        source, tmp_path / "made", precision="int8", name="tiny", licence="CC0-1.0",
        progress=seen.append,
    )  # fmt: skip
    read = verify_package(tmp_path / "made")
    assert read == made
    assert (read.name, read.precision, read.licence) == ("tiny", "int8", "CC0-1.0")
    assert seen == sorted(seen)
    assert seen[-1] == 1.0
    suppressed = Tokenizer.load(source).suppressed_ids
    vocabulary = ModelConfig.load(source).decoder.vocab_size
    assert sorted([*read.output_ids, *suppressed]) == list(range(vocabulary))
    assert {path.name for path in tmp_path.iterdir()} == {"made"}


def test_graphs_share_one_file_of_whole_pages(source, tmp_path):
    import onnx

    build_package(source, tmp_path / "made", precision="fp32")
    spans = []
    for name in ("encoder.onnx", "decoder.onnx"):
        model = onnx.load(tmp_path / "made" / name, load_external_data=False)
        for tensor in model.graph.initializer:
            place = {entry.key: entry.value for entry in tensor.external_data}
            if place:
                assert place["location"] == DATA_FILE
                assert int(place["offset"]) % 4096 == 0
                spans.append((int(place["offset"]), int(place["length"])))
    assert spans
    spans.sort()
    ends = [offset + length for offset, length in spans]
    assert all(end <= offset for end, (offset, _) in zip(ends, spans[1:], strict=False))
    assert ends[-1] <= (tmp_path / "made" / DATA_FILE).stat().st_size


def test_the_runtime_is_told_the_shapes_it_cannot_infer(source, tmp_path):
    """Without them it took twice as long to open an encoder of the published size."""
    import onnx

    build_package(source, tmp_path / "made", precision="int8")
    graph = onnx.load(tmp_path / "made" / "encoder.onnx", load_external_data=False).graph
    told = {value.name for value in (*graph.value_info, *graph.output)}
    matrices = [
        node.output[0]
        for node in graph.node
        if node.op_type == "Reshape" and node.input[1] != "int64 [-1]"
    ]
    assert matrices
    assert told.issuperset(matrices)


def test_a_package_is_on_the_disk_before_it_has_its_name(source, tmp_path, monkeypatch):
    flushed, true_sync = set(), os.fsync
    monkeypatch.setattr(
        os, "fsync", lambda number: (flushed.add(os.fstat(number).st_ino), true_sync(number))
    )
    build_package(source, tmp_path / "package")
    assert {one.stat().st_ino for one in (tmp_path / "package").iterdir()} <= flushed


def test_an_existing_folder_is_kept_unless_asked(source, tmp_path):
    (tmp_path / "made").mkdir()
    with pytest.raises(OptionError, match="exists already"):
        build_package(source, tmp_path / "made")
    build_package(source, tmp_path / "made", overwrite=True)
    assert Manifest.load(tmp_path / "made").precision == "int8"


def test_only_a_package_is_replaced(source, tmp_path):
    """One wrong word would else delete whatever stands there: the source itself, a home folder."""
    own = tmp_path / "own"
    shutil.copytree(source, own / "model")
    (own / "notes.txt").write_text("dear")
    before = sorted(own.rglob("*"))
    for dest, why in (
        (own / "model", "the source is in it"),
        (own, "the source is in it"),
        (own / "notes.txt", "is a file"),
    ):
        with pytest.raises(OptionError, match=why):
            build_package(own / "model", dest, overwrite=True)
    with pytest.raises(OptionError, match="is not a package, so it is not replaced"):
        build_package(source, own, overwrite=True)
    assert sorted(own.rglob("*")) == before


def test_a_place_that_cannot_be_written_is_said(source, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("x")
    with pytest.raises(OptionError, match=r"file.made: the package cannot be made"):
        build_package(source, tmp_path / "file" / "made")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("ark_asr.graphs.convert.shutil.copyfile", full)
    with pytest.raises(OptionError, match=r"made: No space left on device"):
        build_package(source, tmp_path / "made")
    assert {path.name for path in tmp_path.iterdir()} == {"file"}


def test_what_came_in_the_meantime_is_kept(source, tmp_path):
    made = tmp_path / "made"

    def other(share):
        if share == 1:
            made.mkdir()
            (made / "notes.txt").write_text("dear")

    with pytest.raises(OptionError, match="exists already"):
        build_package(source, made, progress=other)
    assert [path.name for path in made.iterdir()] == ["notes.txt"]


def test_a_failure_leaves_nothing(source, tmp_path):
    bad = tmp_path / "bad"
    shutil.copytree(source, bad)
    tensors = random_weights(ModelConfig.load(bad))
    tensors["model.layers.1.mlp.up_proj.weight"][0, 0] = np.nan
    write_safetensors(bad / "model.safetensors", tensors)
    with pytest.raises(ModelFormatError, match=r"up_proj\.weight holds values that are not finite"):
        build_package(bad, tmp_path / "made")
    assert {path.name for path in tmp_path.iterdir()} == {"bad"}


def test_head_dim_that_the_runtime_cannot_do(source, tmp_path):
    write_checkpoint(tmp_path / "odd", head_dim=12)
    with pytest.raises(ModelFormatError, match="head_dim is 12"):
        build_package(tmp_path / "odd", tmp_path / "made")


def test_unknown_precision(source, tmp_path):
    with pytest.raises(OptionError, match="'int3' is not known"):
        build_package(source, tmp_path / "made", precision="int3")


def test_unknown_tensors_warn(source, tmp_path):
    odd = tmp_path / "odd"
    shutil.copytree(source, odd)
    tensors = random_weights(ModelConfig.load(odd)) | {"extra": np.zeros(2, np.float32)}
    write_safetensors(odd / "model.safetensors", tensors)
    with pytest.warns(ArkWarning, match="unknown tensors are ignored: extra"):
        build_package(odd, tmp_path / "made")


def test_max_positions_is_capped_by_the_checkpoint(tmp_path):
    write_checkpoint(tmp_path / "short", max_positions=64)
    assert build_package(tmp_path / "short", tmp_path / "made").max_positions == 64
    assert json.loads((tmp_path / "made" / "ark_asr.json").read_text())["max_positions"] == 64


@pytest.mark.parametrize("value", [7e4, -1e38])
def test_embeddings_too_large_for_float16(tmp_path, value):
    """They would become infinite, and every answer of the package with them."""
    config = write_checkpoint(tmp_path / "source")
    tensors = random_weights(config)
    tensors["model.embed_tokens.weight"][5, 3] = value
    write_safetensors(tmp_path / "source" / "model.safetensors", tensors)
    with pytest.raises(ModelFormatError, match=r"embed_tokens\.weight holds .*, too large for flo"):
        build_package(tmp_path / "source", tmp_path / "made")
    assert {path.name for path in tmp_path.iterdir()} == {"source"}
    build_package(tmp_path / "source", tmp_path / "made", precision="fp32")
