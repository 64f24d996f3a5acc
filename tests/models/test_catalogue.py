"""The catalogue: what is in it, and that a mistake in it does not go unnoticed."""

from __future__ import annotations

import json

import pytest

from ark_asr.errors import ModelFormatError
from ark_asr.models.catalogue import catalogue, find, is_model_file, is_model_name


def test_the_models_of_the_family_are_there():
    assert [entry.name for entry in catalogue()] == [
        "ark-asr-0.6b", "ark-asr-3b", "ark-asr-0.6b-int8-onnx", "ark-asr-3b-onnx-masterx",
        "ark-asr-3b-onnx-ovos", "audio8-asr-0.1b", "pyannote-segmentation-3.0", "titanet-small",
    ]  # fmt: skip


@pytest.mark.parametrize("owner", ["AutoArk-AI", "Audio8", "Edge0", "edge0"])
@pytest.mark.parametrize("model", ["ARK-ASR-0.6B", "ARK-ASR-3B", "ark-asr-0.6b-int8-onnx"])
def test_every_name_that_the_owner_had_leads_to_the_model(owner, model):
    assert find(f"{owner}/{model}") is find(model.lower())


def test_what_is_known_of_the_checkpoint():
    entry = find("ark-asr-0.6b")
    files = {file.name: file for file in entry.files}
    assert files["model.safetensors"].size == 2_599_020_680
    assert files["model.safetensors"].sha256 is None
    assert "SHA-256 of model.safetensors" in entry.unknown
    assert files["config.json"].sha256.startswith("24d383b9")
    assert entry.revision == "45776b56d58cdfb2e2eb632f7e110f38684633e0"
    assert (entry.layout, entry.runs, len(entry.languages)) == ("checkpoint", True, 19)


def test_one_licence_forbids_commercial_use():
    assert [e.name for e in catalogue() if not e.licence.commercial] == ["audio8-asr-0.1b"]


def test_an_embedding_table_has_the_size_of_its_shape():
    files = {file.name: file for file in find("ark-asr-0.6b-int8-onnx").files}
    assert files["embedding_fp32.data"].size == 163_958 * 896 * 4


def test_what_tells_speakers_apart_is_pinned_by_its_hash():
    helpers = [entry for entry in catalogue() if not entry.transcribes]
    assert [entry.layout for entry in helpers] == ["speaker-segmentation", "speaker-embedding"]
    for entry in helpers:
        (file,) = entry.files
        assert entry.revision
        assert file.sha256
        assert file.size == entry.download_bytes


def test_the_bundle_lies_in_two_folders():
    entry = find("Audio8/Audio8-ASR-0.1B-onnx-runtime")
    assert entry.folders == ("model_bundle", "model_bundle/weights")
    files = {file.name: file for file in entry.files}
    assert files["token_embedding.npy"].size == 128 + 151_936 * 512 * 4  # header, then float32
    assert all(other.folders == ("",) for other in catalogue() if other is not entry)


def test_what_is_not_known_is_said():
    for entry in catalogue():
        vague = [file for file in entry.files if file.sha256 is None]
        assert bool(vague) == bool(entry.unknown)
        assert (entry.revision is None) == entry.unknown.startswith("The revision")


@pytest.mark.parametrize(
    "name",
    ["modeling.py", "pytorch_model.bin", "a.pkl", "a.pt", "a.ckpt", "a.npz", "../a.json",
     "a/b.json", "..\\a.json", ".json", "c:a.json", "a.json\0", "", "run.sh", "/etc/a.json",
     "nul.json", "COM1.onnx", "a\x1b[2J.json", "a\n.json"],
)  # fmt: skip
def test_code_and_paths_are_no_model_files(name):
    assert not is_model_file(name)


@pytest.mark.parametrize("name", ["config.json", "merges.txt", "a.safetensors", "weights.bin",
                                  "encoder.onnx", "encoder.onnx.data", "d.onnx_data",
                                  "token_embedding.npy", "audio_projector.npz"])  # fmt: skip
def test_weights_graphs_and_text_are(name):
    assert is_model_file(name)


@pytest.mark.parametrize("name", ["..", ".", "a/b", "A", "", "-a", "a" * 65, "a\n", "a:b", "a.",
                                  "con", "nul.1", "lpt9"])  # fmt: skip
def test_names_are_safe_as_folders(name):
    assert not is_model_name(name)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": "../tiny"}, "wrong name"),
        ({"revision": "main"}, "wrong revision"),
        ({"revision": 7}, "revision is 7"),
        ({"repositories": []}, "wrong repositories"),
        ({"repositories": ["../x"]}, "wrong repositories"),
        ({"repositories": ["a/b?x=1"]}, "wrong repositories"),
        ({"languages": [1]}, "languages"),
        ({"runs": "yes"}, "true or false"),
        ({"extra": 1}, "extra"),
        ({"memory_bytes": 0}, "sizes"),
        ({"licence": {"spdx": "MIT"}}, "commercial, note"),
        ({"files": []}, "files"),
        ({"folders": []}, "wrong folders"),
        ({"folders": ["../up"]}, "wrong folders"),
        ({"folders": ["/etc"]}, "wrong folders"),
        ({"folders": ["a//b"]}, "wrong folders"),
        ({"folders": [7]}, "wrong folders"),
        ({"folders": "weights"}, "folders is 'weights'"),
        ({"files": ["config.json"]}, "expected an object"),
        ({"files": [{"name": "x.py", "size": None, "sha256": None, "optional": False}]}, "x.py"),
        ({"files": [{"name": "*", "size": None, "sha256": None, "optional": False}]}, "'\\*'"),
        ({"files": [{"name": "a.json", "size": 0, "sha256": None, "optional": False}]}, "size 0"),
        ({"files": [{"name": "a.json", "size": 1, "sha256": "ab", "optional": False}]}, "SHA-256"),
        ({"files": [{"name": "*.json", "size": 1, "sha256": None, "optional": False}]}, "many"),
        ({"files": [{"name": "a.json", "size": None}]}, "optional, sha256"),
    ],
)
def test_a_mistake_is_refused(write_catalogue, make_row, change, said):
    with pytest.raises(ModelFormatError, match=said):
        write_catalogue(make_row(**change))


def test_a_name_may_be_there_once(write_catalogue, make_row):
    with pytest.raises(ModelFormatError, match="tiny is there twice"):
        write_catalogue(make_row(), make_row(aliases=[]))


def test_another_version_is_refused(write_catalogue, make_row, tmp_path):
    write_catalogue(make_row())
    path = tmp_path / "catalogue.json"
    path.write_text(json.dumps({"format_version": 2, "models": []}))
    from ark_asr.models.catalogue import read_catalogue

    with pytest.raises(ModelFormatError, match="version"):
        read_catalogue(path)
