"""Transformers' own calls on checkpoint folders, without the code that folders carry."""

from __future__ import annotations

import inspect
import json
import re
import shutil
import socket
import subprocess
import sys
import warnings

import jinja2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import (
    AutoConfig,
    AutomaticSpeechRecognitionPipeline,
    AutoModelForCausalLM,
    AutoProcessor,
    AutoTokenizer,
    DynamicCache,
    Wav2Vec2Config,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2ForCTC,
    pipeline,
)

from ark_asr.audio import LogMel, load_audio
from ark_asr.decoding.search import greedy
from ark_asr.engines.torch import TorchEngine
from ark_asr.errors import ArkWarning, AudioError, AudioWarning, ModelFormatError, OptionError
from ark_asr.modeling.model import ArkForConditionalGeneration
from ark_asr.modeling.transformers import (
    ArkasrConfig,
    ArkasrForConditionalGeneration,
    ArkasrPipeline,
    ArkasrProcessor,
)
from ark_asr.models.config import ModelConfig
from ark_asr.models.tokenizer import INSTRUCTION, Tokenizer
from ark_asr.models.weights import HEAD, Weights, tensor_shapes
from ark_asr.types import Prompt
from checkpoints import random_weights, write_checkpoint, write_safetensors

# The file that the published checkpoints carry.
PREPROCESSOR = {
    "auto_map": {"AutoProcessor": "processing_arkasr.ArkasrProcessor"}, "chunk_length": 30,
    "dither": 0.0, "feature_extractor_type": "WhisperFeatureExtractor", "feature_size": 128,
    "hop_length": 160, "n_fft": 400, "n_samples": 480000, "nb_max_frames": 3000,
    "padding_side": "right", "padding_value": 0.0, "processor_class": "ArkasrProcessor",
    "return_attention_mask": False, "sampling_rate": 16000,
}  # fmt: skip
GEOMETRIES = {
    "tied": {},
    "untied, wide heads": {"tied": False, "head_dim": 24, "heads": 2, "kv_heads": 1},
    "merging three, learned positions": {"merge": 3, "use_rope": False, "encoder_layers": 1},
}


def checkpoint(folder, **geometry):
    """A tiny checkpoint with the published front end, but without any code."""
    write_checkpoint(folder, **geometry)
    front = {key: value for key, value in PREPROCESSOR.items() if key != "auto_map"}
    (folder / "preprocessor_config.json").write_text(json.dumps(front))
    return folder


def conversation(source, **times):
    audio = {"type": "audio", "path" if isinstance(source, str) else "audio": source, **times}
    return [{"role": "user", "content": [audio, {"type": "text", "text": INSTRUCTION}]}]


def noise(seconds, seed=0):
    samples = np.random.default_rng(seed).standard_normal(round(seconds * 16_000))
    return (0.1 * samples).astype(np.float32)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return checkpoint(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(scope="module")
def mini(root):
    return root / "checkpoints" / "ark-mini"


@pytest.fixture(scope="module")
def processor(tiny):
    return AutoProcessor.from_pretrained(tiny)


def test_the_auto_classes_answer_with_ours(tiny):
    assert type(AutoConfig.from_pretrained(tiny)) is ArkasrConfig
    assert type(AutoProcessor.from_pretrained(tiny)) is ArkasrProcessor
    assert type(AutoModelForCausalLM.from_pretrained(tiny)) is ArkasrForConditionalGeneration


def rendered(processor, messages):
    """By the template alone, as programs do that know nothing of this package."""
    return processor.tokenizer.apply_chat_template(
        messages, chat_template=processor.chat_template, tokenize=False, add_generation_prompt=True
    )


def test_the_template_writes_the_prompt_of_training(processor):
    messages = conversation(noise(1))
    expected = processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert rendered(processor, messages) == expected
    alone = [{"role": "user", "content": messages[0]["content"][:1]}]
    assert rendered(processor, alone) == expected
    ours = processor.apply_chat_template(alone, tokenize=False, add_generation_prompt=True)
    assert ours == expected


@pytest.mark.parametrize(
    "messages",
    [
        [{"role": "system", "content": []}],
        [{"role": "user", "content": []}] * 2,
        [{"role": "user", "content": [{"type": "text", "text": "<|im_end|>"}]}],
    ],
    ids=["role", "turns", "control-token"],
)
def test_the_template_refuses_what_was_not_trained(processor, messages):
    with pytest.raises(jinja2.TemplateError, match=r"one message|control tokens"):
        rendered(processor, messages)


@pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES)
def test_logits_are_those_of_our_own_model(tmp_path, geometry):
    folder = checkpoint(tmp_path / "model", **geometry)
    clips = [noise(1.0), noise(2.3, 1), noise(0.07, 2)]
    processor = AutoProcessor.from_pretrained(folder)
    inputs = processor.apply_chat_template(
        [conversation(clip) for clip in clips], add_generation_prompt=True
    )
    ours, theirs = (
        ArkForConditionalGeneration.load(folder),
        AutoModelForCausalLM.from_pretrained(folder),
    )
    with torch.no_grad():
        found = theirs(**inputs).logits
        for row, clip in enumerate(clips):
            mel = LogMel(ours.config.features)(clip)
            ids = Tokenizer.load(folder).prompt(ours.config.audio_slots(mel.shape[1]))
            assert inputs["input_ids"][row, -len(ids) :].tolist() == ids
            assert inputs["attention_mask"][row].sum() == len(ids)
            expected = ours(torch.tensor([ids]), torch.tensor(mel)[None])[0]
            torch.testing.assert_close(found[row, -len(ids) :], expected, atol=2e-4, rtol=1e-3)


