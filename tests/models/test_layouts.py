"""Layouts told apart by the files of a folder."""

from __future__ import annotations

from typing import get_args

import pytest

from ark_asr.errors import ModelFormatError, ModelNotFoundError
from ark_asr.models.layouts import LAYOUTS, Kind, layout_of

EXAMPLES = {
    "package": "ark_asr.json",
    "checkpoint": "model.safetensors config.json",
    "llm-kv": "llm_kv_cpu_fp32_int8.onnx audio_encoder_whisper_int8.onnx "
    "audio_encoder_adapter_int8.onnx embedding_fp32.onnx config.json",
    "speech-llm": "encoder_int8.onnx embed_tokens_int8.onnx decoder_int8.onnx config.json "
    "vocab.json",
    "audio8": "lm_cache_prefill_int8.onnx lm_cache_decode_int8.onnx audio_hidden_int8.onnx "
    "metadata.json tokenizer.json",
}


def make(folder, names):
    for name in names.split():
        (folder / name).touch()
    return folder


def test_every_kind_has_one_layout_and_one_example():
    assert [layout.kind for layout in LAYOUTS] == list(get_args(Kind)) == list(EXAMPLES)


@pytest.mark.parametrize("kind", EXAMPLES)
def test_each_is_told_by_its_files(kind, tmp_path):
    assert layout_of(make(tmp_path, EXAMPLES[kind])).kind == kind


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.kind)
def test_what_is_missing_is_named(layout, tmp_path):
    for needed in layout.needs:
        folder = tmp_path / needed.replace("*", "")
        folder.mkdir()
        make(folder, EXAMPLES[layout.kind])
        for path in folder.glob(needed):
            path.unlink()
        with pytest.raises(ModelFormatError) as caught:
            layout_of(folder)
        assert str(caught.value) == f"{folder}: is a {layout.kind}, but has no {needed}"


def test_nothing_known(tmp_path):
    (tmp_path / "model.safetensors").mkdir()  # a folder is no file
    with pytest.raises(ModelFormatError, match=r"not a model folder.*ark_asr\.json.*llm_kv"):
        layout_of(make(tmp_path, "config.json tokenizer.json"))


def test_no_folder(tmp_path):
    (tmp_path / "file").touch()
    for name, found in (("file", "not a folder"), ("nothing", "not there")):
        with pytest.raises(ModelNotFoundError, match=rf"{name}: {found}$"):
            layout_of(tmp_path / name)


def test_two_at_once(tmp_path):
    make(tmp_path, EXAMPLES["checkpoint"])
    with pytest.raises(ModelFormatError, match="is checkpoint and llm-kv at once"):
        layout_of(make(tmp_path, EXAMPLES["llm-kv"]))
