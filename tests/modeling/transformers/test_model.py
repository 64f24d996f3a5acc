"""Transformers' own calls on checkpoint folders give what our own model gives."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest
import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoProcessor,
    DynamicCache,
)

from ark_asr.audio import LogMel, load_audio
from ark_asr.decoding.search import greedy
from ark_asr.engines.torch import TorchEngine
from ark_asr.errors import OptionError
from ark_asr.modeling.model import ArkForConditionalGeneration
from ark_asr.modeling.transformers import (
    ArkasrConfig,
    ArkasrForConditionalGeneration,
    ArkasrProcessor,
)
from ark_asr.models.tokenizer import Tokenizer
from ark_asr.models.weights import HEAD, tensor_shapes
from ark_asr.types import Prompt
from conversations import GEOMETRIES, checkpoint, conversation, noise


def test_the_auto_classes_answer_with_ours(tiny):
    assert type(AutoConfig.from_pretrained(tiny)) is ArkasrConfig
    assert type(AutoProcessor.from_pretrained(tiny)) is ArkasrProcessor
    assert type(AutoModelForCausalLM.from_pretrained(tiny)) is ArkasrForConditionalGeneration


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


def test_a_prompt_that_does_not_fit_its_sound_is_refused(tiny, processor):
    """Sound without a place was dropped, places without sound were silence, and nobody was told."""
    model = AutoModelForCausalLM.from_pretrained(tiny)
    inputs = processor.apply_chat_template(conversation(noise(1)), add_generation_prompt=True)
    cut = {"truncation": True, "max_length": 6}
    with pytest.raises(OptionError, match=r"have \[4\] places for audio, their sound fills \[12\]"):
        model(**processor.apply_chat_template(conversation(noise(1)), text_kwargs=cut))
    longer = processor.apply_chat_template(conversation(noise(2)))
    for lengths in (longer["audio_lengths"], torch.tensor([10**6])):
        with pytest.raises(OptionError, match="places for audio"):
            model(inputs["input_ids"], longer["audios"], lengths)
    with pytest.raises(OptionError, match="places for audio"):
        model(longer["input_ids"], inputs["audios"])
    for shape in ((2, 128, 100), (128, 100), (1, 80, 100)):
        with pytest.raises(OptionError, match=r"expected \[1, 128, frames\]"):
            model(inputs["input_ids"], torch.zeros(shape))


@pytest.mark.parametrize("lengths", [None, torch.tensor([100])])
def test_sound_and_places_are_compared_where_the_prompt_is(tiny, lengths):
    """Lengths are counted on the CPU where none are given: on a GPU that was an error."""
    model = AutoModelForCausalLM.from_pretrained(tiny).to("meta")
    ids = torch.full((1, 12), model.audio_token_id, device="meta")
    # That is the answer of the comparison, which this stand-in for a GPU does not have.
    with pytest.raises(RuntimeError, match="cannot be called on meta tensors"):
        model(ids, torch.zeros(1, 128, 100, device="meta"), lengths)


def test_an_answer_that_holds_the_audio_id_is_fed_again(tiny, processor):
    model = AutoModelForCausalLM.from_pretrained(tiny)
    inputs = processor.apply_chat_template(conversation(noise(1)), add_generation_prompt=True)
    ids = inputs["input_ids"]
    fed = torch.cat([ids, torch.full((1, 2), model.audio_token_id)], 1)
    with torch.no_grad():
        logits = model(fed, inputs["audios"], inputs["audio_lengths"]).logits[:, : ids.shape[1]]
        torch.testing.assert_close(logits, model(**inputs).logits)


def test_a_prompt_in_chunks_is_refused(tiny, processor):
    # Each chunk would be given the sound from its beginning: the text was empty.
    model = AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float32)
    inputs = processor.apply_chat_template(conversation(noise(1)), add_generation_prompt=True)
    with pytest.raises(OptionError, match="prefill_chunk_size"):
        model.generate(**inputs, max_new_tokens=2, prefill_chunk_size=4)
    model.generation_config.prefill_chunk_size = 4
    with pytest.raises(OptionError, match="prefill_chunk_size"):
        model.generate(**inputs, max_new_tokens=2)


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
