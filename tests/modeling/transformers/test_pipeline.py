"""Transformers' pipeline, and the page of the guide."""

from __future__ import annotations

import re

import pytest
import torch
from transformers import (
    AutomaticSpeechRecognitionPipeline,
    AutoTokenizer,
    Wav2Vec2Config,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2ForCTC,
    pipeline,
)

from ark_asr.audio import load_audio
from ark_asr.errors import OptionError
from ark_asr.modeling.transformers import (
    ArkasrPipeline,
)
from ark_asr.models.config import ModelConfig
from ark_asr.models.weights import Weights, tensor_shapes
from conversations import noise


@pytest.fixture(scope="module")
def pipe(mini):
    return pipeline("automatic-speech-recognition", model=str(mini), dtype=torch.float32)


def test_the_pipeline_hears_what_the_engine_hears(pipe, mini, root):
    import ark_asr

    hello = root / "samples" / "hello.flac"
    with ark_asr.load(mini) as recognizer:
        expected = {"text": recognizer.transcribe(hello).text}
    assert expected["text"]
    samples = load_audio(hello).samples
    assert type(pipe) is ArkasrPipeline
    assert pipe(str(hello)) == pipe(samples) == pipe(hello.read_bytes()) == expected
    assert pipe({"array": samples, "sampling_rate": 16_000}) == expected
    assert pipe([str(hello), {"raw": samples, "sampling_rate": 16_000}]) == [expected] * 2


def test_the_pipeline_takes_generation_parameters(pipe, root):
    text = pipe(str(root / "samples" / "hello.flac"), max_new_tokens=2)["text"]
    assert text
    assert (
        text
        == pipe(str(root / "samples" / "hello.flac"), generate_kwargs={"max_new_tokens": 2})["text"]
    )


def test_the_pipeline_takes_the_long_form_of_an_answer(pipe):
    sound = noise(1)
    assert pipe(sound, return_dict_in_generate=True) == pipe(sound)


@pytest.mark.parametrize(
    "recording", [{"raw": noise(1)}, {"path": "a.wav"}, {"array": None, "sampling_rate": 16_000}]
)
def test_the_pipeline_says_what_a_dictionary_needs(pipe, recording):
    with pytest.raises(OptionError, match="needs 'array' and 'sampling_rate'"):
        pipe(recording)


@pytest.mark.parametrize(
    "option", [{"chunk_length_s": 10}, {"return_timestamps": "word"}, {"batch_size": 2}]
)
def test_the_pipeline_refuses_what_it_cannot_do(pipe, tiny, option):
    with pytest.raises(OptionError, match=f"{next(iter(option))}: not for ARK-ASR"):
        pipe(noise(1), **option)
    with pytest.raises(OptionError, match="not for ARK-ASR"):
        pipeline("automatic-speech-recognition", model=str(tiny), **option)


def test_the_pipeline_takes_no_for_an_answer(pipe):
    off = {"return_timestamps": False, "chunk_length_s": 0, "stride_length_s": None}
    assert pipe(noise(1), **off, batch_size=1, generate_kwargs=None) == pipe(noise(1))


def test_other_models_get_the_pipeline_they_always_got(tiny):
    model = Wav2Vec2ForCTC(
        Wav2Vec2Config(
            vocab_size=5, hidden_size=8, num_hidden_layers=1, num_attention_heads=1,
            intermediate_size=8, conv_dim=(8,), conv_stride=(5,), conv_kernel=(10,),
            num_conv_pos_embeddings=4, num_conv_pos_embedding_groups=2,
        )
    )  # fmt: skip
    found = pipeline(
        "automatic-speech-recognition", model=model, tokenizer=AutoTokenizer.from_pretrained(tiny),
        feature_extractor=Wav2Vec2FeatureExtractor(),
    )  # fmt: skip
    assert type(found) is AutomaticSpeechRecognitionPipeline
    assert found.type == "ctc"


def test_the_page_of_the_guide_runs(mini, root, tmp_path, monkeypatch, capsys):
    import ark_asr

    for name in ("checkpoints", "samples"):
        (tmp_path / name).symlink_to(root / name)
    monkeypatch.chdir(tmp_path)
    page = (root / "docs" / "transformers.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(blocks) == 4
    exec("\n".join(blocks), {})
    with ark_asr.load(mini) as recognizer:
        hello, numbers = (
            recognizer.transcribe(root / "samples" / f"{name}.flac").text
            for name in ("hello", "numbers")
        )
    one, first, second, piped = capsys.readouterr().out.splitlines()
    assert [one, first, second] == [hello, hello, numbers]
    assert piped  # in bfloat16, as the checkpoint is stored: near, not equal
    assert Weights.open(tmp_path / "saved").shapes == tensor_shapes(ModelConfig.load(mini))
