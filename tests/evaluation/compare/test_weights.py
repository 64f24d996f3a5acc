from __future__ import annotations

import huggingface_hub
import pytest
from huggingface_hub import constants

import checkpoints
from ark_asr.errors import DownloadError, ModelNotFoundError
from ark_asr.evaluation.compare import base, weights
from ark_asr.evaluation.compare.contenders import parse_one
from ark_asr.evaluation.compare.weights import Absent, Here, bring, fetch, locate

REVISION = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """The hub's cache, empty; whoever asks the network fails."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)

    def add(repository, *names):
        folder = tmp_path / "hub" / f"models--{repository.replace('/', '--')}"
        snapshot = folder / "snapshots" / REVISION
        snapshot.mkdir(parents=True)
        (folder / "refs").mkdir()
        (folder / "refs" / "main").write_text(REVISION)
        for name in names:
            (snapshot / name).write_text("{}")
        return snapshot

    return add


def test_a_repository_in_the_cache(cache):
    pytest.importorskip("transformers", reason="needs the extra 'transformers'")
    snapshot = cache("openai/whisper-tiny", "config.json", "model.safetensors")
    found = locate(parse_one("whisper-tiny"))
    assert found == Here(str(snapshot), "transformers", REVISION)


def test_what_is_not_here_has_the_command_that_brings_it(cache):
    pytest.importorskip("transformers", reason="needs the extra 'transformers'")
    assert locate(parse_one("qwen3-asr-0.6b")) == Absent(
        "Qwen/Qwen3-ASR-0.6B-hf is not on this computer", "hf download Qwen/Qwen3-ASR-0.6B-hf", True
    )
    gated = locate(parse_one("cohere-transcribe"))
    assert gated.command.startswith("accept the conditions at https://huggingface.co/CohereLabs/")
    assert "hf auth login && hf download CohereLabs/" in gated.command
    cache("openai/whisper-tiny", "config.json")
    assert "only part of it is here" in locate(parse_one("whisper-tiny")).why
    ours = locate(parse_one("ark-asr-0.6b"))
    assert ours.command == "ark-asr models pull ark-asr-0.6b"


def test_a_missing_package_has_its_extra(monkeypatch):
    monkeypatch.setattr(base, "find_spec", lambda name: None)
    found = locate(parse_one("faster-whisper-small"))
    assert found == Absent(
        "the Python package faster_whisper is not installed",
        "pip install 'ark-asr[faster-whisper]'",
    )


def test_a_checkpoint_needs_pytorch(tmp_path, monkeypatch):
    folder = tmp_path / "mine"
    checkpoints.write_checkpoint(folder)
    assert locate(parse_one(str(folder))) == Here(str(folder), "ark-asr, torch")
    monkeypatch.setattr(weights, "find_spec", lambda name: None)
    assert locate(parse_one(str(folder))).command == "pip install 'ark-asr[torch]'"


def test_neither_here_nor_known(cache):
    pytest.importorskip("transformers", reason="needs the extra 'transformers'")
    with pytest.raises(ModelNotFoundError, match="no model 'wisper-large'"):
        locate(parse_one("wisper-large"))
    with pytest.raises(ModelNotFoundError, match="neither a folder nor a repository"):
        locate(parse_one("whisper:./not/a/folder"))


def test_only_what_is_asked_for_is_fetched(cache, monkeypatch):
    pytest.importorskip("transformers", reason="needs the extra 'transformers'")
    asked = []

    def download(repository, allow_patterns, local_files_only=False):
        asked.append((repository, allow_patterns, local_files_only))
        if local_files_only:
            raise FileNotFoundError
        return str(cache(repository, "config.json", "model.safetensors"))

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    contender = parse_one("whisper-tiny")
    assert isinstance(bring(contender), Absent)
    assert all(local for *_, local in asked)
    bring(contender, fetch)
    (fetched,) = [(name, patterns) for name, patterns, local in asked if not local]
    assert fetched[0] == "openai/whisper-tiny"
    assert "*.safetensors" in fetched[1]
    assert not any("py" in pattern or "bin" in pattern for pattern in fetched[1])


def test_what_cannot_be_fetched_says_why(cache):
    pytest.importorskip("transformers", reason="needs the extra 'transformers'")
    contender = parse_one("whisper-tiny")
    with pytest.raises(DownloadError, match="openai/whisper-tiny: "):
        fetch(contender)  # the cache's fixture is offline
    found = bring(contender, fetch)
    assert found.why.startswith("openai/whisper-tiny: ")
    assert found.command == "hf download openai/whisper-tiny"
