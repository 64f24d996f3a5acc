from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ark_asr.errors import ModelFormatError, OptionError
from ark_asr.evaluation.compare.base import FAMILIES
from ark_asr.evaluation.compare.contenders import known, parse, parse_one, read_known
from ark_asr.models.catalogue import catalogue


@pytest.mark.parametrize(
    ("spec", "label", "family", "place", "precision"),
    [
        ("ark-mini", "ark-mini", "ark", "ark-mini", ""),
        ("ark-asr-0.6b:int8", "ark-asr-0.6b:int8", "ark", "ark-asr-0.6b:int8", ""),
        ("mine=./mine", "mine", "ark", "./mine", ""),
        ("whisper-large-v3", "whisper-large-v3", "whisper", "openai/whisper-large-v3", "fp32"),
        ("whisper-large-v3@bf16", "whisper-large-v3@bf16", "whisper", "openai/whisper-large-v3",
         "bf16"),
        ("faster-whisper:some/where@int8", "faster-whisper:some/where@int8", "faster-whisper",
         "some/where", "int8"),
        ("http://127.0.0.1:8000/v1#m", "http://127.0.0.1:8000/v1#m", "server",
         "http://127.0.0.1:8000/v1#m", ""),
        ("lab=https://user@host/v1?a=b", "lab", "server", "https://user@host/v1?a=b", ""),
        ("server:http://h/v1", "server:http://h/v1", "server", "http://h/v1", ""),
    ],
)  # fmt: skip
def test_what_is_asked_for(spec, label, family, place, precision):
    found = parse_one(spec)
    assert (found.label, found.family.name, found.place, found.precision) == (
        label, family, place, precision,
    )  # fmt: skip


def test_a_folder_is_called_by_its_name(tmp_path):
    folder = tmp_path / "my whisper"
    folder.mkdir()
    found = parse_one(f"whisper:{folder}@bf16")
    assert (found.label, found.place) == ("whisper:my whisper@bf16", str(folder))
    assert found.slug == "whisper_my_whisper_bf16"


@given(st.text(st.characters(codec="utf-8", exclude_characters="=/:@#\\\n"), min_size=1))
def test_any_label_is_kept_and_makes_a_file_name(label):
    found = parse_one(f"{label}=moonshine:a/b")
    assert (found.label, found.place) == (label, "a/b")
    assert found.slug
    assert not set(found.slug) & set('/\\:*?"<>|')


@pytest.mark.parametrize(
    ("specs", "message"),
    [
        (["ark-mini", "ark-mini"], "two systems are called ark-mini; name one of them"),
        (["a b=ark-mini", "a_b=whisper-tiny"], "two systems are called"),
        (["whisper-tiny@int4"], "precision 'int4' is not known; whisper takes one of fp32, bf16"),
        (["ark-mini@int8"], "ark takes none"),
    ],
)
def test_what_makes_no_sense(specs, message):
    with pytest.raises(OptionError, match=message):
        parse(specs)


def test_our_own_models_are_as_in_their_catalogue():
    for entry in catalogue():
        one = known().get(entry.name)
        if one is None:
            assert not (entry.transcribes and entry.runs), f"{entry.name} is missing"
            continue
        assert one.facts.licence == entry.licence.spdx
        assert one.facts.languages == entry.languages
        assert entry.licence.note in one.facts.note


def test_what_a_family_fetches_cannot_hold_code():
    for family in FAMILIES.values():
        for pattern in family.files:
            # CTranslate2's own format, which holds tables only.
            assert pattern == "model.bin" or pattern.rsplit(".", 1)[-1] in {
                "json", "txt", "jinja", "model", "safetensors", "onnx", "data", "onnx_data",
            }  # fmt: skip


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"family": "siri"}, "family 'siri' is not known"),
        ({"gated": "maybe"}, "wrong gated"),
        ({"colour": 1}, "must be an object with"),
    ],
)
def test_a_wrong_file_names_the_place(tmp_path, change, message):
    one = {"name": "a", "family": "whisper", "place": "b", "licence": None, "languages": None,
           "gated": None, "remote_code": None, "note": ""}  # fmt: skip
    path = tmp_path / "known.json"
    path.write_text(json.dumps({"format_version": 1, "systems": [one, one | change]}))
    with pytest.raises(ModelFormatError, match=f"system 1: {message}"):
        read_known(path)
    path.write_text(json.dumps({"format_version": 2, "systems": []}))
    with pytest.raises(ModelFormatError, match="format version"):
        read_known(path)
