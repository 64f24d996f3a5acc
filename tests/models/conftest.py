"""A hub on loopback with one tiny model, and a catalogue that knows it."""

from __future__ import annotations

import hashlib
import json

import pytest

from ark_asr.graphs.convert import build_package
from ark_asr.models import catalogue, hub
from checkpoints import write_checkpoint
from hubserver import COMMIT, FakeHub

FILES = ("config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors")


@pytest.fixture(scope="session")
def published(tmp_path_factory):
    """The files of a tiny published checkpoint, and code beside them."""
    folder = tmp_path_factory.mktemp("published")
    write_checkpoint(folder, encoder_layers=1, layers=1)
    content = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert set(content) == set(FILES)
    return {**content, "modeling_tiny.py": b"raise SystemExit\n", "README.md": b"# Tiny\n"}


@pytest.fixture(scope="session")
def built(tmp_path_factory, published):
    """An int8 package of it, called tiny."""
    folder = tmp_path_factory.mktemp("built")
    (folder / "tiny").mkdir()
    for name in FILES:
        (folder / "tiny" / name).write_bytes(published[name])
    build_package(folder / "tiny", folder / "package", licence="Apache-2.0")
    return folder / "package"


@pytest.fixture
def server(monkeypatch, published, tmp_path):
    """The hub, through HF_ENDPOINT as a user would name it."""
    fake = FakeHub()
    fake.repositories["New/tiny"] = dict(published)
    fake.renamed["Old/tiny"] = "New/tiny"
    monkeypatch.setenv("HF_ENDPOINT", fake.endpoint)
    monkeypatch.setenv("ARK_ASR_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HUB_DOWNLOAD_TIMEOUT", "60")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "127.0.0.1,localhost")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub-cache"))
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    monkeypatch.setattr(hub, "PAUSE", 0.0)
    yield fake
    fake.close()


def row(**changes):
    """A model as the catalogue file has it."""
    files = [{"name": n, "size": None, "sha256": None, "optional": False} for n in FILES]
    files.append({"name": "merges.txt", "size": None, "sha256": None, "optional": True})
    return {
        "name": "tiny", "aliases": ["Old/Tiny-Alias"], "description": "A tiny model",
        "layout": "checkpoint", "runs": True, "repositories": ["New/tiny", "Older/tiny"],
        "revision": COMMIT, "licence": {"spdx": "Apache-2.0", "commercial": True, "note": ""},
        "languages": ["en"], "download_bytes": 1000, "memory_bytes": 1000,
        "memory_basis": "a guess", "files": files, "unknown": "",
    } | changes  # fmt: skip


@pytest.fixture
def write_catalogue(tmp_path, monkeypatch):
    """Make the program know these models and no others."""

    def write(*rows):
        path = tmp_path / "catalogue.json"
        path.write_text(json.dumps({"format_version": 1, "models": list(rows)}))
        monkeypatch.setattr(catalogue, "CATALOGUE_FILE", path)
        catalogue.catalogue.cache_clear()
        return catalogue.catalogue()

    yield write
    monkeypatch.undo()
    catalogue.catalogue.cache_clear()


@pytest.fixture
def make_row():
    return row


@pytest.fixture
def tiny(write_catalogue):
    """The catalogue's entry for the tiny model."""
    return write_catalogue(row())[0]


@pytest.fixture
def pinned(published, write_catalogue):
    """The same, with every size and SHA-256 in the catalogue."""
    files = [
        {
            "name": name, "size": len(published[name]), "optional": False,
            "sha256": hashlib.sha256(published[name]).hexdigest(),
        }
        for name in FILES
    ]  # fmt: skip
    return write_catalogue(row(files=files))[0]
