"""Names and folders of models."""

from __future__ import annotations

import pytest

from ark_asr.errors import ModelFormatError, ModelNotFoundError
from ark_asr.graphs.convert import build_package
from ark_asr.models import store
from checkpoints import write_checkpoint


@pytest.fixture
def embedded(tmp_path, monkeypatch):
    """A program that came with one model, named as the default one."""
    write_checkpoint(tmp_path / "source", encoder_layers=1, layers=1)
    build_package(tmp_path / "source", tmp_path / "data" / "ark-mini", name="ark-mini")
    monkeypatch.setattr(store, "_EMBEDDED", tmp_path / "data")
    return tmp_path


def test_the_default_model_came_with_the_program(embedded):
    found = store.resolve(None)
    assert found == store.resolve("ark-mini") == store.list_models()[0]
    assert (found.name, found.kind, found.precision, found.embedded) == (
        "ark-mini", "package", "int8", True,
    )  # fmt: skip
    assert found.size > 10_000


def test_folders_are_told_apart_by_content(embedded):
    found = store.resolve(embedded / "source")
    assert (found.name, found.kind, found.precision) == ("source", "checkpoint", None)
    assert store.resolve(str(embedded / "data" / "ark-mini")).kind == "package"


def test_a_name_wins_over_a_folder(embedded, monkeypatch):
    (embedded / "ark-mini").mkdir()
    monkeypatch.chdir(embedded)
    assert store.resolve("ark-mini").embedded
    with pytest.raises(ModelFormatError, match="not a model folder"):
        store.resolve("./ark-mini")


def test_what_is_not_there(embedded, tmp_path):
    with pytest.raises(ModelNotFoundError, match=r"no model 'whisper'.*\(ark-mini\)"):
        store.resolve("whisper")
    (tmp_path / "file").write_text("x")
    with pytest.raises(ModelNotFoundError, match="is a file"):
        store.resolve(tmp_path / "file")
    (embedded / "source" / "model.safetensors").unlink()
    with pytest.raises(ModelFormatError, match=r"none of .*model\.safetensors"):
        store.resolve(embedded / "source")


def test_no_model_at_all(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "_EMBEDDED", tmp_path)
    assert store.list_models() == []
    with pytest.raises(ModelNotFoundError, match="none is installed"):
        store.resolve()