def test_generate_chooses_the_tokens_of_our_engine_also_in_a_batch(mini, root):
    sources = [
        load_audio(root / "samples" / name, end=end).samples
        for name, end in (("hello.flac", None), ("numbers.flac", None), ("minute.flac", 6.5))
    ]
    tokenizer = Tokenizer.load(mini)
    config = tokenizer.config
    engine = TorchEngine.load(mini)
    mels = [LogMel(config.features)(samples) for samples in sources]
    prompts = [Prompt(tokenizer.prompt(len(audio)), audio) for audio in engine.embed_audio(mels)]
    expected = greedy(
        engine, prompts, rules=[],
        stop_ids=tokenizer.stop_ids, max_new_tokens=16,
    )  # fmt: skip

    processor = AutoProcessor.from_pretrained(mini)
    model = AutoModelForCausalLM.from_pretrained(mini, dtype=torch.float32)
    bad_words = [[id_] for id_ in tokenizer.suppressed_ids.tolist()]

    def generate(conversations, **kwargs):
        inputs = processor.apply_chat_template(conversations, add_generation_prompt=True)
        made = model.generate(
            **inputs, max_new_tokens=16, do_sample=False, bad_words_ids=bad_words, **kwargs
        )
        answers = made[:, inputs["input_ids"].shape[1] :].tolist()
        return [
            tuple(id_ for id_ in ids if id_ not in (config.pad_token_id, *tokenizer.stop_ids))
            for ids in answers
        ]

    conversations = [conversation(samples) for samples in sources]
    chosen = [one.token_ids for one in expected]
    assert min(map(len, chosen)) > 3
    assert generate(conversations) == chosen
    assert [generate(one)[0] for one in conversations] == chosen
    # Without a cache the whole prompt comes again at each step, and its audio must, too.
    assert generate(conversations[:1], use_cache=False) == chosen[:1]


def test_a_cache_is_taken_by_both_its_names(tiny, processor):
    """Transformers 5.24 renamed it; a name that is ignored would let each token forget the rest."""
    model = AutoModelForCausalLM.from_pretrained(tiny)
    inputs = processor.apply_chat_template(conversation(noise(1)), add_generation_prompt=True)
    more = torch.tensor([[5, 6]])
    with torch.no_grad():
        whole = dict(inputs, input_ids=torch.cat([inputs["input_ids"], more], 1))
        whole["attention_mask"] = torch.ones_like(whole["input_ids"])
        expected = model(**whole).logits[:, -2:]
        for name in ("cache", "past_key_values"):
            held = DynamicCache(config=model.config)
            model(**inputs, **{name: held})
            found = model(more, **{name: held}).logits
            torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-3)
        with pytest.raises(OptionError, match="two names of one thing"):
            model(more, cache=held, past_key_values=held)


def test_generate_goes_on_from_a_cache_of_the_callers(tiny, processor):
    model = AutoModelForCausalLM.from_pretrained(tiny)
    inputs = processor.apply_chat_template(conversation(noise(1)), add_generation_prompt=True)
    settings = {"max_new_tokens": 4, "min_new_tokens": 4, "do_sample": False}
    newer = "cache" in inspect.signature(model.model.forward).parameters
    name = "cache" if newer else "past_key_values"
    held = DynamicCache(config=model.config)
    found = model.generate(**inputs, **settings, **{name: held})
    assert held.get_seq_length() == found.shape[1] - 1
    assert torch.equal(found, model.generate(**inputs, **settings))


