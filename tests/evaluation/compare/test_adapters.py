"""Each adapter runs a model of its real class, from a folder, as the model's library would."""

from __future__ import annotations

import json
from contextlib import suppress
from importlib import import_module

import numpy as np
import pytest

import ark_asr
import real_whisper
from ark_asr.errors import ModelError
from ark_asr.evaluation.compare.base import FAMILIES, RATE, most_tokens
from ark_asr.types import Audio, TranscribeOptions

IN_TRANSFORMERS = ["whisper", "qwen3-asr", "cohere-asr", "glm-asr", "moonshine",
                   "moonshine-streaming", "parakeet-ctc", "parakeet-rnnt",
                   "parakeet-tdt"]  # fmt: skip
WHY = "is an optional part of comparing, see the extra of that name"


def open_stand_in(name, folder, precision=None):
    family = FAMILIES[name if name in FAMILIES else name.split("-")[0]]
    for package in family.packages:
        pytest.importorskip(package, reason=f"{package} {WHY}")
    return family.load(str(folder), 1, precision or family.precisions[0])


def built(stand_in, name):
    if name == "faster-whisper":
        pytest.importorskip("faster_whisper", reason=f"faster-whisper {WHY}")
    if name == "onnx-asr":
        pytest.importorskip("onnx_asr", reason=f"onnx-asr {WHY}")
    return stand_in(name)


@pytest.mark.parametrize("name", [*IN_TRANSFORMERS, "onnx-asr", "faster-whisper"])
def test_what_is_said_hangs_on_what_is_heard(stand_in, clip, name):
    backend = open_stand_in(name, built(stand_in, name))
    said = backend.hear(clip, "en")
    assert said
    assert said == said.strip()
    assert backend.hear(clip, "en") == said
    assert backend.hear(clip[::-1].copy(), "en") != said
    assert backend.precision
    assert "<|" not in said  # control tokens stay inside


@pytest.mark.parametrize("name", ["whisper", "qwen3-asr", "cohere-asr"])
def test_the_language_reaches_the_model(stand_in, clip, name):
    backend = open_stand_in(name, stand_in(name))
    assert backend.hear(clip, "en") != backend.hear(clip, "de")
    with pytest.raises(ValueError, match=r"(?i)language"):
        backend.hear(clip, "tlh")


@pytest.mark.parametrize("name", ["whisper", "qwen3-asr"])
def test_a_language_need_not_be_known(stand_in, clip, name):
    assert open_stand_in(name, stand_in(name)).hear(clip, "")


