"""What is read from a folder and written to one, and what never: its code."""

from __future__ import annotations

import json
import re
import shutil
import socket
import warnings

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoProcessor,
    AutoTokenizer,
    pipeline,
)

from ark_asr.errors import ArkWarning, ModelFormatError
from ark_asr.modeling.transformers import (
    ArkasrConfig,
    ArkasrForConditionalGeneration,
    ArkasrPipeline,
    ArkasrProcessor,
)
from ark_asr.models.config import ModelConfig
from ark_asr.models.tokenizer import Tokenizer
from ark_asr.models.weights import Weights, tensor_shapes
from checkpoints import random_weights, write_safetensors
from conversations import GEOMETRIES, checkpoint


@pytest.mark.parametrize("trust", [{}, {"trust_remote_code": False}, {"trust_remote_code": True}])
def test_code_of_a_folder_is_not_run_and_that_is_said(with_code, trust, monkeypatch):
    folder, mark = with_code
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("a question was asked"))
    for auto, kind in (
        (AutoConfig, ArkasrConfig),
        (AutoProcessor, ArkasrProcessor),
        (AutoModelForCausalLM, ArkasrForConditionalGeneration),
    ):
        with pytest.warns(
            ArkWarning, match=re.escape(f"{folder}: names code of its own (evil.py)")
        ):
            assert type(auto.from_pretrained(folder, **trust)) is kind
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ArkWarning)
        pipe = pipeline("automatic-speech-recognition", model=str(folder))
        assert type(pipe) is ArkasrPipeline
        AutoTokenizer.from_pretrained(folder)
    assert not mark.exists()


def test_the_code_of_these_tests_would_run_elsewhere(with_code):
    """The trap works: transformers runs it for a type of model that nobody registered."""
    folder, mark = with_code
    data = json.loads((folder / "config.json").read_text()) | {"model_type": "other"}
    (folder / "config.json").write_text(json.dumps(data))
    with pytest.raises(AttributeError):  # Evil is no configuration, but by then its code has run
        AutoConfig.from_pretrained(folder, trust_remote_code=True)
    assert mark.exists()


def test_the_warning_is_shown_once(with_code):
    folder, _ = with_code
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("default", ArkWarning)
        for _ in range(3):
            AutoConfig.from_pretrained(folder)
    assert len(seen) == 1


def test_only_safetensors_are_read(tiny, tmp_path):
    folder = tmp_path / "pickled"
    shutil.copytree(tiny, folder)
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(OSError, match=r"model\.safetensors"):
        AutoModelForCausalLM.from_pretrained(folder)


def test_weights_that_are_missing_or_not_finite_are_refused(tmp_path):
    folder = checkpoint(tmp_path / "model")
    tensors = random_weights(ModelConfig.load(folder))
    norm = tensors.pop("model.norm.weight")
    write_safetensors(folder / "model.safetensors", tensors)
    with pytest.raises(ModelFormatError, match=r"model: lacks model\.norm\.weight"):
        AutoModelForCausalLM.from_pretrained(folder)
    write_safetensors(folder / "model.safetensors", tensors | {"model.norm.weight": norm * np.nan})
    with pytest.raises(ModelFormatError, match=r"model\.norm\.weight holds values that are not"):
        AutoModelForCausalLM.from_pretrained(folder)


@pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES)
def test_saving_writes_the_published_layout(tmp_path, geometry):
    folder, saved = checkpoint(tmp_path / "model", **geometry), tmp_path / "saved"
    AutoModelForCausalLM.from_pretrained(folder).save_pretrained(saved)
    AutoProcessor.from_pretrained(folder).save_pretrained(saved)
    before, after = ModelConfig.load(folder), ModelConfig.load(saved)
    assert after == before
    assert Weights.open(saved).shapes == tensor_shapes(before)  # the tied head, too
    for name in tensor_shapes(before):
        np.testing.assert_array_equal(Weights.open(saved)[name], Weights.open(folder)[name])
    assert Tokenizer.load(saved).prompt(3) == Tokenizer.load(folder).prompt(3)
    assert not list(saved.glob("*.py"))
    assert "auto_map" not in (saved / "config.json").read_text()
    again = AutoModelForCausalLM.from_pretrained(saved)
    assert (again.lm_head.weight is again.model.embed_tokens.weight) is before.decoder.tied_head
    assert AutoProcessor.from_pretrained(saved).merge_factor == before.merge_factor


def test_saving_what_was_published_with_code_names_none(with_code, tmp_path):
    folder, _ = with_code
    for auto in (AutoProcessor, AutoModelForCausalLM):
        with pytest.warns(ArkWarning):
            loaded = auto.from_pretrained(folder)
        loaded.save_pretrained(tmp_path / "saved")
    for file in ("config.json", "preprocessor_config.json", "processor_config.json"):
        assert "evil" not in (tmp_path / "saved" / file).read_text()


def test_a_folder_is_loaded_without_the_network(tiny, monkeypatch):
    def opened(*_args, **_kwargs):
        pytest.fail("a socket was opened")

    for name in ("socket", "create_connection", "getaddrinfo"):
        monkeypatch.setattr(socket, name, opened)
    pipeline("automatic-speech-recognition", model=str(tiny))
    AutoProcessor.from_pretrained(tiny)
