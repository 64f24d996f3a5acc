"""The files that tell speakers apart: looked at before a library is that would end the program."""

from __future__ import annotations

import onnx
import pytest
from onnx import helper

import speaker_models
from ark_asr.errors import ModelFormatError, ModelNotFoundError
from ark_asr.models.catalogue import find
from ark_asr.models.home import place
from ark_asr.models.onnx_file import OnnxFile
from ark_asr.models.package import hash_file
from ark_asr.models.receipt import Receipt, ReceivedFile
from ark_asr.models.speakers import EMBEDDING, SEGMENTATION, SpeakerModels
from ark_asr.models.store import list_models, resolve


@pytest.fixture
def folder(tmp_path):
    return speaker_models.write_models(tmp_path / "models")


def change(path, **metadata):
    """Other metadata; ``None`` takes an entry away."""
    model = onnx.load(path)
    before = {entry.key: entry.value for entry in model.metadata_props}
    del model.metadata_props[:]
    after = {**before, **metadata}
    helper.set_model_props(model, {k: v for k, v in after.items() if v is not None})
    onnx.save(model, path)


def test_a_folder(folder):
    found = SpeakerModels.find(folder)
    assert (found.segmentation.name, found.embedding.name) == (
        "segmentation.onnx",
        "embedding.onnx",
    )


def test_metadata_is_what_onnx_reads(folder):
    path = folder / "segmentation.onnx"
    expected = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
    assert OnnxFile.read(path).metadata == expected
    assert len(expected) > 5


@pytest.mark.parametrize(
    ("name", "metadata", "said"),
    [
        ("segmentation", {"window_size": None}, "no window_size in its metadata"),
        ("segmentation", {"num_classes": "seven"}, "no num_classes"),
        ("segmentation", {"num_speakers": "0"}, "no num_speakers"),
        ("segmentation", {"sample_rate": "8000"}, "wants 8000 Hz, not 16000"),
        ("embedding", {"output_dim": "-1"}, "no output_dim"),
        ("embedding", {"framework": None}, "framework is ''"),
        ("embedding", {"framework": "other"}, "framework is 'other', not one of nemo"),
        ("embedding", {"normalize_samples": None}, "no normalize_samples in its metadata"),
        ("embedding", {"language": None}, "no language in its metadata"),
        ("embedding", {"framework": "nemo"}, "no feat_dim, window_size_ms, window_stride_ms in"),
    ],
)
def test_what_sherpa_onnx_would_not_survive_is_refused(folder, name, metadata, said):
    change(folder / f"{name}.onnx", **metadata)
    with pytest.raises(ModelFormatError, match=said):
        SpeakerModels.find(folder)


def test_the_wrong_way_round(folder):
    one, other = folder / "segmentation.onnx", folder / "embedding.onnx"
    one.rename(folder / "x")
    other.rename(one)
    (folder / "x").rename(other)
    with pytest.raises(ModelFormatError, match=r"segmentation\.onnx: is not in sherpa-onnx's form"):
        SpeakerModels.find(folder)


def test_a_file_that_is_missing_or_none(folder):
    (folder / "embedding.onnx").write_bytes(b"\xff" * 50)
    with pytest.raises(ModelFormatError, match="not an ONNX file"):
        SpeakerModels.find(folder)
    (folder / "embedding.onnx").unlink()
    with pytest.raises(ModelNotFoundError, match=r"embedding\.onnx"):
        SpeakerModels.find(folder)


def test_those_of_the_store_are_found_and_are_no_models_to_transcribe_with(
    folder, tmp_path, monkeypatch
):
    monkeypatch.setenv("ARK_ASR_HOME", str(tmp_path / "store"))
    for name, own in ((SEGMENTATION, "segmentation"), (EMBEDDING, "embedding")):
        entry = find(name)
        dest = place(name, entry.layout)
        dest.mkdir(parents=True)
        file = dest / entry.files[0].name
        file.write_bytes((folder / f"{own}.onnx").read_bytes())
        received = ReceivedFile(file.stat().st_size, hash_file(file).sha256, "catalogue")
        Receipt(name, entry.layout, "a/b", "0" * 40, "MIT", {file.name: received}).save(dest)
    found = SpeakerModels.find()
    assert found.segmentation.parent.name == SEGMENTATION
    assert found.embedding.parent.name == EMBEDDING
    assert not {SEGMENTATION, EMBEDDING} & {model.name for model in list_models()}
    with pytest.raises(ModelFormatError, match="it does not transcribe"):
        resolve(SEGMENTATION)