def test_padding_of_a_neighbour_is_not_heard(tiny, processor):
    model = AutoModelForCausalLM.from_pretrained(tiny)
    together = processor.apply_chat_template([conversation(noise(1)), conversation(noise(3, 1))])
    alone = processor.apply_chat_template(conversation(noise(1)))
    length = alone["input_ids"].shape[1]
    with torch.no_grad():
        expected = model(**alone).logits[0]
        torch.testing.assert_close(
            model(**together).logits[0, -length:], expected, atol=1e-4, rtol=1e-3
        )
        del together["audio_lengths"]  # what the published code does
        assert not torch.allclose(model(**together).logits[0, -length:], expected, atol=1e-2)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_near(tiny, processor, dtype):
    inputs = processor.apply_chat_template(conversation(noise(1)), add_generation_prompt=True)
    with torch.no_grad():
        whole, half = (
            AutoModelForCausalLM.from_pretrained(tiny, dtype=kind)(**inputs).logits[0, -1].float()
            for kind in (torch.float32, dtype)
        )
    assert torch.cosine_similarity(whole, half, 0) > 0.999


def test_audio_needs_a_prompt(tiny):
    model = AutoModelForCausalLM.from_pretrained(tiny)
    with pytest.raises(OptionError, match="audios need input_ids"):
        model(inputs_embeds=torch.zeros(1, 3, 64), audios=torch.zeros(1, 128, 10))


# What a folder may try to have run, and what it gets.

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


def test_the_published_scripts_form_of_a_conversation(processor, root):
    hello = str(root / "samples" / "hello.flac")
    whole = processor.apply_chat_template(
        [conversation(hello, begin_time=-1, end_time=-1)], return_tensors="pt",
        sampling_rate=16_000, audio_padding="longest", add_generation_prompt=True,
        text_kwargs={"padding": "longest"}, audio_max_length=40 * 16_000,
    )  # fmt: skip
    part = processor.apply_chat_template(conversation(hello, begin_time=0.5, end_time=1.5))
    assert whole["audio_lengths"].item() == len(load_audio(hello).samples) // 160
    assert part["audio_lengths"].item() == 100
    assert part["audios"].shape == (1, 128, 100)
    found = processor._load_audio_file(hello, 8_000, 0.5, 1.0)
    np.testing.assert_array_equal(
        found, load_audio(hello, sample_rate=8_000, begin=0.5, end=1.5).samples
    )


def test_what_is_none_is_not_set(processor):
    part = {"type": "audio", "path": None, "audio": noise(1), "begin_time": None, "end_time": None}
    inputs = processor.apply_chat_template([{"role": "user", "content": [part]}])
    assert inputs["audio_lengths"].item() == 100


def test_samples_at_any_rate_lists_and_tensors(processor):
    samples = noise(1)
    expected = processor.apply_chat_template(conversation(samples))["audios"]
    for same in (torch.tensor(samples), samples.tolist(), samples.astype(np.float64)):
        torch.testing.assert_close(
            processor.apply_chat_template(conversation(same))["audios"], expected
        )
    halved = processor.apply_chat_template(conversation(samples), sampling_rate=8_000)
    assert halved["audio_lengths"].item() == 200


def test_a_prompt_as_text(processor):
    text = processor.apply_chat_template(conversation(noise(1)), tokenize=False)
    assert text == f"<|user|><|begin_of_audio|><|audio|><|end_of_audio|>{INSTRUCTION}"
    ids = processor.apply_chat_template(conversation(noise(1)), return_dict=False)
    torch.testing.assert_close(processor(text, noise(1))["input_ids"], ids)


def test_a_long_recording_is_cut_and_that_is_said(processor):
    with pytest.warns(AudioWarning, match=r"2\.0 s is heard to second 0\.5 only"):
        inputs = processor.apply_chat_template(conversation(noise(2)), audio_max_length=8_000)
    assert inputs["audio_lengths"].item() == 50


REFUSED = [
    ([{"role": "assistant", "content": []}], {}, "one message of role 'user'"),
    ([{"role": "user", "content": [{"type": "image"}]}], {}, "type 'image'"),
    (
        [{"role": "user", "content": [{"type": "text", "text": "x"}]}],
        {},
        "one part of type 'audio'",
    ),
    ([{"role": "user", "content": [{"type": "audio", "url": "http://x"}]}], {}, "with a path or"),
    (conversation(noise(1)), {"audio_padding": "max_length"}, "must be 'longest'"),
    (conversation(noise(1)), {"return_tensors": "np"}, "return_tensors 'pt'"),
    (conversation(noise(1)) * 2, {}, "one message"),
    (
        [
            {
                "role": "user",
                "content": [
                    {"type": "audio", "audio": noise(1)},
                    {"type": "text", "text": "a<|assistant|>b"},
                ],
            }
        ],
        {},
        "text cannot hold control tokens",
    ),
    ([], {}, "holds one message"),
    (conversation(noise(1))[0], {}, "holds one message"),
    (["hello"], {}, "one message of role 'user'"),
    ([{"role": "user"}], {}, "a list of parts"),
    ([{"role": "user", "content": "hello"}], {}, "a list of parts"),
    ([{"role": "user", "content": [{"type": "text"}]}], {}, "needs its words"),
    ([{"role": "user", "content": [{"type": "text", "text": 3}]}], {}, "needs its words"),
    ([{"role": "user", "content": [{"type": "audio", "audio": None}]}], {}, "with a path or"),
    # A negative limit would count from the end.
    (conversation(noise(1)), {"audio_max_length": -1}, "audio_max_length is -1"),
    (conversation(noise(1)), {"audio_max_length": 16e3}, "audio_max_length is 16000.0"),
]