@pytest.mark.parametrize(
    "name", ["whisper", "qwen3-asr", "cohere-asr", "glm-asr", "parakeet-ctc", "onnx-asr"]
)
def test_the_longest_clip_and_a_short_one(stand_in, clip, name, monkeypatch):
    backend = open_stand_in(name, built(stand_in, name))
    module = import_module(type(backend).__module__)
    monkeypatch.setattr(module, "most_tokens", lambda clip: 4, raising=False)
    backend.hear(np.resize(clip, 30 * RATE), "en")
    backend.hear(clip[: RATE // 4], "en")


def test_whisper_is_asked_as_it_was_trained(stand_in, clip):
    """Token by token with the bare network: start, language, task, no times, then the likeliest."""
    import torch

    backend = open_stand_in("whisper", stand_in("whisper"))
    tokenizer, rules = backend.processor.tokenizer, backend.model.generation_config
    prompt = ["<|startoftranscript|>", "<|en|>", "<|transcribe|>", "<|notimestamps|>"]
    ids = tokenizer.convert_tokens_to_ids(prompt)
    features = backend.processor(clip, sampling_rate=RATE, return_tensors="pt").input_features
    with torch.inference_mode():
        for step in range(most_tokens(clip)):
            logits = backend.model(features, decoder_input_ids=torch.tensor([ids])).logits[0, -1]
            logits[rules.suppress_tokens] = -torch.inf
            if step == 0:
                logits[rules.begin_suppress_tokens] = -torch.inf
            ids.append(int(logits.argmax()))
            if ids[-1] == rules.eos_token_id:
                break
    said = tokenizer.decode(ids, skip_special_tokens=True).strip()
    assert backend.hear(clip, "en") == said


def test_ctc_is_the_likeliest_token_of_each_frame(stand_in, clip):
    import onnxruntime

    pytest.importorskip("onnx_asr", reason=f"onnx-asr {WHY}")
    from onnx_asr.preprocessors.numpy_preprocessor import NemoPreprocessorNumpy

    folder = stand_in("onnx-asr")
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    features, lengths = NemoPreprocessorNumpy("nemo80")(clip[None], np.array([len(clip)]))
    (logprobs,) = session.run(None, {"audio_signal": features, "length": lengths})
    names = [line.split()[0] for line in (folder / "vocab.txt").read_text("utf-8").splitlines()]
    best = logprobs[0].argmax(-1)[: (int(lengths[0]) - 1) // 8 + 1]
    kept = [names[i] for n, i in enumerate(best) if n == 0 or i != best[n - 1]]
    text = "".join(kept).replace("<blk>", "").replace("\u2581", " ").strip()
    assert open_stand_in("onnx-asr", folder).hear(clip, "") == text


def test_half_precision_is_another_computation(stand_in, clip):
    backend = open_stand_in("moonshine", stand_in("moonshine"), "bf16")
    assert backend.precision == "bf16"
    assert {str(weight.dtype) for weight in backend.model.parameters()} == {"torch.bfloat16"}
    assert backend.hear(clip, "")


def test_our_own_model(clip):
    backend = FAMILIES["ark"].load("ark-mini", 1, "")
    with ark_asr.load(threads=1) as model:
        expected = model.transcribe(Audio(clip, RATE), TranscribeOptions(vad=False)).text
    assert backend.hear(clip, "") == expected
    assert backend.precision == "int8"


def test_code_in_a_folder_is_never_run(stand_in, tmp_path):
    """A repository can name Python files of its own; transformers would run them if it were let."""
    marker = tmp_path / "it-ran"
    folder = tmp_path / "evil"
    folder.mkdir()
    for file in stand_in("whisper").iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    code = f"from pathlib import Path\nPath({str(marker)!r}).touch()\n"
    for name in ("configuration_evil.py", "modeling_evil.py"):
        (folder / name).write_text(code)
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "evil", "auto_map": {
        "AutoConfig": "configuration_evil.Evil", "AutoProcessor": "modeling_evil.Evil",
        "AutoModelForSpeechSeq2Seq": "modeling_evil.Evil"}}  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    with suppress(Exception):  # in whichever way it refuses
        FAMILIES["whisper"].load(str(folder), 1, "fp32")
    assert not marker.exists()


def test_pickled_weights_are_not_opened(stand_in, tmp_path):
    import torch

    folder = tmp_path / "pickled"
    folder.mkdir()
    for file in stand_in("whisper").iterdir():
        if file.suffix != ".safetensors":
            (folder / file.name).write_bytes(file.read_bytes())
    torch.save({}, folder / "pytorch_model.bin")
    with pytest.raises(OSError, match="safetensors"):
        FAMILIES["whisper"].load(str(folder), 1, "fp32")


@pytest.mark.parametrize("name", ["parakeet", "onnx-asr"])
def test_a_folder_of_another_kind_is_refused(stand_in, name):
    for package in FAMILIES[name].packages:
        pytest.importorskip(package, reason=f"{package} {WHY}")
    with pytest.raises((ModelError, FileNotFoundError), match=r"whisper|encoder_model"):
        FAMILIES[name].load(str(stand_in("whisper")), 1, "fp32")


def test_an_old_transformers_says_what_to_do(stand_in, monkeypatch):
    import transformers

    from ark_asr.evaluation.compare.pretrained import Pretrained

    with pytest.raises(ModelError, match="has no TomorrowsModel as it is needed; pip install --up"):
        Pretrained(str(stand_in("whisper")), 1, "fp32", "TomorrowsModel")
    assert not hasattr(transformers, "TomorrowsModel")
    monkeypatch.setattr(transformers, "__version__", "5.14.1")
    for name in ("cohere-asr", "parakeet-ctc", "qwen3-asr"):
        with pytest.raises(ModelError, match=r"transformers 5\.14\.1 has no .*; pip install --up"):
            open_stand_in(name, stand_in(name))


@pytest.mark.parametrize("precision", ["int8", "float32"])
def test_a_real_whisper_hears_what_was_said(root, precision):
    """Whisper tiny.en through faster-whisper: a real alternative, not a stand-in."""
    folder = real_whisper.ctranslate2_folder()
    backend = open_stand_in("faster-whisper", folder, precision)
    assert backend.precision.startswith(precision)
    real_whisper.hears_the_samples(backend, root)
