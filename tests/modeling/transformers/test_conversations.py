"""The processor: conversations, templates, sound in all forms."""

from __future__ import annotations

import json
import shutil

import jinja2
import numpy as np
import pytest
import torch
from transformers import (
    AutoProcessor,
)

from ark_asr.audio import load_audio
from ark_asr.errors import AudioError, AudioWarning, ModelFormatError, OptionError
from ark_asr.models.tokenizer import INSTRUCTION
from conversations import conversation, noise


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


def test_a_tensor_that_numpy_has_no_type_for(processor):
    samples = torch.tensor(noise(1)).bfloat16()
    torch.testing.assert_close(
        processor.apply_chat_template(conversation(samples))["audios"],
        processor.apply_chat_template(conversation(samples.float()))["audios"],
    )


@pytest.mark.parametrize("sound", [[[1.0, 2.0], [3.0]], ["a"], (noise(1), 16_000), [None]])
def test_a_list_that_is_no_sound(processor, sound):
    with pytest.raises(AudioError):
        processor.apply_chat_template(conversation(sound))


def test_a_rate_of_nothing_is_not_the_models_own(processor):
    with pytest.raises(AudioError, match="source_rate is 0"):
        processor.apply_chat_template(conversation(noise(1)), sampling_rate=0)


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
