"""What several rooms' tests share."""

from __future__ import annotations

import faulthandler
import json
import sys
from pathlib import Path

import pytest
from hypothesis import settings

import checkpoints

ROOT = Path(__file__).resolve().parent.parent
SPEECH = ROOT.parent / "shared" / "data"

# A loaded machine must not fail a test: no deadline on single examples.
settings.register_profile("house", deadline=None)
settings.load_profile("house")


def pytest_unconfigure():
    """A thread that a failed test left behind is named, and does not keep the run from its end."""
    faulthandler.dump_traceback_later(300, exit=True, file=sys.__stderr__)


@pytest.fixture(autouse=True)
def _own_store(tmp_path_factory, monkeypatch):
    """No test sees the models of the person who runs it, or touches them."""
    monkeypatch.setenv("ARK_ASR_HOME", str(tmp_path_factory.getbasetemp() / "no-store"))
    offline = ("ARK_ASR_OFFLINE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
    for name in (*offline, "HF_ENDPOINT", "HF_TOKEN"):
        monkeypatch.setenv(name, "")  # noted, so that what a test sets is gone after it
        monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def root() -> Path:
    """The folder of the checkout."""
    return ROOT


@pytest.fixture(scope="session")
def speech() -> Path:
    """The folder of real speech; the test is skipped where it is not."""
    if not (SPEECH / "eval" / "manifest.jsonl").is_file():
        pytest.skip(f"no speech data beside the checkout (looked for {SPEECH.name}/ in shared/)")
    return SPEECH


@pytest.fixture(scope="session")
def byte_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint folder without weights: config.json and a byte-level tokenizer.

    Enough for whatever runs on a `ScriptedEngine`.
    """
    folder = tmp_path_factory.mktemp("byte-model")
    (folder / "config.json").write_text(json.dumps(checkpoints.config_dict(max_positions=2048)))
    checkpoints.write_tokenizer(folder)
    return folder
