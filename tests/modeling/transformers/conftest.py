"""Checkpoint folders, and one that carries code."""

from __future__ import annotations

import json
import shutil

import pytest
from transformers import (
    AutoProcessor,
)

import ark_asr.modeling.transformers  # noqa: F401 - registers; each module here runs alone too
from conversations import checkpoint


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return checkpoint(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(scope="module")
def mini(root):
    return root / "checkpoints" / "ark-mini"


@pytest.fixture(scope="module")
def processor(tiny):
    return AutoProcessor.from_pretrained(tiny)


EVIL = "from pathlib import Path\nPath({mark!r}).touch()\nclass Evil: pass\n"


@pytest.fixture
def with_code(tmp_path, tiny):
    """A folder that names code in each file that can, and a file that code would leave."""
    folder, mark = tmp_path / "published", tmp_path / "executed"
    shutil.copytree(tiny, folder)
    (folder / "evil.py").write_text(EVIL.format(mark=str(mark)))
    names = {
        "config.json": ("AutoConfig", "AutoModelForCausalLM", "AutoModelForSpeechSeq2Seq"),
        "preprocessor_config.json": ("AutoProcessor", "AutoFeatureExtractor"),
    }
    for file, autos in names.items():
        data = json.loads((folder / file).read_text())
        data["auto_map"] = dict.fromkeys(autos, "evil.Evil")
        (folder / file).write_text(json.dumps(data))
    tokenizer = json.loads((folder / "tokenizer_config.json").read_text())
    tokenizer |= {
        "tokenizer_class": "Qwen2Tokenizer", "auto_map": {"AutoTokenizer": [None, "evil.Evil"]},
    }  # fmt: skip
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer))
    return folder, mark
