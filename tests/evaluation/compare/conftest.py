"""Stand-ins with random weights, each built once."""

from __future__ import annotations

import pytest

import stand_ins
from ark_asr.audio import load_audio

BUILDERS = {
    "whisper": stand_ins.whisper,
    "qwen3-asr": stand_ins.qwen3_asr,
    "cohere-asr": stand_ins.cohere_asr,
    "glm-asr": stand_ins.glm_asr,
    "moonshine": stand_ins.moonshine,
    "moonshine-streaming": stand_ins.moonshine_streaming,
    "parakeet-ctc": lambda folder: stand_ins.parakeet(folder, "ctc"),
    "parakeet-rnnt": lambda folder: stand_ins.parakeet(folder, "rnnt"),
    "parakeet-tdt": lambda folder: stand_ins.parakeet(folder, "tdt"),
    "onnx-asr": stand_ins.onnx_asr,
}


@pytest.fixture(scope="session")
def stand_in(tmp_path_factory):
    """The folder of a stand-in, by name."""
    built = {}

    def get(name):
        if name not in built:
            folder = tmp_path_factory.mktemp("stand-ins") / name
            if name == "faster-whisper":
                built[name] = stand_ins.faster_whisper(folder, get("whisper"))
            else:
                built[name] = BUILDERS[name](folder)
        return built[name]

    return get


@pytest.fixture(scope="session")
def clip(root):
    return load_audio(root / "samples" / "hello.flac", end=1.5).samples