@pytest.mark.parametrize(("messages", "kwargs", "message"), REFUSED)
def test_other_conversations_are_refused(processor, messages, kwargs, message):
    with pytest.raises(OptionError, match=message):
        processor.apply_chat_template(messages, **kwargs)


def test_other_prompts_and_sounds_are_refused(processor):
    with pytest.raises(OptionError, match="one recording"):
        processor(["no marker"], [noise(1)])
    with pytest.raises(OptionError, match="one recording"):
        processor([], [])
    with pytest.raises(OptionError, match="one recording"):
        processor(["<|audio|>", "<|audio|>"], [noise(1)])
    with pytest.raises(AudioError, match="shorter than 160 samples"):
        processor("<|audio|>", noise(0.005))
    with pytest.raises(TypeError, match="nonsense"):
        processor.apply_chat_template(conversation(noise(1)), nonsense=1)


def test_a_tokenizer_of_another_model_is_refused(tiny, tmp_path):
    folder = tmp_path / "other"
    shutil.copytree(tiny, folder)
    data = json.loads((folder / "config.json").read_text()) | {"audio_token_id": 7}
    (folder / "config.json").write_text(json.dumps(data))
    with pytest.raises(ModelFormatError, match=r"is id 259, but config\.json says 7"):
        AutoProcessor.from_pretrained(folder)


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


def test_a_prompt_in_chunks_is_refused(tiny, processor):
    # Each chunk would be given the sound from its beginning: the text was empty.
    model = AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float32)
    inputs = processor.apply_chat_template(conversation(noise(1)), add_generation_prompt=True)
    with pytest.raises(OptionError, match="prefill_chunk_size"):
        model.generate(**inputs, max_new_tokens=2, prefill_chunk_size=4)
    model.generation_config.prefill_chunk_size = 4
    with pytest.raises(OptionError, match="prefill_chunk_size"):
        model.generate(**inputs, max_new_tokens=2)


@pytest.mark.parametrize(
    "option", [{"chunk_length_s": 10}, {"return_timestamps": "word"}, {"batch_size": 2}]
)
def test_the_pipeline_refuses_what_it_cannot_do(pipe, tiny, option):
    with pytest.raises(OptionError, match=f"{next(iter(option))}: not for ARK-ASR"):
        pipe(noise(1), **option)
    with pytest.raises(OptionError, match="not for ARK-ASR"):
        pipeline("automatic-speech-recognition", model=str(tiny), **option)


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


def test_a_folder_is_loaded_without_the_network(tiny, monkeypatch):
    def opened(*_args, **_kwargs):
        pytest.fail("a socket was opened")

    for name in ("socket", "create_connection", "getaddrinfo"):
        monkeypatch.setattr(socket, name, opened)
    pipeline("automatic-speech-recognition", model=str(tiny))
    AutoProcessor.from_pretrained(tiny)


def test_a_missing_extra_is_one_line():
    hide = "sys.modules['torch'] = sys.modules['transformers'] = None"
    code = f"import sys; {hide}; import ark_asr.modeling.transformers"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.stderr.splitlines()[-1].endswith(
        "ARK-ASR in transformers needs an optional part: pip install 'ark-asr[transformers]'"
    )


def test_the_0_6b_geometry_has_the_published_tensors():
    config = ArkasrConfig(
        hidden_size=896, num_hidden_layers=24, num_attention_heads=14, num_key_value_heads=2,
        intermediate_size=4864, vocab_size=163_958, tie_word_embeddings=True, rope_theta=1e6,
        audio_token_id=151_663, eos_token_id=151_645, pad_token_id=151_643,
        whisper_config={
            "d_model": 1280, "encoder_layers": 32, "encoder_attention_heads": 20,
            "encoder_ffn_dim": 5120, "num_mel_bins": 128, "max_source_positions": 1500,
        },
    )  # fmt: skip
    with torch.device("meta"):
        state = ArkasrForConditionalGeneration(config).state_dict()
    assert {name: tuple(weight.shape) for name, weight in state.items()} == tensor_shapes(
        config.numbers()
    )
    assert len(state) == 782
    assert HEAD in state
